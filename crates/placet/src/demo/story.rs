//! The story: what is asked over HTTP, by whom, and what has to be answered. Owns the expectations;
//! measures each answer as its client sees it.

use super::world::World;
use super::{Step, Teller, deviation};
use crate::client::{Client, Reply};
use crate::output;
use anyhow::Result;
use hyper::Method;
use placet_runtime::crypto::Fast;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{self, Limits};
use placet_types::{Caller, Request};
use serde_json::{Value, json};
use std::time::Instant;

macro_rules! request {
    ($example:literal, $name:literal) => {
        include_str!(concat!("../../../../examples/", $example, "/requests/", $name, ".json"))
    };
}

/// The story so far.
pub(super) struct Story<'w> {
    world: &'w World,
    teller: Teller,
    pub(super) steps: Vec<Step>,
    /// Ids and outcomes of all decisions, for their receipts.
    pub(super) decided: Vec<(String, String)>,
}

/// What must come of a request.
struct Want {
    outcome: &'static str,
    rule: &'static str,
}

const fn want(outcome: &'static str, rule: &'static str) -> Want {
    Want { outcome, rule }
}

impl<'w> Story<'w> {
    pub(super) fn new(world: &'w World, teller: Teller) -> Self {
        Self { world, teller, steps: Vec::new(), decided: Vec::new() }
    }

    /// Reads, small refunds, a lost answer, an export, a destructive call, an unknown surface.
    pub(super) async fn bank(&mut self) -> Result<()> {
        let world = self.world;
        self.teller.part("A support agent of a small bank asks");
        let read = request!("bank", "read-account");
        self.decide(&world.support, "read an account", read, want("PERMIT", "bank.read-account"))
            .await?;
        let small = request!("bank", "refund-small");
        let granted = want("PERMIT", "bank.refund-small");
        let first = self.decide(&world.support, "refund 42.00", small, granted).await?;
        check(first["permit"]["state"] == "granted", "the permit is granted", &first)?;
        let bound = &first["constraints"]["arguments"]["/amount_cents"]["max"];
        check(*bound == json!(5000), "the permit bounds the amount", &first)?;
        self.lost_answer(small, &first).await?;
        let export = request!("bank", "export");
        let masked = want("PERMIT", "bank.export-masked");
        let export = self.decide(&world.support, "export customers", export, masked).await?;
        check(
            export["constraints"]["redaction"] == "personal",
            "personal data is masked",
            &export,
        )?;
        let delete = request!("bank", "delete-account");
        self.decide(&world.support, "delete an account", delete, want("DENY", "bank.never-delete"))
            .await?;
        let unknown = request!("bank", "unknown-surface");
        self.decide(&world.support, "make it rain", unknown, want("SILENCE", "")).await?;
        Ok(())
    }

    /// The same attempt may ask again and gets the same permit; another attempt does not.
    async fn lost_answer(&mut self, small: &str, first: &Value) -> Result<()> {
        let world = self.world;
        let again = want("PERMIT", "bank.refund-small");
        let label = "refund 42.00, answer lost, asked again";
        let repeat = self.decide(&world.support, label, small, again).await?;
        let same = repeat["id"] == first["id"] && repeat["permit"]["id"] == first["permit"]["id"];
        check(same && repeat["replayed"] == true, "the same decision and permit", &repeat)?;
        let mut other: Value = serde_json::from_str(small)?;
        other["attempt_nonce"] = "attempt-2-of-refund-1001".into();
        let again = want("PERMIT", "bank.refund-small");
        let label = "refund 42.00 by another attempt (permit consumed)";
        let other = self.decide(&world.support, label, &other.to_string(), again).await?;
        check(other["permit"]["state"] == "consumed", "the permit is consumed", &other)?;
        let path = format!("/api/v1/decisions/{}/outcome", text(first, "id"));
        let reported = world.support.post(&path, &json!({"result": "succeeded"})).await?;
        check(reported["reported"] == true, "the outcome is reported", &reported)
    }

