//! `tidy`: gathers what the rules look at and prints what they found. Owns reading; the rules
//! themselves are in `rules`.

use crate::attacks;
use crate::rules::{self, Dependency, File, Kind};
use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs every rule.
///
/// # Errors
/// When a rule found something, or the repository cannot be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let metadata = metadata(root)?;
    let files = files(root)?;
    let crates: Vec<String> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let packages: Vec<String> =
        metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let licences: Vec<(String, Option<String>)> = metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), package.license.clone()))
        .collect();
    let dependencies = dependencies(&metadata, &crates);
    let list = std::fs::read_to_string(root.join("xtask/ratchet.txt"))
        .context("xtask/ratchet.txt cannot be read")?;

    let pages = rules::error_pages(&files);
    if pages.is_none() {
        println!("tidy: pages of error codes not checked: crates/placet-api has no error.rs yet");
    }
    let results = [
        ("layers", rules::layers(&crates, &dependencies)),
        ("core dependencies", rules::core_dependencies(&dependencies)),
        ("banned crates", rules::banned(&packages)),
        ("licences", rules::licences(&licences)),
        ("no_std", rules::no_std(&files)),
        ("panics", rules::no_panics(&files)),
        ("openings", rules::openings(&files)),
        ("ratchet", rules::ratchet(&files, &list)),
        ("clean text", rules::clean_text(&files)),
        ("error pages", pages.unwrap_or_default()),
        ("attacks", attacks::named(&files)),
    ];
    let mut count = 0;
    for (rule, found) in &results {
        for complaint in found {
            println!("tidy: {rule}: {complaint}");
        }
        count += found.len();
    }
    if count > 0 {
        bail!("tidy found {count} {}", if count == 1 { "thing" } else { "things" });
    }
    println!("tidy: {} rules hold over {} files", results.len(), files.len());
    Ok(())
}

/// Where cargo puts what it builds.
///
/// # Errors
/// When cargo cannot say.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf> {
    let mut command = MetadataCommand::new();
    let command = command.manifest_path(root.join("Cargo.toml")).no_deps();
    Ok(command.exec().context("cargo metadata failed")?.target_directory.into_std_path_buf())
}

fn metadata(root: &Path) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .context("cargo metadata failed")
}

fn dependencies(metadata: &Metadata, crates: &[String]) -> Vec<Dependency> {
    let mut all = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            all.push(Dependency {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                kind: match dependency.kind {
                    DependencyKind::Development => Kind::Dev,
                    DependencyKind::Build => Kind::Build,
                    _ => Kind::Normal,
                },
                local: crates.contains(&dependency.name),
            });
        }
    }
    all
}

/// Every text file that is or would be committed.
fn files(root: &Path) -> Result<Vec<File>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git cannot be started")?;
    if !listed.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr).trim());
    }
    let mut files = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty())
    {
        // A file may be deleted and not yet committed as such; one that is no UTF-8 is no text.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    if files.is_empty() {
        bail!("git lists no files in {}", root.display());
    }
    Ok(files)
}
