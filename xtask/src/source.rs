//! Rust source as far as textual rules need it: comments and literals blanked, and items that only
//! tests compile cut out, with every line where it was. Knows tokens, not grammar.

/// `text` with comments and the inside of string and character literals replaced by blanks.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(bytes, at) {
            length
        } else if rest[0] == b'"' {
            quoted(rest, b'"')
        } else if rest[0] == b'\'' && is_char_literal(text, at) {
            quoted(rest, b'\'')
        } else {
            out.push(rest[0]);
            at += 1;
            continue;
        };
        let literal = rest[0] != b'/';
        for (offset, byte) in rest[..length].iter().enumerate() {
            let edge = literal && (offset == 0 || offset + 1 == length);
            out.push(if edge || *byte == b'\n' { *byte } else { b' ' });
        }
        at += length;
    }
    // Only ASCII was written in the place of anything longer; the rest is copied whole.
    String::from_utf8_lossy(&out).into_owned()
}

/// [`code`] without the items under `#[cfg(test)]`.
pub(crate) fn production(text: &str) -> String {
    blank_items(code(text), |attribute| {
        let inner: String = attribute.chars().filter(|c| !c.is_whitespace()).collect();
        inner == "cfg(test)" || inner.starts_with("cfg(all(test,")
    })
}

/// Blanks each item or statement that follows an outer attribute for which `hit` holds. `hit` sees
/// what stands between the brackets.
pub(crate) fn blank_items(text: String, hit: impl Fn(&str) -> bool) -> String {
    let mut bytes = text.into_bytes();
    let mut at = 0;
    while let Some(found) = find(&bytes, at, b"#[") {
        let Some(end) = closing(&bytes, found + 1) else { break };
        let attribute = String::from_utf8_lossy(&bytes[found + 2..end]).into_owned();
        at = end + 1;
        if hit(&attribute) {
            let stop = item_end(&bytes, at);
            for byte in &mut bytes[found..stop] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            at = stop;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| at + from)
}

/// The bracket that closes the one at `open`.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// One past the `;` or the block that ends the item at `from`.
fn item_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            b'{' => return closing(bytes, at).map_or(bytes.len(), |end| end + 1),
            b'(' | b'[' => at = closing(bytes, at).unwrap_or(bytes.len()),
            // The end of the block that a trailing statement stands in.
            b'}' => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of the raw string that starts at `at`, if one does.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let rest = &bytes[at..];
    let start = [&b"br"[..], b"cr", b"r"].into_iter().find(|start| rest.starts_with(start))?;
    let hashes = rest[start.len()..].iter().take_while(|byte| **byte == b'#').count();
    let open = start.len() + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(hashes + 1, b'#');
    Some(find(rest, open + 1, &end).map_or(rest.len(), |found| found + end.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// A quote starts a character and not a lifetime if it ends after one character or an escape.
fn is_char_literal(text: &str, at: usize) -> bool {
    let mut chars = text[at..].chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{code, production};

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        let text = "a(); // panic!()\n/* x /* y */ z\n*/ b(\"panic!()\", r#\"q\"q\"#, '\"', 'a');\nfn f<'a>(x: &'a str) {}\n";
        let out = code(text);
        assert_eq!(out.lines().count(), text.lines().count());
        assert!(!out.contains("panic"));
        assert!(!out.contains('q'));
        assert!(out.contains("fn f<'a>(x: &'a str) {}"));
        assert!(out.contains("b("));
    }

    #[test]
    fn test_items_are_cut_out_and_others_are_not() {
        let text = "use a;\n#[cfg(test)]\nextern crate std;\nfn f() { g() }\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests {\n    fn x() { y(); }\n}\nfn last() {}\n#[cfg(feature = \"x\")]\nfn kept() {}\n";
        let out = production(text);
        assert_eq!(out.lines().count(), text.lines().count());
        for gone in ["std", "mod tests", "y()"] {
            assert!(!out.contains(gone), "{gone} in {out}");
        }
        for kept in ["use a", "g()", "last()", "kept()"] {
            assert!(out.contains(kept), "{kept} not in {out}");
        }
    }
}
