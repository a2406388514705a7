//! `release`, `alias`: what was released with which papers, and where names lead. Owns the pictures; refuses to
//! know what makes papers complete.

use crate::client::escape;
use crate::commands::ask::{Ask, Governed};
use crate::commands::evidence::{digest, some};
use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use placet_types::Digest;
use serde_json::{Value, json};
use std::fmt::Write as _;

const RELEASES: &str = "/api/v1/releases";
const ALIASES: &str = "/api/v1/aliases";

/// Releases, each with its papers: change, evaluations, approvals.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet release register app-1.4 --subject sha256:9f86… --change dec_018f… --evaluation evd_018f… --approval apr_018f…
  placet release show app-1.4
  placet release show app-1.4 --svg > app-1.4.svg
  placet release list")]
pub(crate) struct ReleaseArgs {
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Subcommand, Debug)]
enum ReleaseCommand {
    /// Register a release, as the policy permits; its name is for good
    Register {
        /// Its name.
        name: String,
        /// What is released.
        #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
        subject: Digest,
        /// The decision on the change.
        #[arg(long, value_name = "ID")]
        change: Option<String>,
        /// Evidence about it; may be repeated.
        #[arg(long = "evaluation", value_name = "ID")]
        evaluations: Vec<String>,
        /// An approval of it; may be repeated.
        #[arg(long = "approval", value_name = "ID")]
        approvals: Vec<String>,
        #[command(flatten)]
        governed: Governed,
    },
    /// Show a release, its papers, and what is missing of them
    Show {
        /// Its name.
        name: String,
        /// As a graph in DOT.
        #[arg(long, conflicts_with_all = ["svg", "json"])]
        dot: bool,
        /// As a picture in SVG.
        #[arg(long, conflicts_with = "json")]
        svg: bool,
        #[command(flatten)]
        ask: Ask,
    },
    /// List releases, newest first
    List {
        #[command(flatten)]
        ask: Ask,
    },
}

/// Aliases: names that lead to a model, a branch or a release.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet alias set app-production --to release:app-1.4
  placet alias show app-production
  placet alias list")]
pub(crate) struct AliasArgs {
    #[command(subcommand)]
    command: AliasCommand,
}

#[derive(Subcommand, Debug)]
enum AliasCommand {
    /// Change where a name leads, as the policy permits
    Set {
        /// The name.
        name: String,
        /// Where it is to lead: model:NAME, branch:NAME or release:NAME.
        #[arg(long, value_name = "TARGET")]
        to: String,
        #[command(flatten)]
        governed: Governed,
    },
    /// Show where a name leads
    Show {
        /// The name.
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// List all names
    List {
        #[command(flatten)]
        ask: Ask,
    },
}

/// Runs `release`.
pub(crate) async fn run(args: ReleaseArgs) -> Done {
    match args.command {
        ReleaseCommand::Register { name, subject, change, evaluations, approvals, governed } => {
            let body = some(json!({
                "name": name, "subject": subject.to_string(), "change": change,
                "evaluations": evaluations, "approvals": approvals,
            }));
            governed.post(RELEASES, body, show).await
        }
        ReleaseCommand::Show { name, dot, svg, ask } => {
            let path = format!("{RELEASES}/{}", escape(&name));
            ask.get(&path, |release| match (dot, svg) {
                (true, _) => output::line(self::dot(release).trim_end()),
                (_, true) => output::line(self::svg(release).trim_end()),
                _ => show(release),
            })
            .await
        }
        ReleaseCommand::List { ask } => {
            ask.get(&format!("{RELEASES}?limit=200"), |listed| {
                let cells = ["name", "subject", "complete", "by", "since"];
                table(&listed["releases"], &cells);
            })
            .await
        }
    }
}

/// Runs `alias`.
pub(crate) async fn alias(args: AliasArgs) -> Done {
    let shown = |alias: &Value| {
        output::line(&format!(
            "{} -> {}",
            output::plain(&alias["name"]),
            output::plain(&alias["to"])
        ));
        output::field("by", &output::plain(&alias["by"]));
        output::field("since", &output::plain(&alias["since"]));
    };
    match args.command {
        AliasCommand::Set { name, to, governed } => {
            governed.post(ALIASES, json!({"name": name, "to": to}), shown).await
        }
        AliasCommand::Show { name, ask } => {
            ask.get(&format!("{ALIASES}/{}", escape(&name)), shown).await
        }
        AliasCommand::List { ask } => {
            ask.get(ALIASES, |listed| table(&listed["aliases"], &["name", "to", "by", "since"]))
                .await
        }
    }
}

fn table(items: &Value, cells: &[&str]) {
    let rows: Vec<Vec<String>> = items
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| cells.iter().map(|cell| output::plain(&item[*cell])).collect())
        .collect();
    output::line(&output::table(cells, &rows));
}

fn show(release: &Value) {
    let complete = release["complete"] == json!(true);
    let state = if complete { "papers complete" } else { "papers incomplete" };
    output::line(&format!("{}: {state}", output::plain(&release["name"])));
    for name in ["subject", "change", "decision", "by", "since"] {
        if !release[name].is_null() {
            output::field(name, &output::plain(&release[name]));
        }
    }
    for link in release["evaluations"].as_array().into_iter().flatten() {
        let cell = |name: &str| output::plain(&link[name]);
        output::field("evaluation", &format!("{} {} {}", cell("id"), cell("type"), cell("issuer")));
    }
    for id in release["approvals"].as_array().into_iter().flatten() {
        output::field("approval", &output::plain(id));
    }
    for gap in release["gaps"].as_array().into_iter().flatten() {
        output::field("gap", &output::plain(gap));
    }
}

