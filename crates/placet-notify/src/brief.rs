//! An approval as channels tell it: from a held request to run, phase, risk, changes and arguments. Owns
//! where in a request these are looked for; what it finds there is what the caller says.

use crate::lines::{Member, is_whole, line, members};
use placet_types::Digest;
use placet_types::ids::{ApprovalId, TimeMs};
use placet_types::json::{Object, Value};
use std::collections::BTreeMap;

/// Changes that are named one by one; the others are counted.
const CHANGES_MAX: usize = 12;

/// Somebody who approved or rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub by: String,
    /// For which roles.
    pub roles: Vec<String>,
}

/// A risk as the caller states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// `LOW`, `MEDIUM`, `HIGH`, `CRITICAL`.
    pub level: &'static str,
    /// 0 to 100, if a score was stated.
    pub score: Option<u64>,
}

const LEVELS: [(&str, u64); 4] = [("CRITICAL", 85), ("HIGH", 50), ("MEDIUM", 30), ("LOW", 0)];

impl Risk {
    /// From a score and a word; the graver one counts.
    fn of(score: Option<u64>, word: Option<&str>) -> Option<Self> {
        let score = score.filter(|score| *score <= 100);
        let by_score = score.and_then(|score| LEVELS.iter().position(|(_, from)| score >= *from));
        let by_word = word
            .and_then(|word| LEVELS.iter().position(|(level, _)| level.eq_ignore_ascii_case(word)));
        let at = match (by_score, by_word) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        LEVELS.get(at).map(|(level, _)| Self { level, score })
    }

    pub(crate) fn sign(&self) -> &'static str {
        match self.level {
            "CRITICAL" => "🚨",
            "HIGH" => "🔴",
            "MEDIUM" => "🟡",
            _ => "🟢",
        }
    }
}

/// Members of a request that a message shows in words of its own, or that are no part of what would run.
const IN_WORDS: [&str; 9] = [
    "action",
    "actor",
    "arguments",
    "environment",
    "idempotency_key",
    "surface",
    "target",
    "trace_id",
    "workspace",
];

/// What the caller says of the action, each on one safe line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The run it belongs to.
    pub run: Option<String>,
    /// The phase or step of it.
    pub phase: Option<String>,
    /// How risky it is.
    pub risk: Option<Risk>,
    /// What changes.
    pub changes: Vec<String>,
    /// What it is done to.
    pub target: Option<String>,
    /// The arguments.
    pub arguments: Vec<Member>,
    /// Everything else that was asked: the change, capability, branch, model, topic, context and the like.
    pub others: Vec<Member>,
    /// A text above that had to be cut: its reader has not seen what would run.
    pub cut: bool,
    /// On whose behalf, outermost first.
    pub on_behalf_of: Vec<String>,
}

