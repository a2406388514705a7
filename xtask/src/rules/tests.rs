//! Each rule over a small tree that keeps it and one that breaks it.

use super::*;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

fn local(from: &str, to: &str, kind: Kind) -> Dependency {
    Dependency { from: from.to_owned(), to: to.to_owned(), kind, local: true }
}

fn outside(from: &str, to: &str, kind: Kind) -> Dependency {
    Dependency { local: false, ..local(from, to, kind) }
}

#[track_caller]
fn check(found: &[String], wanted: &[&str]) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.contains(wanted), "{found:?} does not say {wanted:?}");
    }
}

#[test]
fn layers_point_down() {
    let good = [
        local("placet-engine", "placet-types", Kind::Normal),
        local("placet-engine", "placet-policy", Kind::Dev),
        local("placet-tlog", "placet-tlog", Kind::Dev),
        local("placet", "placet-server", Kind::Normal),
    ];
    check(&layers(&["placet".to_owned(), "xtask".to_owned()], &good), &[]);
    let bad = [
        local("placet-types", "placet-tlog", Kind::Normal),
        local("placet-policy", "placet-tlog", Kind::Normal),
        local("placet-runtime", "placet-store", Kind::Dev),
        local("placet-engine", "placet-policy", Kind::Normal),
        local("placet-tlog", "placet-tlog", Kind::Normal),
        local("xtask", "placet-types", Kind::Normal),
    ];
    let found = layers(&["placet-new".to_owned()], &bad);
    let wanted = [
        "placet-new has no layer",
        "placet-types (layer 0) depends on placet-tlog (layer 1)",
        "placet-policy (layer 1) depends on placet-tlog (layer 1)",
        "placet-runtime (layer 3) depends on placet-store (layer 4)",
        "refuses to know",
        "placet-tlog (layer 1) depends on placet-tlog",
        "xtask depends on placet-types",
    ];
    check(&found, &wanted);
}

#[test]
fn core_crates_keep_to_their_lists() {
    let good = [
        outside("placet-tlog", "sha2", Kind::Normal),
        outside("placet-types", "proptest", Kind::Dev),
        outside("placet-server", "axum", Kind::Normal),
    ];
    check(&core_dependencies(&good), &[]);
    let bad = [
        outside("placet-types", "serde", Kind::Normal),
        outside("placet-engine", "rand", Kind::Build),
    ];
    check(&core_dependencies(&bad), &["placet-types depends on serde", "depends on rand"]);
    check(&banned(&["serde".to_owned()]), &[]);
    check(&banned(&["serde".to_owned(), "sqlx".to_owned()]), &["sqlx"]);
}

#[test]
fn licences_are_expressions() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "Unlicense OR MIT",
        "ISC AND (Apache-2.0 OR GPL-3.0)",
        "GPL-2.0 AND MIT OR Zlib",
        "GPL-2.0 WITH Classpath-exception-2.0 OR MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(suffices(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT OR", "MIT WITH", "", "MIT MIT"] {
        assert!(!suffices(bad), "{bad}");
    }
    let packages = [("a".to_owned(), Some("MIT".to_owned())), ("b".to_owned(), None)];
    check(&licences(&packages), &["b comes under no licence"]);
}

fn no_std_tree(lib: &str) -> Vec<File> {
    let plain = "//! x\n#![no_std]\n";
    vec![
        file("crates/placet-types/src/lib.rs", lib),
        file("crates/placet-tlog/src/lib.rs", plain),
        file("crates/placet-engine/src/lib.rs", plain),
        file("crates/placet-engine/src/x/tests.rs", "use std::fmt;"),
    ]
}

#[test]
fn no_std_holds_outside_tests() {
    let good = "//! std::x\n#![no_std]\n#[cfg(test)]\nextern crate std;\nuse rustd::x;\n#[cfg(test)]\nmod tests { use std::fmt; }\n";
    check(&no_std(&no_std_tree(good)), &[]);
    let bad = "//! x\nextern crate std;\nuse std::fmt;\n";
    let wanted = ["lacks #![no_std]", "lib.rs:2: names std", "lib.rs:3: names std"];
    check(&no_std(&no_std_tree(bad)), &wanted);
    let commented = "//! x\n// #![no_std]\n";
    check(&no_std(&no_std_tree(commented)), &["lacks #![no_std]"]);
}

