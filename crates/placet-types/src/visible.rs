//! Text made visible: what a person decides on shows every character that would otherwise hide,
//! reorder or imitate what stands beside it. Owns which characters those are; refuses to know who
//! looks, and leaves the ordinary text of every script as it is.

use alloc::string::String;
use core::fmt::Write as _;

/// `text` with every character that [`hides`] as `\u{…}`, its code point in lower-case hex without
/// leading zeros. Text without such characters is unchanged. Line breaks and tabs are controls too:
/// whoever shows text of several lines escapes each of them.
///
/// ```
/// use placet_types::visible::escape;
/// assert_eq!(escape("pay \u{202e}001 EUR"), "pay \\u{202e}001 EUR");
/// assert_eq!(escape("Zürich, 北京, القاهرة"), "Zürich, 北京, القاهرة");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if hides(character) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// An [`escape`]d text in which `␣` stands for each space of a run and each at either end, so that no
/// padding makes a value look like the row after it. That character itself is escaped.
///
/// ```
/// use placet_types::visible::flat;
/// assert_eq!(flat("order 7   paid "), "order 7␣␣␣paid␣");
/// ```
#[must_use]
pub fn flat(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let pads = before == ' ' || rest.peek().is_none_or(|next| *next == ' ');
        match character {
            ' ' if pads => out.push('␣'),
            '␣' => out.extend(character.escape_unicode()),
            other => out.push(other),
        }
        before = character;
    }
    out
}

/// Whether a character may not be shown as it is.
///
/// These are: controls; what takes no place or no ink (zero-width characters, joiners, fillers,
/// variation selectors, shorthand and musical controls, the blank of braille); marks that change the
/// order of reading; tags and the rest of the plane of ignorable characters; separators of lines and
/// paragraphs; annotations; spaces other than U+0020, which look like it and are another character;
/// and what Unicode promises never to assign.
#[must_use]
pub fn hides(character: char) -> bool {
    character.is_control() || invisible(character) || reorders(character) || imitates(character)
}

/// Takes no place, or no ink.
fn invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{fdd0}'..='\u{fdef}')
        // The last two of each plane are no characters.
        || u32::from(character) & 0xfffe == 0xfffe
}

/// Changes the order of reading, or breaks the line.
fn reorders(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Looks like a space and is none.
fn imitates(character: char) -> bool {
    matches!(
        character,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn each_class_is_shown() {
        let rows = [
            ("a\u{1b}[8mb", "a\\u{1b}[8mb"),
            ("a\r\n\tb\u{7f}\u{85}", "a\\u{d}\\u{a}\\u{9}b\\u{7f}\\u{85}"),
            ("100\u{200b}0", "100\\u{200b}0"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("a\u{2066}b\u{2069}", "a\\u{2066}b\\u{2069}"),
            ("x\u{e0041}\u{e0042}", "x\\u{e0041}\\u{e0042}"),
            ("x\u{fe0f}\u{e0100}", "x\\u{fe0f}\\u{e0100}"),
            ("rm\u{a0}-rf\u{3000}/", "rm\\u{a0}-rf\\u{3000}/"),
            ("a\u{3164}b\u{2800}c", "a\\u{3164}b\\u{2800}c"),
            ("\u{ffff}\u{fdd0}\u{10fffe}", "\\u{ffff}\\u{fdd0}\\u{10fffe}"),
        ];
        for (text, expected) in rows {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn spaces_that_pad_are_shown() {
        let rows = [
            ("a b c", "a b c"),
            ("a  b", "a␣␣b"),
            (" a ", "␣a␣"),
            (" ", "␣"),
            ("", ""),
            ("a␣b", "a\\u{2423}b"),
        ];
        for (text, expected) in rows {
            assert_eq!(flat(text), expected);
        }
    }

    #[test]
    fn text_of_every_script_stays() {
        for text in [
            "Zürich & naïve – “quoted” €5",
            "Привет, мир",
            "你好，世界。",
            "こんにちは、世界",
            "안녕하세요",
            "مرحبا بالعالم ٣٫٥",
            "שלום עולם",
            "नमस्ते दुनिया",
            "สวัสดีชาวโลก",
            "வணக்கம்",
            "ሰላም",
            "👍 🇨🇭 e\u{301}",
            "C:\\u{202e} stays what somebody typed",
        ] {
            assert_eq!(escape(text), text);
        }
    }

    /// The classes once more, as Unicode names them: general categories Cc, Zs but for the space, Zl
    /// and Zp; Default_Ignorable_Code_Point; Bidi_Control; noncharacters; blanks that are letters or
    /// symbols. Written as ranges of numbers, so that one table checks the other.
    const HIDDEN: &[(u32, u32)] = &[
        (0x0000, 0x001f), // Cc
        (0x007f, 0x00a0), // Cc, no-break space
        (0x00ad, 0x00ad), // soft hyphen
        (0x034f, 0x034f), // combining grapheme joiner
        (0x061c, 0x061c), // Arabic letter mark
        (0x115f, 0x1160), // Hangul fillers
        (0x1680, 0x1680), // Ogham space
        (0x17b4, 0x17b5), // Khmer inherent vowels
        (0x180b, 0x180f), // Mongolian selectors
        (0x2000, 0x200f), // spaces, zero-width, marks
        (0x2028, 0x202f), // separators, embeddings, narrow space
        (0x205f, 0x206f), // space, invisible operators, isolates
        (0x2800, 0x2800), // braille blank
        (0x3000, 0x3000), // ideographic space
        (0x3164, 0x3164), // Hangul filler
        (0xfdd0, 0xfdef), // noncharacters
        (0xfe00, 0xfe0f), // variation selectors
        (0xfeff, 0xfeff), // byte order mark
        (0xffa0, 0xffa0), // half-width filler
        (0xfff0, 0xfffb), // unassigned, annotations
        (0x1_3430, 0x1_343f),
        (0x1_bca0, 0x1_bca3),
        (0x1_d159, 0x1_d159),
        (0x1_d173, 0x1_d17a),
        (0xe_0000, 0xe_0fff), // tags, further selectors
    ];

    fn listed(character: char) -> bool {
        let number = u32::from(character);
        number % 0x1_0000 >= 0xfffe || HIDDEN.iter().any(|(a, b)| (*a..=*b).contains(&number))
    }

    #[test]
    fn both_tables_agree_on_every_character() {
        for character in '\0'..=char::MAX {
            assert_eq!(hides(character), listed(character), "{:x}", u32::from(character));
        }
    }

    /// Characters of which about every third hides.
    fn text() -> impl Strategy<Value = String> {
        let hidden = prop::sample::select(HIDDEN).prop_flat_map(|(a, b)| a..=b);
        let hidden = hidden.prop_map(|number| char::from_u32(number).unwrap());
        let any = prop_oneof![1 => hidden, 1 => any::<char>(), 1 => prop::char::range(' ', '~')];
        prop::collection::vec(any, 0..40).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_nothing_else_changes(text in text()) {
            let shown = escape(&text);
            prop_assert!(!shown.chars().any(listed));
            let plain: String = text.chars().filter(|c| !listed(*c)).collect();
            prop_assert_eq!(escape(&plain), plain);
            // What is shown is the text, character for character, in its order.
            let parts: Vec<String> = text.chars().map(|c| match listed(c) {
                true => c.escape_unicode().to_string(),
                false => c.to_string(),
            }).collect();
            prop_assert_eq!(shown, parts.concat());
        }
    }
}
