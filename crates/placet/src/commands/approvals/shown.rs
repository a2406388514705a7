//! Approvals as people read them: a line of a table, or every field of one. Owns the layout; refuses
//! to show anything but what the server has computed the digest from, and lets no value of it look like
//! a row of its own.

use crate::output::{self, BOLD, DIM, YELLOW};
use anstyle::Style;
use placet_types::ids::TimeMs;
use placet_types::visible;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where something is shown: standard output or standard error.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    paint: fn(Style, &str) -> String,
    /// Columns of the terminal, where there is one.
    columns: Option<usize>,
}

impl Screen {
    pub(super) fn out() -> Self {
        Self { paint: output::paint, columns: output::columns() }
    }

    pub(super) fn err() -> Self {
        Self { paint: output::err_paint, columns: output::err_columns() }
    }

    /// `text`, which begins in column `start`, in lines of the terminal, those that follow from column
    /// `indent` on; and the column in which it ends.
    fn fold(&self, text: &str, start: usize, indent: usize) -> (String, usize) {
        let columns = self.columns.unwrap_or(usize::MAX);
        let indent = indent.min(columns / 2);
        let (mut out, mut at) = (String::new(), start);
        for character in text.chars() {
            // As wide as a terminal may make it.
            let wide = if character < '\u{1100}' { 1 } else { 2 };
            if at.saturating_add(wide) > columns && at > indent {
                out.push_str(&format!("\n{:indent$}", ""));
                at = indent;
            }
            out.push(character);
            at = at.saturating_add(wide);
        }
        (out, at)
    }
}

/// A table of approvals.
pub(super) fn table<'a>(found: impl Iterator<Item = &'a Value>) -> String {
    let now = now();
    let rows = found.map(|one| {
        let mut row = row(one, now);
        // What counts down says enough in a table.
        if let (Some(last), Some(left)) = (row.last_mut(), left(one, now)) {
            *last = left;
        }
        row
    });
    let rows: Vec<_> = rows.collect();
    output::table(&["approval", "state", "action", "asked by", "missing", "until"], &rows)
}

fn row(one: &Value, now: TimeMs) -> Vec<String> {
    let cell = |key: &str| output::plain(&one[key]);
    let what = format!("{} {}", cell("surface"), cell("action"));
    vec![cell("id"), cell("state"), what, chain(one), roles(&one["missing"]), until(one, now)]
}

/// One line without a table, for output that is not looked at but kept.
pub(super) fn line(one: &Value) -> String {
    row(one, now()).join("  ")
}

/// Who asked, the person first on whose behalf.
fn chain(one: &Value) -> String {
    let actors = one["asked_by"].as_array().into_iter().flatten();
    let actors: Vec<_> = actors.map(|by| output::plain(&by["actor"])).collect();
    if actors.is_empty() { output::plain(&one["requested_by"]) } else { actors.join(" → ") }
}

/// `operator 1, treasurer 2`.
pub(super) fn roles(roles: &Value) -> String {
    let counts = roles.as_object().into_iter().flatten();
    let counts: Vec<_> =
        counts.map(|(role, count)| format!("{} {count}", output::safe(role))).collect();
    if counts.is_empty() { "-".to_owned() } else { counts.join(", ") }
}

/// When it expires, and how long that is from now.
fn until(one: &Value, now: TimeMs) -> String {
    let expires = output::plain(&one["expires"]);
    left(one, now).map_or(expires.clone(), |left| format!("{expires} ({left})"))
}

/// How long it may still be decided; none where it is.
fn left(one: &Value, now: TimeMs) -> Option<String> {
    let at =
        TimeMs::parse_rfc3339(one["expires"].as_str()?).filter(|_| one["state"] == "pending")?;
    Some(if at > now { format!("in {}", span(at.since(now))) } else { "now".to_owned() })
}

/// Two units at most: `3d 4h`, `59m 30s`, `7s`.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let at = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, name) in units.iter().skip(at).take(2) {
        let count = left / unit;
        left %= unit;
        if count > 0 || parts.is_empty() {
            parts.push(format!("{count}{name}"));
        }
    }
    parts.join(" ")
}

