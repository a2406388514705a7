//! A backtest's report as JSON, for the command line and for HTTP alike, and as lines of text.

use super::{Change, Report, Sample};
use placet_types::json::{Object, Value};
use std::fmt;

impl Report {
    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let excluded = self
            .excluded
            .iter()
            .fold(Object::new(), |object, (why, count)| object.with(why.as_str(), *count));
        let changes: Vec<Value> = self.changes.iter().map(change).collect();
        let instant = |time: Option<placet_types::ids::TimeMs>| {
            time.map_or(Value::Null, |time| Value::from(time.rfc3339()))
        };
        let object = Object::new()
            .with("ok", self.evaluated > 0)
            .with("decisions", self.decisions)
            .with("evaluated", self.evaluated)
            .with("unchanged", self.unchanged)
            .with("excluded", excluded)
            .with("from", instant(self.span.map(|(from, _)| from)))
            .with("to", instant(self.span.map(|(_, to)| to)))
            .with(
                "windows",
                "those of the given bundle, counted over what was really permitted or held",
            )
            .with("changes", changes);
        Value::Object(object)
    }
}

fn change(change: &Change) -> Value {
    let texts =
        |items: &mut dyn Iterator<Item = &str>| -> Vec<Value> { items.map(Value::from).collect() };
    let samples: Vec<Value> = change.samples.iter().map(sample).collect();
    let mut aspects = change.transition.aspects.iter().map(|aspect| aspect.as_str());
    let object = Object::new()
        .with("change", change.transition.to_string())
        .with("from", change.transition.from.as_str())
        .with("to", change.transition.to.as_str())
        .with("aspects", texts(&mut aspects))
        .with("count", change.count)
        .with("rules", texts(&mut change.rules.iter().map(String::as_str)))
        .with("samples", samples);
    Value::Object(object)
}

fn sample(sample: &Sample) -> Value {
    let object = Object::new()
        .with("workspace", sample.workspace.as_str())
        .with("index", sample.index)
        .with("decision", sample.decision.to_string())
        .with("time", sample.time.rfc3339())
        .with("surface", sample.surface.as_str())
        .with("action", sample.action.as_str())
        .with("recorded", sample.recorded.to_value())
        .with("would", sample.would.to_value())
        .with("look", format!("placet audit query --decision {}", sample.decision))
        .with_opt("trace_id", sample.trace.as_deref());
    Value::Object(object)
}

impl fmt::Display for Report {
    /// For people: what was compared and left out, then each kind of change with samples of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.span.map_or_else(String::new, |(from, to)| {
            format!(" of {} to {}", from.rfc3339(), to.rfc3339())
        });
        let Self { decisions, evaluated, unchanged, .. } = self;
        writeln!(
            f,
            "{decisions} decisions{span}: {evaluated} decided again, {unchanged} unchanged"
        )?;
        for (why, count) in &self.excluded {
            writeln!(f, "  {count} left out: {}", why.as_str())?;
        }
        if self.evaluated == 0 {
            return writeln!(f, "nothing was compared");
        }
        if self.changes.is_empty() {
            return writeln!(f, "no decision changes");
        }
        for change in &self.changes {
            let rules: Vec<&str> = change.rules.iter().map(String::as_str).take(8).collect();
            writeln!(f, "{}  {}  {}", change.transition, change.count, rules.join(", "))?;
            for sample in &change.samples {
                let (was, would) =
                    (sample.recorded.outcome.as_str(), sample.would.outcome.as_str());
                writeln!(
                    f,
                    "  {} {} {} {}: {was}, would be {would}",
                    sample.decision,
                    sample.time.rfc3339(),
                    sample.surface,
                    sample.action
                )?;
            }
        }
        Ok(())
    }
}