/// The stages of a lineage, each with the texts of its boxes, and whether it has a gap.
fn stages(release: &Value) -> [(&'static str, Vec<String>, bool); 4] {
    let list = |name: &str| release[name].as_array().cloned().unwrap_or_default();
    let gap = |stage: &str| {
        list("gaps").iter().any(|it| it.as_str().is_some_and(|it| it.starts_with(stage)))
    };
    let change = release["change"].as_str().map(str::to_owned).into_iter().collect();
    let evaluations = list("evaluations").into_iter().map(|it| {
        let text = |name: &str| it[name].as_str().unwrap_or("unknown").to_owned();
        format!("{}\n{}", text("type"), text("id"))
    });
    let evaluations = evaluations.collect();
    let approvals = list("approvals").into_iter().filter_map(|it| it.as_str().map(str::to_owned));
    let name = release["name"].as_str().unwrap_or_default().to_owned();
    [
        ("change", change, gap("change")),
        ("evaluation", evaluations, gap("evaluation")),
        ("approval", approvals.collect(), gap("approval")),
        ("release", vec![name], false),
    ]
}

/// The lineage as a graph. What is missing is a dashed box.
fn dot(release: &Value) -> String {
    let quoted = |text: &str| {
        let text =
            output::safe(&text.replace('\n', " ")).replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{text}\"")
    };
    let mut out = "digraph release {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    let stages = stages(release);
    for (at, (stage, boxes, gap)) in stages.iter().enumerate() {
        let style = if *gap { ", style=dashed, color=red" } else { "" };
        let missing = vec![format!("no {stage}")];
        let texts = if boxes.is_empty() { &missing } else { boxes };
        for (n, text) in texts.iter().enumerate() {
            let _ = writeln!(out, "  {stage}{n} [label={}{style}];", quoted(text));
        }
        let Some((next, after, _)) = stages.get(at + 1) else { continue };
        for n in 0..boxes.len().max(1) {
            for m in 0..after.len().max(1) {
                let _ = writeln!(out, "  {stage}{n} -> {next}{m};");
            }
        }
    }
    out + "}\n"
}

/// The same as a picture: a column for each stage.
fn svg(release: &Value) -> String {
    const WIDE: usize = 320;
    const HIGH: usize = 64;
    let escaped = |text: &str| {
        output::safe(text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let stages = stages(release);
    let rows = stages.iter().map(|(_, boxes, _)| boxes.len().max(1)).max().unwrap_or(1);
    let (width, height) = (stages.len() * WIDE, rows * HIGH + 48);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    for (at, (stage, boxes, gap)) in stages.iter().enumerate() {
        let left = at * WIDE + 8;
        let _ = writeln!(out, "  <text x=\"{left}\" y=\"24\" font-weight=\"bold\">{stage}</text>");
        let missing = vec![format!("no {stage}")];
        let boxes = if boxes.is_empty() { &missing } else { boxes };
        let (colour, dash) = if *gap { ("red", " stroke-dasharray=\"4\"") } else { ("black", "") };
        for (n, text) in boxes.iter().enumerate() {
            let (top, wide) = (n * HIGH + 40, WIDE - 48);
            let _ = writeln!(
                out,
                "  <rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{}\" fill=\"none\" \
                 stroke=\"{colour}\"{dash}/>",
                HIGH - 16
            );
            for (line, part) in text.split('\n').enumerate() {
                let (x, y) = (left + 8, top + 18 + line * 16);
                let _ = writeln!(out, "  <text x=\"{x}\" y=\"{y}\">{}</text>", escaped(part));
            }
        }
        if at + 1 < stages.len() {
            let (from, to) = (left + WIDE - 48, left + WIDE);
            let _ = writeln!(
                out,
                "  <line x1=\"{from}\" y1=\"64\" x2=\"{to}\" y2=\"64\" stroke=\"{colour}\"{dash}/>"
            );
        }
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::{dot, svg};
    use serde_json::json;

    #[test]
    fn pictures_show_every_paper_and_every_gap() {
        let release = json!({
            "name": "app \"1\" <b>", "change": "dec_1", "gaps": ["approval_missing"],
            "evaluations": [{"id": "evd_1", "type": "review"}, {"id": "evd_2", "type": "scan"}],
            "approvals": [],
        });
        let graph = dot(&release);
        for line in [
            "change0 [label=\"dec_1\"];",
            "evaluation1 [label=\"scan evd_2\"];",
            "approval0 [label=\"no approval\", style=dashed, color=red];",
            "release0 [label=\"app \\\"1\\\" <b>\"];",
            "change0 -> evaluation1;",
            "evaluation1 -> approval0;",
            "approval0 -> release0;",
        ] {
            assert!(graph.contains(line), "{line}\n{graph}");
        }
        let picture = svg(&release);
        for part in
            ["evd_2", "no approval", "stroke=\"red\"", "app &quot;1&quot; &lt;b&gt;", "</svg>"]
        {
            assert!(picture.contains(part), "{part}\n{picture}");
        }
        assert_eq!(picture.matches("<rect").count(), 5);
    }
}
