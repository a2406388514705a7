//! `policy fmt` and `policy schema`: what is written to files.

use super::{FmtArgs, SchemaArgs};
use crate::exit::{self, Done, Fault};
use crate::{local, output};
use anyhow::{Context, Result};
use placet_policy::{document_schema, format as formatted, schemas};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) fn format(args: &FmtArgs) -> Done {
    let mut files = Vec::new();
    for path in &args.files {
        expand(path, &mut files)?;
    }
    let (mut refused, mut changed) = (false, false);
    let mut told = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let standard = name == "-";
        let (text, out) = match laid_out(&name) {
            Ok(both) => both,
            Err((findings, why)) => {
                refused = true;
                if args.json {
                    told.push(json!({"file": name, "changed": false, "findings": findings}));
                } else {
                    output::line(&output::safe(&why));
                }
                continue;
            }
        };
        let differs = out != text;
        changed |= differs && (!standard || args.check);
        if differs && !standard && !args.check {
            replace(&file, &out)?;
        }
        if args.json {
            let mut one = json!({"file": name, "changed": differs, "findings": []});
            if standard && !args.check {
                one["text"] = out.into();
            }
            told.push(one);
        } else if standard && !args.check {
            std::io::stdout().lock().write_all(out.as_bytes()).context("cannot be written")?;
        } else if differs {
            let word = if args.check { "would change" } else { "formatted" };
            output::line(&format!("{word} {}", output::safe(&name)));
        }
    }
    let failed = refused || (args.check && changed);
    if args.json {
        output::document(&json!({"ok": !failed, "files": told}));
    }
    Ok(if failed { ExitCode::from(exit::FAILURE) } else { ExitCode::SUCCESS })
}

/// What the file says and its layout, or why there is none, as findings and as text. One file that cannot be read
/// says nothing of the others.
fn laid_out(name: &str) -> std::result::Result<(String, String), (Value, String)> {
    let unread = |why: String| {
        let code = "bundle_unreadable";
        let finding = json!({"code": code, "severity": "error", "file": name, "message": why});
        (json!([finding]), format!("{name}: error[{code}]: {why}"))
    };
    let bytes = local::read_input(name).map_err(|error| unread(format!("{error:#}")))?;
    let text = String::from_utf8(bytes).map_err(|_| unread(format!("{name} is not UTF-8")))?;
    match formatted(name, &text) {
        Ok(out) => Ok((text, out)),
        Err(found) => {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err((local::diagnostics(&found), lines.join("\n")))
        }
    }
}

fn expand(path: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        out.extend(local::sources(path)?.into_iter().map(|source| path.join(source.name)));
    } else {
        out.push(path.to_owned());
    }
    Ok(())
}

/// All of it or nothing: a full disk must not leave half a policy.
fn replace(file: &Path, text: &str) -> Result<()> {
    let context = || format!("{} cannot be written", file.display());
    let target = fs::canonicalize(file).with_context(context)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".placet-fmt");
    let beside = target.with_file_name(name);
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&target)?.permissions()))
        .and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // What cannot be removed either is named by the error below.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(context)
}

pub(super) fn schema(args: &SchemaArgs) -> Done {
    let kinds: Vec<&str> = schemas().map(|(name, _)| name).collect();
    if let Some(dir) = &args.out {
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        let mut written = Vec::new();
        for kind in kinds.iter().map(|kind| Some(*kind)).chain([None]) {
            let file = dir.join(format!("{}.schema.json", kind.unwrap_or("policy")));
            let text = format!("{}\n", serde_json::to_string_pretty(&document(kind))?);
            fs::write(&file, text)
                .with_context(|| format!("{} cannot be written", file.display()))?;
            written.push(file.display().to_string());
        }
        if args.json {
            output::document(&json!({"files": written}));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(kind) = args.kind.as_deref().filter(|kind| !kinds.contains(kind)) {
        let known = kinds.join(", ");
        return Err(Fault::usage(format!("no document kind {kind:?}: known are {known}")).into());
    }
    output::document(&document(args.kind.as_deref()));
    Ok(ExitCode::SUCCESS)
}

fn document(kind: Option<&str>) -> Value {
    local::from_object(&document_schema(kind))
}
