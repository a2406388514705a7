//! The rules of `tidy`, each an ordinary function from what it looks at to its complaints. Owns the
//! layers, the allow lists and the bounds. Reads no file and starts no program.

use crate::source::{blank_items, code, production};
use std::collections::{BTreeMap, BTreeSet};

/// One text file of the repository.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Content.
    pub(crate) text: String,
}

/// What a dependency is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the crate itself.
    Normal,
    /// By its build script.
    Build,
    /// By its tests.
    Dev,
}

/// One line of a manifest's dependencies.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    /// Crate of this workspace.
    pub(crate) from: String,
    /// What it names.
    pub(crate) to: String,
    /// What for.
    pub(crate) kind: Kind,
    /// Whether `to` is a crate of this workspace.
    pub(crate) local: bool,
}

/// Layers: a crate may name crates of lower layers only.
const LAYERS: &[(&str, u8)] = &[
    ("placet-types", 0),
    ("placet-policy", 1),
    ("placet-tlog", 1),
    ("placet-engine", 2),
    ("placet-runtime", 3),
    ("placet-api", 3),
    ("placet-outbound", 3),
    ("placet-notify", 4),
    ("placet-store", 4),
    ("placet-sim", 4),
    ("placet-server", 6),
    ("placet", 7),
    ("placet-fuzz", 8),
    ("placet-policy-tests", 9),
    ("placet-server-tests", 9),
];

/// Dev-dependencies that the layers would forbid: from, to, reason.
const DEV_EXCEPTIONS: &[(&str, &str, &str)] =
    &[("placet-tlog", "placet-tlog", "its tests need its own verifier, which is a feature")];

/// Dependencies that the layers would allow: from, to, reason why not.
const FORBIDDEN: &[(&str, &str, &str)] =
    &[("placet-engine", "placet-policy", "a verdict comes in as a value")];

/// Third-party crates that a core crate may be built from.
const ALLOWED: &[(&str, &[&str])] = &[
    ("placet-types", &[]),
    ("placet-tlog", &["base64", "ed25519-dalek", "sha2"]),
    ("placet-engine", &["hashbrown"]),
    ("placet-policy", &["serde", "serde-saphyr", "cel", "regex", "regex-syntax"]),
];

/// Crates that may be nowhere in the dependency graph, and why.
const BANNED: &[(&str, &str)] = &[
    ("sqlx", "holds the embedded SQLite back to an older version"),
    ("sea-orm", "holds the embedded SQLite back to an older version"),
    ("openssl", "one TLS stack, rustls"),
    ("openssl-sys", "one TLS stack, rustls"),
    ("native-tls", "one TLS stack, rustls"),
    ("serde_yaml", "unmaintained"),
];

/// Licences that suffice, as in `deny.toml`.
const LICENCES: &[&str] = &["Apache-2.0", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Zlib"];

/// Crates that compile without the standard library.
const NO_STD: &[&str] = &["placet-types", "placet-tlog", "placet-engine"];

/// What ends a process that should have answered.
const PANICS: &[&str] = &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "dbg!("];

/// Lines of a file beyond which it should be split.
pub(crate) const LINES_MAX: usize = 600;

/// Dependencies point down; siblings never name each other.
pub(crate) fn layers(crates: &[String], dependencies: &[Dependency]) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().find(|(known, _)| *known == name).map(|(_, at)| *at);
    let mut found = Vec::new();
    for name in crates.iter().filter(|name| *name != "xtask" && layer(name).is_none()) {
        found.push(format!("{name} has no layer; give it one in xtask/src/rules.rs"));
    }
    for Dependency { from, to, kind, .. } in dependencies.iter().filter(|found| found.local) {
        let excepted =
            |list: &[(&str, &str, &str)]| list.iter().any(|(a, b, _)| a == from && b == to);
        if *kind == Kind::Dev && excepted(DEV_EXCEPTIONS) {
            continue;
        }
        if from == "xtask" {
            found.push(format!(
                "xtask depends on {to}; it must run when the product does not build"
            ));
        } else if let (Some(above), Some(below)) = (layer(from), layer(to))
            && below >= above
        {
            found
                .push(format!("{from} (layer {above}) depends on {to} (layer {below}): not lower"));
        } else if *kind != Kind::Dev && excepted(FORBIDDEN) {
            found.push(format!("{from} depends on {to}, which it refuses to know"));
        }
    }
    found
}

/// Core crates are built from what their allow list names.
pub(crate) fn core_dependencies(dependencies: &[Dependency]) -> Vec<String> {
    let outside = dependencies.iter().filter(|found| !found.local && found.kind != Kind::Dev);
    outside
        .filter_map(|found| {
            let (name, allowed) = ALLOWED.iter().find(|(name, _)| *name == found.from)?;
            let known = allowed.contains(&found.to.as_str());
            (!known).then(|| format!("{name} depends on {}, which is not on its list", found.to))
        })
        .collect()
}