impl Said {
    /// From the request as it was held.
    #[must_use]
    pub fn of(request: &Object) -> Self {
        let arguments = request.get("arguments");
        let inner = |name: &str| arguments.and_then(|it| it.get(name));
        // Where the compatible calls put what they are told, then where a request says it itself.
        let stated: Vec<&Value> = [
            inner("decision_info"),
            inner("deletion_info"),
            request.get("change"),
            arguments,
            request.get("context"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let find = |name: &str| stated.iter().find_map(|it| it.get(name));
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(line);
        let word = find("risk_level").or_else(|| find("risk")).and_then(Value::as_str);
        let score = find("risk_score").or_else(|| find("score")).and_then(Value::as_u64);
        let chain = request.get("on_behalf_of").and_then(Value::as_array).unwrap_or_default();
        let others = request.iter().filter(|(name, _)| !IN_WORDS.contains(name));
        let others = others.fold(Object::new(), |all, (name, value)| all.with(name, value.clone()));
        Self {
            run: text(inner("run_id")).or_else(|| text(request.get("execution"))),
            phase: text(inner("phase_id")).or_else(|| text(request.get("step"))),
            risk: Risk::of(score, word),
            changes: changes(&find),
            target: text(request.get("target")),
            arguments: arguments.map(members).unwrap_or_default(),
            cut: request.get("target").and_then(Value::as_str).is_some_and(|it| !is_whole(it)),
            others: if others.is_empty() { Vec::new() } else { members(&Value::Object(others)) },
            on_behalf_of: chain.iter().filter_map(Value::as_str).map(line).collect(),
        }
    }
}

/// `• Modified: src/main.py (+150 lines)` and what else is said of the change.
fn changes<'v>(find: &dyn Fn(&str) -> Option<&'v Value>) -> Vec<String> {
    let mut out = Vec::new();
    let files = find("files").or_else(|| find("changes")).and_then(Value::as_array);
    let files = files.unwrap_or_default();
    for file in files.iter().take(CHANGES_MAX) {
        let name = file.as_str().or_else(|| file.get("path").and_then(Value::as_str));
        let Some(name) = name.map(line) else { continue };
        let status = file.get("status").or_else(|| file.get("kind")).and_then(Value::as_str);
        let verb = match status {
            Some("added" | "created" | "new") => "Added",
            Some("deleted" | "removed") => "Deleted",
            Some("renamed") => "Renamed",
            Some("copied") => "Copied",
            _ => "Modified",
        };
        let count = |names: [&str; 2]| names.iter().find_map(|name| file.get(name)?.as_u64());
        let added = count(["added", "additions"]).filter(|n| *n > 0).map(|n| format!("+{n}"));
        let deleted = count(["deleted", "deletions"]).filter(|n| *n > 0).map(|n| format!("-{n}"));
        let sizes: Vec<String> = added.into_iter().chain(deleted).collect();
        let sizes =
            if sizes.is_empty() { String::new() } else { format!(" ({} lines)", sizes.join(" ")) };
        out.push(format!("{verb}: {name}{sizes}"));
    }
    if let Some(more) = files.len().checked_sub(CHANGES_MAX).filter(|more| *more > 0) {
        out.push(format!("and {more} more, listed below"));
    }
    if let Some(net) = find("net_deletion").and_then(Value::as_u64) {
        out.push(format!("Net Deletion: {net} lines"));
    }
    out
}

/// An approval as it stands now.
#[derive(Clone, Debug)]
pub struct Brief {
    /// Which.
    pub approval: ApprovalId,
    /// Its workspace.
    pub workspace: String,
    /// Where it stands: `pending`, `approved`, `consumed`, `rejected`, `expired`, `invalidated`,
    /// `withdrawn`.
    pub state: &'static str,
    /// Surface.
    pub surface: String,
    /// Action.
    pub action: String,
    /// Environment.
    pub environment: String,
    /// Who asked, as authentication verified it.
    pub asked_by: String,
    /// On whose behalf, outermost first, as authentication verified it.
    pub chain: Vec<String>,
    /// What the caller says; `None` once the payload is erased.
    pub said: Option<Said>,
    /// Texts of the rules that ask for it.
    pub reasons: Vec<String>,
    /// People per role.
    pub roles: BTreeMap<String, u32>,
    /// People still missing per role.
    pub missing: BTreeMap<String, u32>,
    /// Who approved so far.
    pub votes: Vec<Vote>,
    /// Who rejected it.
    pub rejected_by: Option<String>,
    /// Undecided, it expires then.
    pub expires: TimeMs,
    /// What a permit will be bound to beside the action.
    pub constraints: Vec<Member>,
    /// Digests of request and action; `None` once the payload is erased.
    pub digests: Option<(Digest, Digest)>,
    /// Digest of what is demanded.
    pub requirement: Digest,
}

impl Brief {
    /// Whether people are waited for.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state == "pending"
    }

