//! What every bench prints: machine, floor, rows with their bars.

use anyhow::Result;
use comfy_table::Table;
use serde_json::{Value, json};
use std::process::ExitCode;

/// One figure.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// The bar in words, and whether the figure holds it; `None` for figures without one.
    pub(super) bar: Option<(String, bool)>,
}

/// The figures of one run.
pub(super) struct Report {
    pub(super) bench: &'static str,
    pub(super) floor: Vec<(String, f64, &'static str)>,
    pub(super) rows: Vec<Row>,
}

impl Row {
    pub(super) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, bar: None }
    }

    /// With the bar that the value may not exceed.
    pub(super) fn at_most(mut self, bar: f64) -> Self {
        self.bar = Some((format!("<= {}", number(bar)), self.value <= bar));
        self
    }

    /// With the bar that the value must reach.
    pub(super) fn at_least(mut self, bar: f64) -> Self {
        self.bar = Some((format!(">= {}", number(bar)), self.value >= bar));
        self
    }
}

impl Report {
    /// Prints; the exit code is 1 when a bar does not hold.
    pub(super) fn print(&self, json: bool) -> Result<ExitCode> {
        let holds = self.rows.iter().all(|row| row.bar.as_ref().is_none_or(|(_, holds)| *holds));
        if json {
            println!("{}", self.to_json());
        } else {
            println!("{}  {}", self.bench, machine());
            for (name, value, unit) in &self.floor {
                println!("floor: {name} {} {unit}", number(*value));
            }
            let mut table = Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["", "value", "unit", "bar", ""]);
            for row in &self.rows {
                let (bar, holds) = match &row.bar {
                    Some((bar, true)) => (bar.as_str(), "holds"),
                    Some((bar, false)) => (bar.as_str(), "DOES NOT HOLD"),
                    None => ("", ""),
                };
                table.add_row([row.name.as_str(), &number(row.value), row.unit, bar, holds]);
            }
            println!("{table}");
        }
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Prints figures that mean nothing; bars do not count.
    pub(super) fn print_smoke(&self, json: bool) -> Result<ExitCode> {
        self.print(json)?;
        Ok(ExitCode::SUCCESS)
    }

    fn to_json(&self) -> Value {
        let floor: serde_json::Map<String, Value> = self
            .floor
            .iter()
            .map(|(name, value, unit)| (format!("{name} ({unit})"), json!(value)))
            .collect();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "value": row.value, "unit": row.unit,
                    "bar": row.bar.as_ref().map(|(bar, _)| bar),
                    "holds": row.bar.as_ref().map(|(_, holds)| holds),
                })
            })
            .collect();
        json!({"bench": self.bench, "machine": machine(), "floor": floor, "rows": rows})
    }
}

/// Processor, cores and kernel, as the system names them.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(':')))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, kernel {}", kernel.trim())
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}
