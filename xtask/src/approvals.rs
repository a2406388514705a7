//! Held actions of the crash test: approved, rejected and collected under load, and looked at after each kill.
//! Owns what was acknowledged of each and what may have become of it; knows neither processes nor rounds.

use crate::http::{Client, Response};
use crate::ledger::{Answer, Permit};
use crate::load::{body, nonce};
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What was acknowledged of a held action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It waits.
    Pending,
    /// People let it pass.
    Approved,
    /// Somebody refused it.
    Rejected,
    /// Its permit was collected: the permit's id.
    Consumed(String),
}

impl Told {
    fn state(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Consumed(_) => "consumed",
        }
    }
}

/// Whether a held action with this number is ever collected.
pub(crate) fn collects(serial: u64) -> bool {
    serial / 4 % 4 == 3
}

/// What is done to a held action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Approve,
    Reject,
    Collect,
}

impl Step {
    /// The state that it leads to.
    const fn leads_to(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
            Self::Collect => "consumed",
        }
    }
}

/// A held action and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// Number of its request.
    serial: u64,
    approval: String,
    action: String,
    told: Told,
    /// Asked for, and not answered: it happened, or it did not.
    open: Option<Step>,
}

impl Course {
    /// The action that an answer says is held.
    ///
    /// # Errors
    /// When the answer lacks what a vote needs.
    pub(crate) fn of(serial: u64, answer: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(answer)?;
        let text = |pointer: &str| {
            let text = value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            text.with_context(|| format!("a held action without {pointer}: {value}"))
        };
        let (approval, action) = (text("/approval/id")?, text("/action_digest")?);
        Ok(Self { serial, approval, action, told: Told::Pending, open: None })
    }

    /// Number of its request.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Id of its approval.
    pub(crate) fn approval(&self) -> &str {
        &self.approval
    }

    /// The permit that was collected.
    pub(crate) fn permit(&self) -> Option<&str> {
        match &self.told {
            Told::Consumed(permit) => Some(permit),
            _ => None,
        }
    }

    /// What comes next: one in four is left to wait, one rejected, one approved, one approved and collected.
    fn next(&self) -> Option<Step> {
        match (self.serial / 4 % 4, &self.told) {
            (1, Told::Pending) => Some(Step::Reject),
            (2 | 3, Told::Pending) => Some(Step::Approve),
            (_, Told::Approved) if collects(self.serial) => Some(Step::Collect),
            _ => None,
        }
    }

    /// Goes as far as it is to go; false where the connection failed.
    ///
    /// # Errors
    /// An answer that should not be.
    pub(crate) fn go(&mut self, client: &mut Client, seed: u64) -> Result<bool> {
        while let Some(step) = self.next() {
            self.open = Some(step);
            let response = match step {
                Step::Approve => self.vote(client, "approve"),
                Step::Reject => self.vote(client, "reject"),
                Step::Collect => self.ask(client, seed, &nonce(seed, self.serial)),
            };
            let Ok(response) = response else { return Ok(false) };
            match response.status {
                200 => self.told = self.after(step, &response)?,
                // Refused before the log.
                429 | 503 => {
                    self.open = None;
                    return Ok(true);
                }
                status => {
                    bail!("{}: {step:?} is answered {status}: {}", self.approval, response.text())
                }
            }
            self.open = None;
        }
        Ok(true)
    }

    fn after(&self, step: Step, response: &Response) -> Result<Told> {
        if step == Step::Collect {
            return match Answer::parse(&response.body)?.permit {
                Permit::Granted(permit) => Ok(Told::Consumed(permit)),
                other => bail!("{}: its own nonce collected {other:?}", self.approval),
            };
        }
        let state = state_of(&response.body)?;
        match (step, state.as_str()) {
            (Step::Approve, "approved") => Ok(Told::Approved),
            (Step::Reject, "rejected") => Ok(Told::Rejected),
            _ => bail!("{}: after {step:?} it is {state}", self.approval),
        }
    }

    fn vote(&self, client: &mut Client, verb: &str) -> std::io::Result<Response> {
        let path = format!("/api/v1/approvals/{}/{verb}", self.approval);
        let body = format!("{{\"action_digest\":\"{}\"}}", self.action);
        client.request("POST", &path, Some(&body))
    }

    /// The same request again collects, with the nonce of its first attempt.
    fn ask(&self, client: &mut Client, seed: u64, nonce: &str) -> std::io::Result<Response> {
        client.request("POST", "/api/v1/decisions", Some(&body(seed, self.serial, nonce)))
    }

    /// Whether a state is one that it can be in after what was acknowledged and what was not.
    fn admits(&self, state: &str) -> bool {
        state == self.told.state() || self.open.is_some_and(|step| state == step.leads_to())
    }