    /// A held refund: attempts to cheat, the approval, the permit, other bytes.
    pub(super) async fn approval(&mut self) -> Result<()> {
        let world = self.world;
        self.teller
            .part("A refund above the limit is held until a second person approves those bytes");
        let large = request!("bank", "refund-large");
        let held = want("REQUIRE_APPROVAL", "bank.refund-large");
        let held = self.decide(&world.support, "refund 1250.00", large, held).await?;
        let (decision, approval) = (text(&held, "id"), text(&held["approval"], "id"));
        let digest = text(&held, "action_digest");
        let vote = format!("/api/v1/approvals/{approval}/approve");
        let echo = json!({"action_digest": digest});
        self.refused(&world.support, "approve it as the agent", &vote, &echo, "not_human").await?;
        let own = request!("bank", "refund-by-bob");
        let mine = want("REQUIRE_APPROVAL", "bank.refund-large");
        let own = self.decide(&world.bob, "refund 9000.00, asked by bob", own, mine).await?;
        let own_vote = format!("/api/v1/approvals/{}/approve", text(&own["approval"], "id"));
        let own_echo = json!({"action_digest": text(&own, "action_digest")});
        self.refused(&world.bob, "bob approves his own", &own_vote, &own_echo, "own_approval")
            .await?;
        let altered = request!("bank", "refund-altered");
        let other = digest_of(altered)?;
        let stale = json!({"action_digest": other});
        self.refused(&world.bob, "approve other bytes", &vote, &stale, "stale_approval_digest")
            .await?;

        let path = format!("/api/v1/decisions/{decision}?wait=25s");
        let (support, nonce) =
            (world.support.clone(), text(&serde_json::from_str(large)?, "attempt_nonce"));
        let waiting = tokio::spawn(async move {
            let start = Instant::now();
            let headers = [("Placet-Attempt-Nonce", nonce.as_str())];
            let reply = support.expect(Method::GET, &path, &headers, None).await?;
            Ok::<_, anyhow::Error>((reply.json()?, milliseconds(start)))
        });
        let start = Instant::now();
        let voted = world.bob.post(&vote, &echo).await?;
        self.step("bob approves with the digest", "approved", milliseconds(start));
        let state = text(&voted, "state");
        check(state == "approved" || state == "consumed", "it is approved", &voted)?;
        let (collected, latency) = waiting.await??;
        check(
            collected["permit"]["state"] == "granted",
            "the waiting agent has its permit",
            &collected,
        )?;
        self.record("the waiting agent collects", &collected, latency);
        check(
            digest_of(large)? == text(&collected, "action_digest"),
            "the digest is that of the bytes",
            &collected,
        )?;
        self.teller.say(&format!(
            "approved {}…, asked to execute {}…: other bytes, no permit",
            short(&digest),
            short(&other)
        ));
        let body: Value = serde_json::from_str(altered)?;
        let path = "/api/v1/decisions";
        self.refused(&world.support, "execute other bytes", path, &body, "idempotency_conflict")
            .await?;
        let path = format!("/api/v1/decisions/{decision}/outcome");
        let reported = world.support.post(&path, &json!({"result": "succeeded"})).await?;
        check(reported["reported"] == true, "the outcome is reported", &reported)
    }

    /// A permit for another gate: it alone consumes it, and once.
    pub(super) async fn ledger(&mut self) -> Result<()> {
        let world = self.world;
        self.teller.part("A permit for another gate is consumed by it, once");
        let payout = request!("bank", "payout");
        let open = self
            .decide(
                &world.support,
                "pay out 9.00 by the ledger",
                payout,
                want("PERMIT", "bank.payout"),
            )
            .await?;
        check(open["permit"]["state"] == "open", "the permit waits for the ledger", &open)?;
        let path = format!("/api/v1/decisions/{}/consume", text(&open, "id"));
        let nonce =
            |name: &str| json!({"attempt_nonce": format!("ledger-attempt-{name}-of-payout-1")});
        self.refused(&world.coder, "consume it as the coder", &path, &nonce("x"), "foreign")
            .await?;
        let start = Instant::now();
        let consumed = world.ledger.post(&path, &nonce("1")).await?;
        check(consumed["permit"]["state"] == "granted", "the ledger has it", &consumed)?;
        self.step("the ledger consumes it", "consumed", milliseconds(start));
        self.refused(&world.ledger, "consume it twice", &path, &nonce("2"), "permit_consumed").await
    }

    /// A coding agent: constrained, denied by the floor.
    pub(super) async fn coder(&mut self) -> Result<()> {
        let world = self.world;
        self.teller.part("A coding agent asks");
        let tests = request!("coding-agent", "run-tests");
        let tests = self
            .decide(&world.coder, "run the tests", tests, want("PERMIT", "code.run-tests"))
            .await?;
        check(tests["constraints"]["max_runtime_sec"] == json!(600), "it is bounded", &tests)?;
        let push = request!("coding-agent", "force-push");
        self.decide(&world.coder, "force-push main", push, want("DENY", "code.never-rewrite"))
            .await?;
        let drop = request!("coding-agent", "drop-table");
        self.decide(&world.coder, "drop a table", drop, want("DENY", "code.never-drop")).await?;
        Ok(())
    }

    /// Three messages pass, the fourth has to wait.
    pub(super) async fn limits(&mut self) -> Result<()> {
        let world = self.world;
        self.teller.part("A burst is slowed");
        for number in 1..=4 {
            let mut message: Value = serde_json::from_str(request!("bank", "message"))?;
            message["idempotency_key"] = format!("message-{number}").into();
            let wanted = if number < 4 {
                want("PERMIT", "bank.message")
            } else {
                want("THROTTLE", "bank.message-burst")
            };
            let label = format!("message {number} within a minute");
            let answer = self.decide(&world.support, &label, &message.to_string(), wanted).await?;
            let wait = answer["retry_after_ms"].as_u64();
            check((number == 4) == wait.is_some(), "only the fourth has to wait", &answer)?;
        }
        Ok(())
    }