fn now() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Everything that a person needs to decide, with nothing hidden in it.
pub(super) fn whole(held: &Value, screen: Screen) -> String {
    let paint = screen.paint;
    let mut out = String::new();
    let mut field = |label: &str, value: String| {
        let value = visible::flat(&value);
        // What is one word, as a digest is, stays whole to be copied.
        let value = if value.contains(' ') { screen.fold(&value, 15, 15).0 } else { value };
        out.push_str(&format!("  {} {value}\n", paint(DIM, &format!("{label:<12}"))));
    };
    let plain = |key: &str| output::plain(&held[key]);
    field("approval", plain("id"));
    field("decision", plain("decision"));
    if held["job_id"].is_string() {
        field("job", plain("job_id"));
    }
    field("state", plain("state"));
    field("asked by", asked(held));
    let rules = held["rules"].as_array().into_iter().flatten();
    for (rule, reason) in rules.zip(held["reasons"].as_array().into_iter().flatten()) {
        field("because", format!("{} ({})", output::plain(reason), output::plain(rule)));
    }
    field("needs", roles(&held["roles"]));
    for vote in held["votes"].as_array().into_iter().flatten() {
        field("vote", voted(vote));
    }
    field("missing", roles(&held["missing"]));
    if held["may_stand_in"].is_array() {
        field("stand-ins", plain("may_stand_in"));
    }
    if held["reopened"].is_number() {
        field("re-opened", format!("{} times: policy asked for more", held["reopened"]));
    }
    field("expires", until(held, now()));
    field("constraints", plain("constraints"));
    field("policy", plain("policy"));
    field("demand", plain("requirement"));
    if held["payload_erased"] == true {
        field(
            "payload",
            "erased: nobody can look at what would run, so nobody can approve it".into(),
        );
    } else if held["unreadable"] == true {
        field("payload", "unreadable or altered: nothing of it is shown".into());
    }
    let bound = |row: &&Value| row["bound"] == true;
    let rows: Vec<&Value> = held["rendering"]["fields"].as_array().into_iter().flatten().collect();
    let parts = [
        ("What would run, exactly", rows.iter().copied().filter(bound).collect::<Vec<_>>()),
        (
            "What was said and found out besides",
            rows.iter().copied().filter(|r| !bound(r)).collect(),
        ),
    ];
    for (title, rows) in parts {
        section(&mut out, title, &rows, screen);
    }
    if rows.iter().any(|row| is_marked(row)) {
        let text = "Lines with ! hold characters that would hide, reorder or imitate: \\u{…} shows them, \
                    and ␣ spaces that pad.";
        out.push_str(&format!("  {}\n", paint(YELLOW, &screen.fold(text, 2, 2).0)));
    }
    out.push_str(&format!("  {} {}\n", paint(DIM, "digest      "), plain("action_digest")));
    out
}

fn asked(held: &Value) -> String {
    let actors = held["asked_by"].as_array().into_iter().flatten();
    let actors = actors.map(|by| {
        format!("{} ({})", output::plain(&by["actor"]), output::plain(&by["provenance"]))
    });
    actors.collect::<Vec<_>>().join(" → ")
}

fn voted(vote: &Value) -> String {
    let word = if vote["approve"] == true { "approved" } else { "rejected" };
    let mut text = format!(
        "{} {word} as {}, {}",
        output::plain(&vote["by"]),
        output::plain(&vote["roles"]),
        output::plain(&vote["time"])
    );
    if let Some(of) = vote["in_the_right_of"].as_array().filter(|of| !of.is_empty()) {
        let of: Vec<_> = of.iter().map(output::plain).collect();
        text.push_str(&format!(", in the right of {}", of.join(", ")));
    }
    if vote["stands_in_as"].is_string() {
        text.push_str(&format!(", standing in as {}", output::plain(&vote["stands_in_as"])));
    }
    if vote["dropped"] == true {
        text.push_str(", which counts no more");
    }
    if vote["via"].is_string() {
        text.push_str(&format!(", through {}", output::plain(&vote["via"])));
    }
    if vote["note"].is_string() {
        text.push_str(&format!(": {}", output::plain(&vote["note"]).replace('\n', "\\n")));
    }
    text
}

fn section(out: &mut String, title: &str, rows: &[&Value], screen: Screen) {
    if rows.is_empty() {
        return;
    }
    let paint = screen.paint;
    out.push_str(&format!("  {}\n", paint(BOLD, title)));
    let text = |row: &Value, key: &str| visible::flat(&output::plain(&row[key]));
    let width = rows.iter().map(|row| text(row, "path").chars().count()).max().unwrap_or(0).min(40);
    for row in rows {
        let mark = if is_marked(row) { paint(YELLOW, "!") } else { " ".to_owned() };
        let value = match row["kind"].as_str() {
            // A text that looks like a number must not pass for one.
            Some("string") if looks_otherwise(row["value"].as_str().unwrap_or_default()) => {
                format!("\"{}\"", text(row, "value"))
            }
            _ => text(row, "value"),
        };
        let from = text(row, "provenance");
        let (told, end) =
            screen.fold(&format!("{:<width$}  {value}", text(row, "path")), 4, width + 6);
        let room = screen.columns.is_none_or(|columns| end + 2 + from.len() <= columns);
        let gap = if room { "  ".to_owned() } else { format!("\n{:1$}", "", width + 6) };
        out.push_str(&format!("  {mark} {told}{gap}{}\n", paint(DIM, &from)));
    }
}