#[test]
fn libraries_do_not_panic() {
    let good = "//! x\nfn f() { a.unwrap_or(1); let t = \"panic!()\"; }\n#[expect(clippy::unwrap_used, reason = \"always\")]\nfn g() { a.unwrap(); }\n#[cfg(test)]\nmod tests { fn t() { a.unwrap(); panic!(); } }\n";
    let files = [
        file("crates/placet-store/src/lib.rs", good),
        file("crates/placet/src/main.rs", "//! x\nfn f() { a.unwrap(); }"),
        file("crates/placet-store/tests/all.rs", "//! x\nfn f() { a.unwrap(); }"),
    ];
    check(&no_panics(&files), &[]);
    let bad = "//! x\nfn f() { a.unwrap(); }\nfn g() { b.expect(\"x\"); }\n#[expect(clippy::unwrap_used)]\nfn h() { c.unwrap(); }\nfn i() { todo!(); }\n";
    let wanted = ["lib.rs:2: .unwrap()", "lib.rs:3: .expect(", "lib.rs:5:", "lib.rs:6: todo!("];
    check(&no_panics(&[file("crates/placet-store/src/lib.rs", bad)]), &wanted);
}

#[test]
fn files_say_what_they_own() {
    let files = [file("a.rs", "//! x\n"), file("b.rs", "use x;\n"), file("c.md", "text")];
    check(&openings(&files), &["b.rs: does not open"]);
}

#[test]
fn long_files_only_shrink() {
    let long = |lines: usize| "x\n".repeat(lines);
    let files = [
        file("short.rs", &long(600)),
        file("long.rs", &long(601)),
        file("kept.rs", &long(700)),
        file("grown.rs", &long(701)),
        file("done.rs", &long(10)),
        file("text.md", &long(2000)),
    ];
    let list = "# path lines\nkept.rs 700\ngrown.rs 700\ndone.rs 700\ngone.rs 700\nwhat\n";
    let wanted = ["\"what\"", "long.rs: 601", "grown.rs: 701", "done.rs: short", "gone.rs"];
    check(&ratchet(&files, list), &wanted);
}

#[test]
fn text_belongs_to_no_machine() {
    let host = concat!("crates", ".io");
    let lock = format!("source = \"registry+https://github.com/rust-lang/{host}-index\"\n");
    let good = [file("Cargo.lock", &lock), file("a.md", "a frame/worker and =======\n=======\n")];
    check(&clean_text(&good), &[]);
    let bad = [
        file("a.md", concat!("see /wo", "rk/main\n")),
        file("b.md", &format!("x\nfrom {host}\n")),
        file("c.rs", concat!("<<<<", "<<< HEAD\n", ">>>>", ">>> x\n")),
        file("Cargo.lock", "source = \"registry+https://mirror.example/index\"\n"),
    ];
    let wanted = ["a.md:1:", "b.md:2:", "c.rs:1:", "c.rs:2:", "Cargo.lock:1: takes a package"];
    check(&clean_text(&bad), &wanted);
}

#[test]
fn codes_and_pages_agree() {
    const LIST: &str = "crates/placet-api/src/error.rs";
    assert!(error_pages(&[]).is_none());
    let list = "pub const CODES: &[(&str, u16, &str)] = &[\n    // (\"old\", 400, \"x\"),\n    (\"not_found\", 404, \"Not found (here)\"),\n    (\n        \"late\", 409,\n        \"Late\",\n    ),\n];\nfn f() { g((\"other\", 500)); }\n";
    let page = |code: &str| file(&format!("docs/errors/{code}.md"), &format!("# {code}\n\nx\n"));
    let good = [file(LIST, list), page("not_found"), page("late"), page("README")];
    check(&error_pages(&good).unwrap(), &[]);
    let wrong = file("docs/errors/late.md", "# latte\n");
    let bad = [file(LIST, list), wrong, page("old")];
    let wanted = ["not_found.md: missing", "late.md: does not open", "does not list old"];
    check(&error_pages(&bad).unwrap(), &wanted);
    let twice = "CODES: &[(&str, u16, &str)] = &[(\"a\", 200, \"x\"), (\"a\", 404, \"x\")];";
    let wanted = ["status 200", "listed twice"];
    check(&error_pages(&[file(LIST, twice), page("a")]).unwrap(), &wanted);
    check(&error_pages(&[file(LIST, "nothing")]).unwrap(), &["no `CODES"]);
}