/// No banned crate is in the graph, however deep.
pub(crate) fn banned(packages: &[String]) -> Vec<String> {
    BANNED
        .iter()
        .filter(|(name, _)| packages.iter().any(|package| package == name))
        .map(|(name, why)| format!("{name} is in the dependency graph: {why}"))
        .collect()
}

/// Every package may be used under licences that suffice. Takes name and SPDX expression.
pub(crate) fn licences(packages: &[(String, Option<String>)]) -> Vec<String> {
    packages
        .iter()
        .filter(|(_, licence)| !licence.as_deref().is_some_and(suffices))
        .map(|(name, licence)| {
            let licence = licence.as_deref().unwrap_or("no licence");
            format!("{name} comes under {licence}; see LICENCES in xtask/src/rules.rs")
        })
        .collect()
}

/// Whether an SPDX expression can be met. `OR` binds weaker than `AND`; a slash is an old `OR`.
fn suffices(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words) == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `None` when it is no expression.
fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words)?;
    }
    Some(met)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = true;
    loop {
        met &= if words.next_if_eq(&"(").is_some() {
            let inner = any_of(words)?;
            words.next_if_eq(&")")?;
            inner
        } else {
            let known = LICENCES.contains(&words.next()?);
            // An exception only adds permissions.
            if words.next_if_eq(&"WITH").is_some() {
                words.next()?;
            }
            known
        };
        if words.next_if_eq(&"AND").is_none() {
            return Some(met);
        }
    }
}

/// Some core crates do without the standard library outside their tests.
pub(crate) fn no_std(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for name in NO_STD {
        let lib = format!("crates/{name}/src/lib.rs");
        match files.iter().find(|file| file.path == lib) {
            Some(file) if code(&file.text).lines().any(|line| line.trim() == "#![no_std]") => {}
            _ => found.push(format!("{lib}: lacks #![no_std]")),
        }
        for file in sources(files, name) {
            for (number, line) in production(&file.text).lines().enumerate() {
                if line.contains("extern crate std") || uses_std(line) {
                    found.push(at(file, number, "names std outside tests"));
                }
            }
        }
    }
    found
}

fn uses_std(line: &str) -> bool {
    line.match_indices("std::")
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Library crates do not panic outside their tests; an exception carries its reason.
pub(crate) fn no_panics(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    let libraries = files.iter().filter(|file| {
        file.path.starts_with("crates/") && !file.path.starts_with("crates/placet/")
    });
    for file in libraries.filter(|file| is_source(file)) {
        let excused = |attribute: &str| {
            let lint = ["unwrap_used", "expect_used", "clippy::panic", "clippy::todo"];
            attribute.starts_with("expect(")
                && attribute.contains("reason")
                && lint.iter().any(|lint| attribute.contains(lint))
        };
        let text = production(&file.text);
        let whole = text.lines().map(str::trim).find(|line| line.starts_with("#![expect("));
        if whole.is_some_and(|line| excused(line.trim_start_matches("#!["))) {
            continue;
        }
        for (number, line) in blank_items(text, excused).lines().enumerate() {
            if let Some(word) = PANICS.iter().find(|word| line.contains(**word)) {
                let what = format!("{word} outside tests; return an error or give a reason");
                found.push(at(file, number, &what));
            }
        }
    }
    found
}

/// Each source file says first what it owns.
pub(crate) fn openings(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && !file.text.trim().is_empty())
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}: does not open with a //! line on what it owns", file.path))
        .collect()
}

/// Long files are listed with their size, and grow no further.
pub(crate) fn ratchet(files: &[File], list: &str) -> Vec<String> {
    let mut allowed = BTreeMap::new();
    let mut found = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(' ').map(|(path, lines)| (path, lines.trim().parse::<usize>())) {
            Some((path, Ok(lines))) => {
                allowed.insert(path, lines);
            }
            _ => found.push(format!("xtask/ratchet.txt: {line:?} is not a path and a number")),
        }
    }
    let kinds = [".rs", ".py", ".sh", ".ts", ".tsx"];
    for file in files.iter().filter(|file| kinds.iter().any(|kind| file.path.ends_with(kind))) {
        let lines = file.text.lines().count();
        match allowed.remove(file.path.as_str()) {
            None if lines > LINES_MAX => found.push(format!(
                "{}: {lines} lines, more than {LINES_MAX}; split it, or list it in xtask/ratchet.txt",
                file.path
            )),
            Some(most) if lines > most => {
                found.push(format!("{}: {lines} lines, grown beyond its {most}", file.path));
            }
            Some(_) if lines <= LINES_MAX => {
                found.push(format!("{}: short again; take it off xtask/ratchet.txt", file.path));
            }
            _ => {}
        }
    }
    let gone = allowed.into_keys();
    found.extend(gone.map(|path| format!("xtask/ratchet.txt: {path} does not exist")));
    found
}