    /// Looks at it after a restart: not lost, not flipped, and, while its permit lives, not given to a second
    /// attempt. What was asked for and not answered is gone on with.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&mut self, client: &mut Client, seed: u64, lives: bool) -> Result<()> {
        let path = format!("/api/v1/approvals/{}", self.approval);
        let response = client.request("GET", &path, None)?;
        if response.status != 200 {
            bail!("{} is lost: {}", self.approval, response.text());
        }
        let state = state_of(&response.body)?;
        if !self.admits(&state) {
            let (told, open) = (&self.told, &self.open);
            bail!("{}: {told:?} with {open:?} under way became {state}", self.approval);
        }
        if state == "consumed" && lives {
            self.check_consumed(client, seed)?;
        } else if state == "approved" {
            self.told = Told::Approved;
        } else if state == "rejected" {
            self.told = Told::Rejected;
        }
        self.open = None;
        self.check_final(client, &state)?;
        match self.go(client, seed)? {
            true => Ok(()),
            false => bail!("{}: the server does not answer", self.approval),
        }
    }

    /// One attempt has the permit, and it is the one that was told so.
    fn check_consumed(&mut self, client: &mut Client, seed: u64) -> Result<()> {
        let other = self.ask(client, seed, "another-attempt-at-it")?;
        let other = Answer::parse(&other.body).with_context(|| other.text())?.permit;
        if other != Permit::Withheld("consumed".to_owned()) {
            bail!("{}: another nonce was answered {other:?}", self.approval);
        }
        let own = self.ask(client, seed, &nonce(seed, self.serial))?;
        match (Answer::parse(&own.body).with_context(|| own.text())?.permit, self.permit()) {
            (Permit::Granted(now), Some(before)) if now != before => {
                bail!("{}: permit {before} became {now}", self.approval)
            }
            (Permit::Granted(now), _) => self.told = Told::Consumed(now),
            (other, _) => bail!("{}: its own nonce was answered {other:?}", self.approval),
        }
        Ok(())
    }

    /// What is decided is not decided the other way.
    fn check_final(&self, client: &mut Client, state: &str) -> Result<()> {
        let verb = match state {
            "rejected" => "approve",
            "approved" | "consumed" => "reject",
            _ => return Ok(()),
        };
        let refused = self.vote(client, verb)?;
        if refused.status != 409 {
            bail!("{} is {state}, and to {verb} is answered {}", self.approval, refused.text());
        }
        Ok(())
    }
}

fn state_of(body: &[u8]) -> Result<String> {
    let value: Value = serde_json::from_slice(body).context("the answer is no JSON")?;
    let state = value["state"].as_str().map(str::to_owned);
    state.with_context(|| format!("an approval without a state: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(serial: u64, told: Told, open: Option<Step>) -> Course {
        Course { serial, approval: "apr_1".into(), action: "sha256:00".into(), told, open }
    }

    #[test]
    fn what_was_acknowledged_stays_and_what_was_not_may_be_either() {
        let rows = [
            (Told::Pending, None, "pending"),
            (Told::Pending, Some(Step::Approve), "pending approved"),
            (Told::Pending, Some(Step::Reject), "pending rejected"),
            (Told::Approved, None, "approved"),
            (Told::Approved, Some(Step::Collect), "approved consumed"),
            (Told::Rejected, None, "rejected"),
            (Told::Consumed("pmt_1".into()), None, "consumed"),
        ];
        for (told, open, may_be) in rows {
            let course = course(0, told, open);
            let all = ["pending", "approved", "rejected", "consumed", "expired", "invalidated"];
            let admitted: Vec<&str> = all.into_iter().filter(|it| course.admits(it)).collect();
            assert_eq!(admitted.join(" "), may_be, "{course:?}");
        }
    }

    #[test]
    fn every_course_is_taken() {
        let mut seen = std::collections::BTreeSet::new();
        for serial in 0..16 {
            let of = |told| course(serial, told, None).next().map(Step::leads_to);
            seen.insert((of(Told::Pending), of(Told::Approved), of(Told::Rejected)));
        }
        let expected = [
            (None, None, None),
            (Some("approved"), None, None),
            (Some("approved"), Some("consumed"), None),
            (Some("rejected"), None, None),
        ];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_held_action_is_read_from_its_answer() {
        let answer = br#"{"approval":{"id":"apr_7"},"action_digest":"sha256:11"}"#;
        let read = Course::of(7, answer).unwrap();
        assert_eq!((read.approval.as_str(), read.action.as_str()), ("apr_7", "sha256:11"));
        assert!(Course::of(7, br#"{"approval":null}"#).is_err());
    }
}