    /// Kill, and lift by two people.
    pub(super) async fn stop_everything(&mut self) -> Result<()> {
        let world = self.world;
        self.teller.part("Ann stops it all; two people lift it");
        let scope = json!({"scope": "workspace"});
        let start = Instant::now();
        let killed = world.ann.post("/api/v1/kill", &scope).await?;
        check(!killed["workspace"].is_null(), "the workspace is killed", &killed)?;
        self.step("ann kills", "killed", milliseconds(start));
        let read = |number: u32| -> Result<String> {
            let mut body: Value = serde_json::from_str(request!("bank", "read-account"))?;
            body["idempotency_key"] = format!("read-4711-{number}").into();
            Ok(body.to_string())
        };
        let denied =
            self.decide(&world.support, "read an account", &read(2)?, want("DENY", "")).await?;
        let reason = denied["reasons"][0]["code"].as_str();
        check(reason == Some("killed_workspace"), "the kill is the reason", &denied)?;
        for (who, client, lifted) in [("ann", &world.ann, false), ("bob", &world.bob, true)] {
            let start = Instant::now();
            let state = client.post("/api/v1/lift", &scope).await?;
            check(state["lifted"] == json!(lifted), "it takes two people", &state)?;
            let outcome = if lifted { "lifted" } else { "lift_requested" };
            self.step(&format!("{who} lifts"), outcome, milliseconds(start));
        }
        self.decide(
            &world.support,
            "read an account",
            &read(3)?,
            want("PERMIT", "bank.read-account"),
        )
        .await?;
        Ok(())
    }

    /// Asks for a decision and insists on what is wanted.
    async fn decide(
        &mut self,
        who: &Client,
        action: &str,
        body: &str,
        want: Want,
    ) -> Result<Value> {
        let start = Instant::now();
        let bytes = body.trim().as_bytes().to_vec();
        let reply = who.send_bytes(Method::POST, "/api/v1/decisions", &[], true, bytes).await?;
        let latency = milliseconds(start);
        if !reply.is_success() {
            return Err(deviation(format!(
                "{action}: {} instead of {}",
                reply.text(),
                want.outcome
            )));
        }
        let answer = reply.json()?;
        let rules = answer["rules"].as_array().cloned().unwrap_or_default();
        let ruled = match want.rule {
            "" => rules.is_empty(),
            rule => rules == [json!(rule)],
        };
        check(
            answer["outcome"] == want.outcome && ruled,
            &format!("{action} is {} by {}", want.outcome, want.rule),
            &answer,
        )?;
        check(answer["log"]["index"].is_u64(), "the answer names its log entry", &answer)?;
        self.record(action, &answer, latency);
        Ok(answer)
    }

    fn record(&mut self, action: &str, answer: &Value, latency_ms: f64) {
        let outcome = text(answer, "outcome");
        let rules: Vec<String> = answer["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|rule| rule.as_str().map(str::to_owned))
            .collect();
        let reason = answer["reasons"][0]["text"].as_str().unwrap_or_default();
        self.teller.say(&format!("{action:<46} {}  {reason}", output::outcome(&outcome)));
        let id = text(answer, "id");
        if !self.decided.iter().any(|(known, _)| *known == id) {
            self.decided.push((id, outcome.clone()));
        }
        let index = answer["log"]["index"].as_u64();
        self.steps.push(Step { action: action.to_owned(), outcome, rules, latency_ms, index });
    }

    /// A step that is no decision.
    fn step(&mut self, action: &str, outcome: &str, latency_ms: f64) {
        self.teller.say(&format!("{action:<46} {outcome}"));
        let (action, outcome) = (action.to_owned(), outcome.to_owned());
        self.steps.push(Step { action, outcome, rules: Vec::new(), latency_ms, index: None });
    }

    /// Tries what must be refused, with the code that says why.
    async fn refused(
        &mut self,
        who: &Client,
        action: &str,
        path: &str,
        body: &Value,
        code: &str,
    ) -> Result<()> {
        let start = Instant::now();
        let reply: Reply = who.send(Method::POST, path, &[], Some(body)).await?;
        let latency = milliseconds(start);
        if reply.is_success() || reply.problem().as_deref() != Some(code) {
            return Err(deviation(format!("{action}: {} instead of {code}", reply.text())));
        }
        self.step(action, code, latency);
        Ok(())
    }
}

fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn check(holds: bool, what: &str, answer: &Value) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(deviation(format!("expected that {what}; the answer is {answer}")))
    }
}

fn short(digest: &str) -> &str {
    digest.get(..15).unwrap_or(digest)
}

/// The action digest of a request of the support agent, computed here and not by the server.
fn digest_of(request: &str) -> Result<String> {
    let malformed = || deviation("an example is no request");
    let caller = Caller {
        workspace: WorkspaceName::parse("demo").ok_or_else(malformed)?,
        environment: "production".to_owned(),
        actor: ActorId::parse("agent:support").ok_or_else(malformed)?,
        roles: ["support".to_owned()].into(),
        chain: Vec::new(),
    };
    let body = json::parse(request.trim().as_bytes(), Limits::REQUEST).map_err(|_| malformed())?;
    let request = Request::read(body, &caller).map_err(|_| malformed())?;
    Ok(request.digests::<Fast>(&caller).action.to_string())
}