/// Nothing in the repository belongs to one machine, and nothing was merged by halves.
pub(crate) fn clean_text(files: &[File]) -> Vec<String> {
    let locks = ["Cargo.lock", "package-lock.json", "uv.lock"];
    // Put together, so that this file does not contain what it looks for.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];
    let hosts = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".org"),
        concat!("proxy.golang", ".org"),
        concat!("artifact", "ory"),
    ];
    let markers = [concat!("<<<<", "<<< "), concat!(">>>>", ">>> "), concat!("||||", "||| ")];
    let registry =
        concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");
    let mut found = Vec::new();
    for file in files {
        let lock =
            locks.iter().any(|lock| file.path == *lock || file.path.ends_with(&format!("/{lock}")));
        for (number, line) in file.text.lines().enumerate() {
            if let Some(path) = paths.iter().find(|path| line.contains(**path)) {
                found.push(at(file, number, &format!("names a path of one machine, {path}")));
            }
            if let Some(host) = hosts.iter().find(|host| !lock && line.contains(**host)) {
                found.push(at(file, number, &format!("names a package registry, {host}")));
            }
            if markers.iter().any(|marker| line.starts_with(marker)) {
                found.push(at(file, number, "holds a merge marker"));
            }
            if file.path == "Cargo.lock" && line.starts_with("source = ") && line != registry {
                found.push(at(file, number, "takes a package from another source"));
            }
        }
    }
    found
}

/// Every error code has a page, and every page a code. `None` while there is no list of codes.
pub(crate) fn error_pages(files: &[File]) -> Option<Vec<String>> {
    const LIST: &str = "crates/placet-api/src/error.rs";
    let list = files.iter().find(|file| file.path == LIST)?;
    let mut found = Vec::new();
    let codes = codes(&list.text);
    if codes.is_empty() {
        found.push(format!("{LIST}: no `CODES: &[(&str, u16, &str)]` with entries in it"));
    }
    let mut known = BTreeSet::new();
    let commands = command_codes(&list.text);
    let all = codes.iter().map(|(code, status)| (code, *status));
    for (code, status) in all.chain(commands.iter().map(|code| (code, 400))) {
        if !known.insert(code.as_str()) {
            found.push(format!("{LIST}: {code} is listed twice"));
        }
        if !(400..600).contains(&status) {
            found.push(format!("{LIST}: {code} has status {status}, which is no error"));
        }
        let page = format!("docs/errors/{code}.md");
        match files.iter().find(|file| file.path == page) {
            None => found.push(format!("{page}: missing, {LIST} lists the code")),
            Some(file) if !file.text.starts_with(&format!("# {code}\n")) => {
                found.push(format!("{page}: does not open with `# {code}`"));
            }
            Some(_) => {}
        }
    }
    for file in files {
        let page = file.path.strip_prefix("docs/errors/").and_then(|name| name.strip_suffix(".md"));
        if let Some(page) = page.filter(|page| *page != "README" && !known.contains(page)) {
            found.push(format!("{}: {LIST} does not list {page}", file.path));
        }
    }
    Some(found)
}

/// Code and status of every tuple in the list.
fn codes(text: &str) -> Vec<(String, u16)> {
    let Some((_, list)) = text.split_once("CODES:") else { return Vec::new() };
    let Some((_, list)) = list.split_once('=') else { return Vec::new() };
    let list = list.split_once("];").map_or(list, |(list, _)| list);
    let lines: String = list.lines().filter(|line| !line.trim().starts_with("//")).collect();
    let tuple = |part: &str| {
        let (code, rest) = part.trim_start().strip_prefix('"')?.split_once('"')?;
        let status = rest.trim_start().strip_prefix(',')?.trim_start();
        let digits: String = status.chars().take_while(char::is_ascii_digit).collect();
        Some((code.to_owned(), digits.parse().ok()?))
    };
    lines.split('(').filter_map(tuple).collect()
}

/// Codes that only the command line shows.
fn command_codes(text: &str) -> Vec<String> {
    let Some((_, list)) = text.split_once("COMMAND_CODES:") else { return Vec::new() };
    let Some((_, list)) = list.split_once('=') else { return Vec::new() };
    let list = list.split_once("];").map_or(list, |(list, _)| list);
    let code = |part: &str| Some(part.strip_prefix('"')?.split_once('"')?.0.to_owned());
    list.split('(').filter_map(code).collect()
}

fn is_source(file: &File) -> bool {
    file.path.contains("/src/")
        && file.path.ends_with(".rs")
        && !file.path.ends_with("/tests.rs")
        && !file.path.contains("/tests/")
}

fn sources<'a>(files: &'a [File], name: &str) -> impl Iterator<Item = &'a File> {
    let start = format!("crates/{name}/src/");
    files.iter().filter(move |file| file.path.starts_with(&start) && is_source(file))
}

fn at(file: &File, line_from_0: usize, what: &str) -> String {
    format!("{}:{}: {what}", file.path, line_from_0 + 1)
}

#[cfg(test)]
mod tests;
