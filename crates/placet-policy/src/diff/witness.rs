//! Values that tell the tests of derivers apart: for each test some that pass and some that do not. Owns
//! what is tried of a host, a network, a path, an expression; the tests themselves decide.

use super::automaton::classes;
use super::space::Slot;
use crate::derive::{Parsed, Test, TestKind};
use crate::pattern::Dialect;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Most values that are made of one expression.
const REGEX_WITNESSES_MAX: usize = 64;
/// Longest of them.
const REGEX_BYTES_MAX: u32 = 4096;

/// Where a deriver reads.
pub(super) fn slot_of(read: &str) -> Slot {
    match read {
        "target" => Slot::Target,
        "topic" => Slot::Topic,
        "action" => Slot::Action,
        "model" => Slot::Model,
        path => Slot::Path(path.split('.').map(str::to_owned).collect()),
    }
}

/// Values worth trying, those that pass first, and what could not be tried.
pub(super) fn of_tests(tests: &[(TestKind, Vec<Test>)]) -> (Vec<String>, Vec<String>) {
    let (mut words, mut left_out) = (Vec::new(), Vec::new());
    for (kind, tests) in tests {
        let mut near: Vec<String> = Vec::new();
        if *kind == TestKind::Paths {
            let patterns: BTreeSet<String> = tests.iter().map(|it| it.text().to_owned()).collect();
            near.extend(classes(Dialect::Path, &patterns, false).into_iter().flatten());
        }
        for test in tests {
            let text = test.text();
            match kind {
                TestKind::Values => near.push(text.to_owned()),
                TestKind::Hosts => hosts(text, &mut near),
                TestKind::Networks => network(text, &mut near),
                TestKind::Paths => near.push(text.replace('*', "x")),
                TestKind::Regex => near.extend(expression(text)),
            }
            if !near.iter().any(|value| test.passes(&Parsed::new(value)) == Some(true)) {
                left_out.push(format!("{} {text}", kind.as_str()));
            }
        }
        words.append(&mut near);
    }
    let passes = |value: &String| {
        tests
            .iter()
            .flat_map(|(_, tests)| tests)
            .any(|test| test.passes(&Parsed::new(value)) == Some(true))
    };
    words.push("anything-else".to_owned());
    let mut seen = BTreeSet::new();
    words.retain(|word| (1..=2048).contains(&word.len()) && seen.insert(word.clone()));
    // Stable: what passes comes first.
    words.sort_by_key(|word| !passes(word));
    (words, left_out)
}

fn hosts(text: &str, out: &mut Vec<String>) {
    let name = text.strip_prefix("*.").unwrap_or(text);
    out.push(if name == text { name.to_owned() } else { format!("a.{name}") });
    out.extend([
        name.to_owned(),
        format!("a.{name}"),
        format!("x{name}"),
        format!("https://a.{name}/"),
    ]);
    out.push("other.invalid".to_owned());
}

/// The first and the last address of a network, and those next to them.
fn network(text: &str, out: &mut Vec<String>) {
    let Some((address, bits)) = text.split_once('/') else { return };
    let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u32>()) else { return };
    let (width, value) = match address {
        IpAddr::V4(it) => (32, u128::from(it.to_bits())),
        IpAddr::V6(it) => (128, it.to_bits()),
    };
    let most = u128::MAX.checked_shr(128_u32.saturating_sub(width)).unwrap_or(0);
    let host = most.checked_shr(bits).unwrap_or(0);
    let (first, last) = (value & !host, value | host);
    let near = [first.checked_sub(1), last.checked_add(1).filter(|it| *it <= most)];
    for value in [Some(first), Some(last)].into_iter().chain(near).flatten() {
        out.push(match address {
            IpAddr::V4(_) => {
                std::net::Ipv4Addr::from_bits(u32::try_from(value).unwrap_or(0)).to_string()
            }
            IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(value).to_string(),
        });
    }
}

/// Texts that an expression matches, the shortest of each kind; none where that is not cheap.
pub(super) fn expression(text: &str) -> Vec<String> {
    let Ok(tree) = regex_syntax::parse(text) else { return Vec::new() };
    let mut out = spelled(&tree).unwrap_or_default();
    out.truncate(REGEX_WITNESSES_MAX);
    // Near misses: an end too much, and an end too little.
    let misses: Vec<String> = out
        .iter()
        .take(4)
        .flat_map(|it| {
            let mut shorter = it.clone();
            shorter.pop();
            [format!("{it}x"), format!("x{it}"), shorter]
        })
        .collect();
    out.extend(misses);
    out
}

/// Texts of one part: each alternative, each end of each class and of each repetition once, everything
/// else at its first.
fn spelled(part: &Hir) -> Option<Vec<String>> {
    let mut out = Vec::new();
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => out.push(String::new()),
        HirKind::Literal(literal) => out.push(String::from_utf8(literal.0.to_vec()).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            for range in class.ranges().iter().take(8) {
                // What can be read is preferred to the first control character.
                let first = range.start().max(' ').min(range.end());
                out.extend([first.to_string(), range.end().to_string()]);
            }
        }
        HirKind::Class(Class::Bytes(class)) => {
            let ends = class.ranges().iter().flat_map(|range| [range.start(), range.end()]);
            out.extend(ends.filter(u8::is_ascii).map(|byte| char::from(byte).to_string()));
        }
        HirKind::Capture(capture) => return spelled(&capture.sub),
        HirKind::Alternation(parts) => {
            for part in parts {
                out.extend(spelled(part)?);
            }
        }
        HirKind::Repetition(repetition) => {
            let each = spelled(&repetition.sub)?;
            let least = repetition.min;
            let counts = [least, repetition.max.unwrap_or(least.saturating_add(1))];
            for count in counts {
                for one in each.iter().take(4) {
                    let bytes = u32::try_from(one.len()).ok()?.saturating_mul(count);
                    if bytes <= REGEX_BYTES_MAX {
                        out.push(one.repeat(usize::try_from(count).ok()?));
                    }
                }
            }
        }
        HirKind::Concat(parts) => {
            let all: Vec<Vec<String>> = parts.iter().map(spelled).collect::<Option<_>>()?;
            let first = |skip: usize, with: &str| -> String {
                let mut text = String::new();
                for (at, options) in all.iter().enumerate() {
                    text.push_str(if at == skip {
                        with
                    } else {
                        options.first().map_or("", String::as_str)
                    });
                }
                text
            };
            for (at, options) in all.iter().enumerate() {
                out.extend(options.iter().map(|option| first(at, option)));
            }
        }
    }
    let mut seen = BTreeSet::new();
    out.retain(|text| seen.insert(text.clone()));
    out.truncate(REGEX_WITNESSES_MAX);
    (!out.is_empty()).then_some(out)
}
