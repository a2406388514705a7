//! `policy import`.

use super::{ImportArgs, StarMeaning};
use crate::exit::{self, Done, Fault};
use crate::{local, output};
use anyhow::Context;
use placet_policy::{OrderDifference, Star, import};
use placet_runtime::crypto::Fast;
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;

pub(super) fn run(args: &ImportArgs) -> Done {
    let bytes = local::read_input(&args.file)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Fault::new("bundle_unreadable", format!("{} is not UTF-8", args.file)))?;
    let star = match args.star {
        StarMeaning::Segment => Star::Segment,
        StarMeaning::Any => Star::Any,
    };
    let imported = match import::<Fast>(&args.file, &text, star) {
        Ok(imported) => imported,
        Err(found) => {
            for one in found {
                output::line(&output::safe(&one.to_string()));
            }
            return Ok(ExitCode::from(exit::FAILURE));
        }
    };
    if let Some(dir) = &args.out {
        if dir.exists() {
            let detail = format!("{} exists already", dir.display());
            let fault = Fault::new("target_exists", detail);
            return Err(fault.next("name a directory that does not exist").into());
        }
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(dir.join("rules.yaml"), &imported.document))
            .with_context(|| format!("{} cannot be written", dir.display()))?;
    }
    if args.json {
        output::document(&json!({
            "document": imported.document,
            "notes": local::diagnostics(&imported.notes),
            "differences": imported.differences.iter().map(difference).collect::<Vec<_>>(),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    if args.out.is_none() {
        output::line(imported.document.trim_end());
    }
    // Beside the document, not in it: standard output may be a file.
    for note in &imported.notes {
        eprintln!("{}", output::safe(&note.to_string()));
    }
    for one in &imported.differences {
        eprintln!("{}", output::safe(&text_of(one)));
    }
    let (notes, differences) = (imported.notes.len(), imported.differences.len());
    eprintln!("imported: {notes} notes, {differences} cases in which the order of rules decided");
    Ok(ExitCode::SUCCESS)
}

fn text_of(one: &OrderDifference) -> String {
    format!(
        "first match: {} by {}; strictest wins: {} by {}; for {} asked by {}",
        one.first_match.as_str(),
        one.first,
        one.strictest_wins.as_str(),
        one.deciding.join(", "),
        local::from_object(&one.request),
        one.caller.get("actor").and_then(|it| it.as_str()).unwrap_or_default(),
    )
}

fn difference(one: &OrderDifference) -> Value {
    json!({
        "first": one.first,
        "first_match": one.first_match.as_str(),
        "deciding": one.deciding,
        "strictest_wins": one.strictest_wins.as_str(),
        "request": local::from_object(&one.request),
        "caller": local::from_object(&one.caller),
    })
}