    /// Whether nothing about it changes any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self.state, "pending" | "approved")
    }

    /// What buttons are bound to; there are none once the payload is erased.
    #[must_use]
    pub fn bound<'a>(&self, channel: &'a str) -> Option<crate::Bound<'a>> {
        let (request, action) = self.digests?;
        Some(crate::Bound {
            channel,
            approval: self.approval,
            request,
            action,
            requirement: self.requirement,
        })
    }

    /// `⚠️ Placet Approval Needed`, and what became of it.
    pub(crate) fn title(&self) -> &'static str {
        match self.state {
            "pending" => "⚠️ Placet Approval Needed",
            "approved" => "✅ Approved",
            "consumed" => "✅ Approved and used",
            "rejected" => "❌ Rejected",
            "expired" => "⌛ Expired",
            "withdrawn" => "↩️ Withdrawn",
            _ => "🚫 No longer granted by policy",
        }
    }

    /// Run, phase, risk and changes.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut out = Vec::new();
        let Some(said) = &self.said else {
            out.push("The request was erased: what it asked for can no longer be shown.".into());
            return out;
        };
        out.extend(said.run.iter().map(|run| format!("Run: {run}")));
        out.extend(said.phase.iter().map(|phase| format!("Phase: {phase}")));
        out.extend(said.risk.iter().map(|risk| {
            let score = risk.score.map(|score| format!(" (score: {score}/100)"));
            format!("Risk: {} {}{}", risk.sign(), risk.level, score.unwrap_or_default())
        }));
        let reasons = self.reasons.iter().map(|text| format!("• Risk: {}", line(text)));
        let changes: Vec<String> = said.changes.iter().map(|text| format!("• {text}")).collect();
        // Files first, then why, then what is lost: the order of the message that people know.
        let (files, rest): (Vec<String>, Vec<String>) =
            changes.into_iter().partition(|text| !text.starts_with("• Net Deletion"));
        let listed: Vec<String> = files.into_iter().chain(reasons).chain(rest).collect();
        if !listed.is_empty() {
            out.extend([String::new(), "Changes:".to_owned()]);
            out.extend(listed);
        }
        out
    }

    /// What was verified, and what is waited for.
    pub(crate) fn facts(&self) -> Vec<String> {
        let mut out = Vec::new();
        let said = self.said.as_ref();
        let target = said.and_then(|it| it.target.as_ref()).map(|it| format!(" on {it}"));
        let (surface, action) = (line(&self.surface), line(&self.action));
        let environment = line(&self.environment);
        out.push(format!(
            "Action: {surface} / {action}{} ({environment})",
            target.unwrap_or_default()
        ));
        let verified: Vec<String> = self.chain.iter().map(|it| line(it)).collect();
        let stated = said.map(|it| it.on_behalf_of.join(", ")).filter(|it| !it.is_empty());
        let chain = if verified.is_empty() {
            stated.map(|it| format!(" for {it} (as stated)"))
        } else {
            Some(format!(" for {} (verified)", verified.join(", ")))
        };
        out.push(format!("Asked by: {}{}", line(&self.asked_by), chain.unwrap_or_default()));
        for vote in &self.votes {
            out.push(format!("Approved by: {} ({})", line(&vote.by), vote.roles.join(", ")));
        }
        out.extend(self.rejected_by.iter().map(|by| format!("Rejected by: {}", line(by))));
        if self.is_pending() {
            let needs: Vec<String> =
                self.missing.iter().map(|(role, count)| format!("{role} ×{count}")).collect();
            out.push(format!("Needs: {}", needs.join(", ")));
            out.push(format!("Expires: {}", self.expires.rfc3339()));
        }
        if let Some((_, action)) = self.digests {
            out.push(format!("Digest: {action}"));
        }
        out.push(format!("Approval: {}", self.approval));
        out
    }

    /// Everything that was asked, a value each, under a heading each; and the constraints.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (&'static str, &[Member])> {
        let said = self.said.as_ref();
        let arguments = said.map(|it| it.arguments.as_slice()).unwrap_or_default();
        let others = said.map(|it| it.others.as_slice()).unwrap_or_default();
        let lists = [
            ("Arguments:", arguments),
            ("Also asked:", others),
            ("Constraints:", self.constraints.as_slice()),
        ];
        lists.into_iter().filter(|(_, members)| !members.is_empty())
    }

    /// What nobody has verified.
    pub(crate) fn caveat(&self) -> Option<String> {
        let said = self.said.as_ref()?;
        let stated = said.run.is_some() || said.phase.is_some() || said.risk.is_some();
        let whose = line(&self.asked_by);
        (stated || !said.changes.is_empty())
            .then(|| format!("Run, phase, risk and files are what {whose} states; not verified."))
    }
}
