//! Durations as people write them: one form, wherever one is read.

/// Milliseconds of `500ms`, `30s`, `30m`, `8h`, `7d`: an integer and a unit, without leading zeros.
#[must_use]
pub fn duration_ms(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let read = ["250ms", "90s", "30m", "8h", "7d", "0s"].map(duration_ms);
        let expected = [250, 90_000, 1_800_000, 28_800_000, 604_800_000, 0];
        assert_eq!(read, expected.map(Some));
        for text in ["", "7", "d", "07d", "7w", "-1d", "+1d", "1 d", "99999999999999999999d"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }
}
