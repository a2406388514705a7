//! What people and programs see: tables, colour, progress, one JSON document. Owns the terminal;
//! refuses to pass on control characters, which could show a person something else than is there.

use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, presets,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use placet_types::visible;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// Refusals.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
/// Permits.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default().bold();
/// Waiting.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What matters more.
pub(crate) const BOLD: Style = Style::new().bold();

fn colourful(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// `text` in a style, where standard output is a terminal that shows it.
pub(crate) fn paint(style: Style, text: &str) -> String {
    painted(style, text, colourful(std::io::stdout().is_terminal()))
}

/// `text` in a style, for standard error.
pub(crate) fn err_paint(style: Style, text: &str) -> String {
    painted(style, text, colourful(std::io::stderr().is_terminal()))
}

fn painted(style: Style, text: &str, colour: bool) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// Columns of the terminal that standard output is; none where it is no terminal.
pub(crate) fn columns() -> Option<usize> {
    Table::new().width().map(usize::from)
}

/// The same for standard error.
pub(crate) fn err_columns() -> Option<usize> {
    Table::new().use_stderr().width().map(usize::from)
}

/// An outcome in its colour.
pub(crate) fn outcome(word: &str) -> String {
    let style = match word {
        "PERMIT" => GREEN,
        "REQUIRE_APPROVAL" | "THROTTLE" => YELLOW,
        _ => RED,
    };
    paint(style, word)
}

/// Prints a line. A reader that has gone is no failure of ours: the process just ends.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(i32::from(crate::exit::FAILURE));
    }
}

/// Prints the one document of `--json`.
pub(crate) fn document(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}

/// Prints a document on a line of its own, for JSON Lines.
pub(crate) fn json_line(value: &Value) {
    line(&value.to_string());
}

/// Text from elsewhere with everything escaped that a terminal acts on, or that hides, reorders or
/// imitates what is read ([`visible::escape`]); line breaks stay.
pub(crate) fn safe(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(visible::escape).collect();
    lines.join("\n")
}

/// A JSON value as people read it: strings bare, everything else as JSON, all of it [`safe`].
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => safe(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => safe(&other.to_string()),
    }
}

/// A table as wide as the terminal; its cells must be [`safe`] already. Outcomes have their colour.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    if colourful(std::io::stdout().is_terminal()) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    }
    let narrow = table.is_tty().then(|| table.width()).flatten();
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for row in rows {
        table.add_row(row.iter().map(|text| match text.as_str() {
            "PERMIT" => Cell::new(text).fg(Color::Green),
            "REQUIRE_APPROVAL" | "THROTTLE" => Cell::new(text).fg(Color::Yellow),
            "DENY" | "SILENCE" => Cell::new(text).fg(Color::Red),
            _ => Cell::new(text),
        }));
    }
    // Ids stand first, and are there to be copied.
    let longest = rows.iter().filter_map(|row| row.first()).map(|id| id.chars().count()).max();
    let fits = narrow.is_none_or(|width| usize::from(width) > 2 * longest.unwrap_or(0));
    if let Some(column) = table.column_mut(0).filter(|_| fits) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.trim_fmt()
}

/// A label and a value on a line of their own.
pub(crate) fn field(label: &str, value: &str) {
    line(&format!("  {} {value}", paint(DIM, &format!("{label:<12}"))));
}

/// A bar on standard error for long work; invisible where nobody watches.
pub(crate) fn progress(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{msg} [{bar:30}] {human_pos}/{human_len} {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}

/// The same, where nobody knows how much there is.
pub(crate) fn working(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}: {human_pos}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// The same, for bytes.
pub(crate) fn bytes_progress(total: u64, what: &str) -> ProgressBar {
    let bar = progress(total, what);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_passes() {
        assert_eq!(safe("a\u{1b}[2Jb\rc\td\ne"), "a\\u{1b}[2Jb\\u{d}c\\u{9}d\ne");
        assert_eq!(safe("pay \u{202e}100\u{200b}"), "pay \\u{202e}100\\u{200b}");
        assert_eq!(safe("Zürich, 北京"), "Zürich, 北京");
    }

    #[test]
    fn a_value_reads_as_people_write_it() {
        assert_eq!(plain(&serde_json::json!(["a", 1, null])), "a, 1, -");
        assert_eq!(plain(&serde_json::json!({"b": 2})), r#"{"b":2}"#);
    }
}