/// Whether something in a row is shown otherwise than it is.
fn is_marked(row: &Value) -> bool {
    let pads = |key: &str| {
        let plain = output::plain(&row[key]);
        visible::flat(&plain) != plain
    };
    row["marked"] == true || pads("path") || pads("value")
}

/// Whether a bare text would read as another kind of value.
fn looks_otherwise(text: &str) -> bool {
    text.is_empty() || serde_json::from_str::<Value>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Screen, span, table, whole};
    use crate::output;
    use serde_json::json;

    #[test]
    fn what_would_run_is_shown_whole_and_nothing_in_it_hides() {
        let row = |path: &str, value: &str, kind: &str, bound: bool, marked: bool| {
            json!({"path": path, "value": value, "kind": kind, "bound": bound, "marked": marked,
                   "provenance": if path == "actor" { "verified" } else { "asserted" }})
        };
        let held = json!({
            "id": "apr_1", "decision": "dec_1", "state": "pending", "surface": "payments.refund",
            "action": "create", "rules": ["bank.refund-large"], "reasons": ["needs a \u{202e}person"],
            "asked_by": [{"actor": "human:maria", "provenance": "asserted"},
                         {"actor": "agent:support", "provenance": "verified"}],
            "constraints": {"max_retries": 1}, "roles": {"operator": 2}, "missing": {"operator": 1},
            "votes": [{"by": "human:bob", "roles": ["operator"], "approve": true, "time": "t",
                       "note": "seen\u{200b}\nall"}],
            "action_digest": "sha256:00", "expires": "2020-01-01T00:00:00.000Z",
            "rendering": {"count": 4, "fields": [
                row("actor", "agent:support", "string", true, false),
                row("arguments.amount", "125000", "number", true, false),
                row("arguments.text", "125000", "string", true, false),
                row("context.memo", "x\\u{202e}y", "string", false, true),
            ]},
        });
        let screen = Screen { paint: |_, text| text.to_owned(), columns: None };
        let text = whole(&held, screen);
        let parts = [
            "human:maria (asserted) → agent:support (verified)",
            "needs a \\u{202e}person (bank.refund-large)",
            "human:bob approved as operator, t: seen\\u{200b}\\nall",
            "operator 2",
            "arguments.amount  125000  asserted",
            "arguments.text    \"125000\"  asserted",
            "! context.memo  x\\u{202e}y  asserted",
            "sha256:00",
            "(now)",
        ];
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains(['\u{202e}', '\u{200b}']), "{text}");
        let table = table([held].iter());
        assert!(table.contains("human:maria → agent:support"), "{table}");
        assert_eq!(output::safe(&table), table);
    }

    #[test]
    fn no_value_looks_like_a_row_of_its_own() {
        let row = |path: &str, value: &str| {
            json!({"path": path, "value": value, "kind": "string", "bound": true, "marked": false,
                   "provenance": "asserted"})
        };
        let forged = format!("order/1002  asserted{:40}arguments.amount  500  asserted", "");
        let filled = format!("{}arguments.amount 500 asserted", "-".repeat(58));
        let held = json!({
            "id": "apr_1", "action_digest": format!("sha256:{}", "0".repeat(80)),
            "votes": [{"by": "human:bob", "approve": true, "note": format!("ok{:70}state", "")}],
            "rendering": {"fields": [
                row("target", &forged),
                row("arguments.memo", &filled),
                row("arguments.北", &"北".repeat(60)),
                row("arguments.amount", "125000 "),
            ]},
        });
        for columns in [Some(80), Some(40), Some(10), None] {
            let text = whole(&held, Screen { paint: |_, text| text.to_owned(), columns });
            let begin = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
            assert_eq!((begin("  state"), begin("    arguments.amount")), (1, 0), "{text}");
            assert!(text.contains(&"0".repeat(80)), "{text}");
            if columns == Some(80) {
                assert!(text.contains("! target            order/1002␣␣asserted␣␣␣"), "{text}");
                assert!(text.contains("! arguments.amount  \"125000␣\"  asserted"), "{text}");
                assert!(text.contains("␣ spaces that pad"), "{text}");
                let folded = format!("{:22}arguments.amount 500 asserted  asserted", "");
                assert_eq!(begin(&folded), 1, "{text}");
                let wide = |line: &&str| line.chars().count() > 80 && !line.contains("0000");
                assert_eq!(text.lines().filter(wide).collect::<Vec<_>>(), [""; 0]);
            }
        }
    }

    #[test]
    fn spans_have_two_units() {
        let read = [7_000, 59_000, 3_570_000, 3_600_000, 270_061_000].map(span);
        assert_eq!(read, ["7s", "59s", "59m 30s", "1h", "3d 3h"]);
        assert_eq!(span(0), "0s");
    }
}
