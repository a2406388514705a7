//! The rule over `docs/attacks.md`: every way around a permit that is listed names a test that is there.
//! Reads no file and runs no test.

use crate::rules::File;

const PAGE: &str = "docs/attacks.md";
/// As many ways have to be listed at least.
const WAYS_MIN: usize = 40;

/// Complaints about rows without a test, and about tests that are not there.
pub(crate) fn named(files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE}: missing")];
    };
    let mut found = Vec::new();
    let mut ways = 0;
    for (line, row) in page.text.lines().enumerate() {
        let Some(number) = number(row) else { continue };
        ways += 1;
        let place = format!("{PAGE}:{}", line + 1);
        if number != ways {
            found.push(format!("{place}: row {number} where {ways} is next"));
        }
        let tests: Vec<_> = row.split('`').filter_map(|part| part.split_once("::")).collect();
        if tests.is_empty() {
            found.push(format!("{place}: names no test as `file.rs::test`"));
        }
        for (path, test) in tests {
            match files.iter().find(|file| file.path == path) {
                None => found.push(format!("{place}: there is no {path}")),
                Some(file) if !has_test(&file.text, test) => {
                    found.push(format!("{place}: {path} has no test {test}"));
                }
                Some(_) => {}
            }
        }
    }
    if ways < WAYS_MIN {
        found.push(format!("{PAGE}: {ways} ways, {WAYS_MIN} are promised"));
    }
    found
}

/// The number that a row of the table begins with.
fn number(row: &str) -> Option<usize> {
    row.strip_prefix("| ")?.split_once(" |")?.0.parse().ok()
}

/// Whether a function of this name is marked as a test that runs.
fn has_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines.iter().take(at).rev().take_while(|line| line.starts_with("#["));
        let marks: Vec<_> = above.collect();
        line.contains(&head)
            && marks.iter().any(|mark| mark.contains("test"))
            && !marks.iter().any(|mark| mark.starts_with("#[ignore"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn page(rows: &[String]) -> File {
        file(PAGE, &format!("# Attacks\n\n| | way | test |\n|---|---|---|\n{}\n", rows.join("\n")))
    }

    const TESTS: &str =
        "#[test]\nfn good() {}\n\n#[test]\n#[ignore = \"slow\"]\nfn never() {}\n\nfn helper() {}\n";

    #[test]
    fn every_way_names_a_test_that_is_there() {
        let row = |n: usize, test: &str| format!("| {n} | a way | `a/b.rs::{test}` |");
        let mut rows: Vec<String> = (1..=WAYS_MIN).map(|n| row(n, "good")).collect();
        let files = |rows: &[String]| [page(rows), file("a/b.rs", TESTS)];
        assert_eq!(named(&files(&rows)), Vec::<String>::new());
        assert!(named(&[]).first().unwrap().contains("missing"));
        assert!(named(&files(&rows[1..])).iter().any(|it| it.contains("are promised")));
        for (bad, says) in [
            (row(3, "gone"), "has no test gone"),
            (row(3, "helper"), "has no test helper"),
            (row(3, "never"), "has no test never"),
            (row(4, "good"), "where 3 is next"),
            ("| 3 | a way | later |".to_owned(), "names no test"),
            ("| 3 | a way | `a/c.rs::good` |".to_owned(), "there is no a/c.rs"),
        ] {
            rows[2] = bad;
            let found = named(&files(&rows));
            assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
        }
    }
}
