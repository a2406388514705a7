//! The governance metrics as Prometheus text; `docs/reference/metrics.md` defines them.

use super::{Figures, head, line};
use placet_engine::{Closing, Latency};
use placet_types::policy::Reason;
use std::collections::BTreeSet;
use std::fmt::Write;

pub(super) fn write(out: &mut String, rows: &[(String, Figures)]) {
    latency(out, rows);
    head(
        out,
        "placet_approvals_closed_total",
        "counter",
        "Ends of approvals; state=\"rejected\" are rejected changes.",
    );
    for (name, figures) in rows {
        for (closing, count) in Closing::ALL.iter().zip(figures.measured.closings) {
            let labels = format!("workspace=\"{name}\",state=\"{}\"", closing.as_str());
            line(out, "placet_approvals_closed_total", &labels, count);
        }
    }
    head(
        out,
        "placet_policy_violations_total",
        "counter",
        "Decisions that policy denied, overrides not counted.",
    );
    for (name, figures) in rows {
        let labels = format!("workspace=\"{name}\"");
        line(out, "placet_policy_violations_total", &labels, figures.measured.violations);
    }
    head(
        out,
        "placet_denied_total",
        "counter",
        "Denied decisions by each of their reasons; reason=\"evidence_expired\" is expired evidence.",
    );
    for (name, figures) in rows {
        let refused = &figures.measured.refused;
        // These two are there from the start: an increase from nothing would not be seen.
        let always = [Reason::EvidenceMissing, Reason::EvidenceExpired];
        let reasons: BTreeSet<Reason> = refused.keys().copied().chain(always).collect();
        for reason in reasons {
            let labels = format!("workspace=\"{name}\",reason=\"{}\"", reason.as_str());
            line(out, "placet_denied_total", &labels, figures.measured.refused_for(reason));
        }
    }
    head(
        out,
        "placet_evidence_lapsed_total",
        "counter",
        "Held actions that ended because evidence of theirs had run out.",
    );
    for (name, figures) in rows {
        let labels = format!("workspace=\"{name}\"");
        line(out, "placet_evidence_lapsed_total", &labels, figures.measured.lapsed);
    }
    head(
        out,
        "placet_releases_total",
        "counter",
        "Registered releases; lineage=\"complete\" are those with complete papers.",
    );
    for (name, figures) in rows {
        let [all, complete] = figures.measured.releases;
        for (lineage, count) in [("complete", complete), ("incomplete", all - complete)] {
            let labels = format!("workspace=\"{name}\",lineage=\"{lineage}\"");
            line(out, "placet_releases_total", &labels, count);
        }
    }
    head(
        out,
        "placet_passages_total",
        "counter",
        "Effects without a decision that gates reported; open=\"yes\" where the policy lets them pass.",
    );
    for (name, figures) in rows {
        for (open, count) in ["yes", "no"].iter().zip(figures.measured.passages) {
            let labels = format!("workspace=\"{name}\",open=\"{open}\"");
            line(out, "placet_passages_total", &labels, count);
        }
    }
    head(
        out,
        "placet_owners_missing",
        "gauge",
        "Entries of the policy in force for which nobody answers.",
    );
    for (name, figures) in rows {
        let Some((without, left)) = figures.unowned else { continue };
        for (why, count) in [("none", without), ("left", left)] {
            let labels = format!("workspace=\"{name}\",why=\"{why}\"");
            line(out, "placet_owners_missing", &labels, count);
        }
    }
}

fn latency(out: &mut String, rows: &[(String, Figures)]) {
    let metric = "placet_approval_latency_seconds";
    head(out, metric, "histogram", "How long actions were held until people had decided.");
    for (name, figures) in rows {
        let latency = &figures.measured.latency;
        let mut sum = 0;
        for (bound, count) in Latency::BOUNDS_MS.iter().zip(latency.places) {
            sum += count;
            let labels = format!("workspace=\"{name}\",le=\"{}\"", bound / 1000);
            line(out, "placet_approval_latency_seconds_bucket", &labels, sum);
        }
        let labels = format!("workspace=\"{name}\",le=\"+Inf\"");
        line(out, "placet_approval_latency_seconds_bucket", &labels, latency.count);
        let (whole, rest) = (latency.sum_ms / 1000, latency.sum_ms % 1000);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{metric}_sum{{workspace=\"{name}\"}} {whole}.{rest:03}");
        let _ = writeln!(out, "{metric}_count{{workspace=\"{name}\"}} {}", latency.count);
    }
}
