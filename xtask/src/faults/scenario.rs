//! The life that a server leads while one of its calls fails, what it acknowledged meanwhile, and
//! what must be there after a restart. Owns requests and expectations; knows no fault.

use crate::http::{Client, Response};
use crate::ledger::{Acked, Answer, Ledger, Permit, same};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rules: what is permitted, what waits for a person, what is denied.
pub(crate) const BUNDLE: &str = r#"version: v1
rules:
  - id: allow-read
    match: { surfaces: ["fault.read"] }
    decision: allow
  - id: hold-write
    match: { surfaces: ["fault.write"] }
    decision: require_approval
    reason: "Writes wait for a person"
  - id: deny-destroy
    match: { surfaces: ["fault.destroy"] }
    decision: deny
    reason: "Nothing is destroyed here"
"#;

/// Longer than the server waits between two high-water marks.
const MARKED: Duration = Duration::from_millis(1100);
/// How long the read model may take to catch up.
const CAUGHT_UP: Duration = Duration::from_secs(10);

/// What the server was asked and what it acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Told {
    ledger: Ledger,
    /// Requests that were sent and not answered by a decision.
    open: BTreeSet<u64>,
    /// Receipts, by decision.
    receipts: BTreeMap<String, String>,
    /// Decisions whose payload was to be erased, and whether that was acknowledged.
    erased: BTreeMap<String, bool>,
    /// Of what is listed elsewhere: path, member, and value of the member.
    listed: BTreeSet<(&'static str, &'static str, String)>,
    /// The kill switch of everything was tripped, acknowledged, and no lift was asked for.
    killed: bool,
    /// It was asked for at least: from then on permits handed out before are revoked.
    tripped: bool,
    next: u64,
}

/// How a call ended.
enum Answered {
    Yes(Value),
    /// Refused, which the fault explains.
    No,
    /// The connection broke: the server is gone.
    Gone,
}

/// One life: calls against a server, under a rule about what may be answered when.
pub(crate) struct Life<'a> {
    pub(crate) client: Client,
    pub(crate) told: &'a mut Told,
    /// Appears at the fault.
    pub(crate) hit: &'a Path,
    /// After the fault nothing may be acknowledged.
    pub(crate) silent: bool,
    /// The fault may end the process.
    pub(crate) mortal: bool,
}

/// Ends a life whose server is gone; that is no error where the fault kills.
struct Over;

type Step<T> = Result<std::result::Result<T, Over>>;

impl Life<'_> {
    /// Everything, once. `long` waits until a high-water mark has been written meanwhile.
    ///
    /// # Errors
    /// What must not be answered.
    pub(crate) fn whole(mut self, long: bool) -> Result<()> {
        self.all(long).map(drop)
    }

    /// A few decisions.
    ///
    /// # Errors
    /// What must not be answered.
    pub(crate) fn short(mut self) -> Result<()> {
        self.reads(8).map(drop)
    }

    fn all(&mut self, long: bool) -> Step<()> {
        macro_rules! go {
            ($step:expr) => {
                match $step? {
                    Ok(value) => value,
                    Err(over) => return Ok(Err(over)),
                }
            };
        }
        go!(self.reads(6));
        let first = self.told.ledger.all().first().map(|acked| acked.answer.id.clone());
        // Held, approved, collected.
        let serial = self.serial();
        if let Some(held) = go!(self.decide(serial, "fault.write")) {
            let approval = held["approval"]["id"].as_str().unwrap_or_default().to_owned();
            go!(self.post(&format!("/api/v1/approvals/{approval}/approve"), &json!({})));
            let body = body(serial, "fault.write", &nonce(serial));
            // The first answer stands in the ledger; this one adds the permit.
            go!(self.post("/api/v1/decisions", &serde_json::from_str(&body)?));
        }
        // Held and rejected.
        let serial = self.serial();
        if let Some(held) = go!(self.decide(serial, "fault.write")) {
            let approval = held["approval"]["id"].as_str().unwrap_or_default().to_owned();
            go!(self.post(&format!("/api/v1/approvals/{approval}/reject"), &json!({})));
        }
        for surface in ["fault.destroy", "fault.unknown"] {
            let serial = self.serial();
            go!(self.decide(serial, surface));
        }
        if let Some(id) = &first {
            go!(self.post(&format!("/api/v1/decisions/{id}/outcome"), &json!({"result": "failed"})));
            self.told.erased.insert(id.clone(), false);
            let body = json!({"decision": id, "idempotency_key": "erase-first"});
            if go!(self.post("/api/v1/audit/erase", &body)).is_some() {
                self.told.erased.insert(id.clone(), true);
            }
        }
        let hold = json!({"scope": "subject", "subject": "kim", "reason": "litigation"});
        if let Some(made) = go!(self.post("/api/v1/holds", &hold)) {
            self.list("/api/v1/holds", "id", &made);
        }
        let key = json!({"actor": "agent:x", "environment": "production", "roles": [],
            "idempotency_key": "key-1"});
        if let Some(made) = go!(self.post("/api/v1/keys", &key)) {
            self.list("/api/v1/keys", "id", &made);
        }
        let workspace = json!({"name": "second", "admin": "human:ann"});
        if let Some(made) = go!(self.post("/api/v1/workspaces", &workspace)) {
            self.list("/api/v1/workspaces", "name", &made);
        }
        go!(self.reads(6));
        let everything = json!({"scope": "everything"});
        self.told.tripped = true;
        self.told.killed = go!(self.post("/api/v1/kill", &everything)).is_some();
        let serial = self.serial();
        if let Some(denied) = go!(self.decide(serial, "fault.read"))
            && self.told.killed
            && denied["outcome"] != "DENY"
        {
            bail!("decided under a tripped kill switch: {denied}");
        }
        self.told.killed = false;
        go!(self.post("/api/v1/lift", &everything));
        if long {
            std::thread::sleep(MARKED);
        }
        self.reads(6)
    }

    fn reads(&mut self, count: usize) -> Step<()> {
        for _ in 0..count {
            let serial = self.serial();
            if let Err(over) = self.decide(serial, "fault.read")? {
                return Ok(Err(over));
            }
        }
        Ok(Ok(()))
    }

    fn serial(&mut self) -> u64 {
        self.told.next += 1;
        self.told.next
    }

    fn list(&mut self, path: &'static str, member: &'static str, made: &Value) {
        let value = made[member].as_str().unwrap_or_default().to_owned();
        self.told.listed.insert((path, member, value));
    }

    fn decide(&mut self, serial: u64, surface: &str) -> Step<Option<Value>> {
        self.told.open.insert(serial);
        let body = body(serial, surface, &nonce(serial));
        let answered = self.call("POST", "/api/v1/decisions?receipt=inline", Some(&body))?;
        Ok(match answered {
            Answered::Gone => Err(Over),
            Answered::No => Ok(None),
            Answered::Yes(document) => {
                self.told.take(serial, &document)?;
                Ok(Some(document))
            }
        })
    }

    fn post(&mut self, path: &str, body: &Value) -> Step<Option<Value>> {
        Ok(match self.call("POST", path, Some(&body.to_string()))? {
            Answered::Gone => Err(Over),
            Answered::No => Ok(None),
            Answered::Yes(document) => Ok(Some(document)),
        })
    }

    fn call(&mut self, method: &str, path: &str, body: Option<&str>) -> Result<Answered> {
        let failed = self.hit.exists();
        let response = match self.client.request(method, path, body) {
            Ok(response) => response,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                bail!("{method} {path}: no answer at all");
            }
            Err(_) if self.mortal && self.hit.exists() => return Ok(Answered::Gone),
            Err(error) => bail!("{method} {path}: the connection broke: {error}"),
        };
        let now = self.hit.exists();
        match response.status {
            200..300 if failed && self.silent => bail!(
                "{method} {path} was answered {} after the journal had failed: {}",
                response.status,
                response.text()
            ),
            200..300 => Ok(Answered::Yes(document(&response)?)),
            503 if now => Ok(Answered::No),
            // A step before was refused: this one finds nothing to work on.
            400 | 404 | 409 if now => Ok(Answered::No),
            status => bail!("{method} {path}: status {status}: {}", response.text()),
        }
    }
}

impl Told {
    /// Writes down a decision that was acknowledged.
    fn take(&mut self, serial: u64, document: &Value) -> Result<()> {
        let answer = Answer::parse(document.to_string().as_bytes())?;
        if let Some(receipt) = &answer.receipt {
            self.receipts.insert(answer.id.clone(), receipt.clone());
        }
        self.open.remove(&serial);
        self.ledger.add(Acked { serial, answer })
    }

    /// Number of decisions.
    pub(crate) fn decisions(&self) -> usize {
        self.ledger.len()
    }

    /// Lines for `audit verify --roots`.
    pub(crate) fn roots(&self) -> String {
        let line = |(size, root): (&u64, &String)| json!({"size": size, "root": root}).to_string();
        self.ledger.roots().iter().map(|root| line(root) + "\n").collect()
    }

    /// Receipts by decision.
    pub(crate) fn receipts(&self) -> &BTreeMap<String, String> {
        &self.receipts
    }

    /// Everything that must hold after a restart without faults.
    ///
    /// # Errors
    /// The first thing that does not.
    pub(crate) fn check(&mut self, address: &str) -> Result<()> {
        let mut client = Client::new(address);
        let kill = ok(&mut client, "GET", "/api/v1/kill", None)?;
        if self.killed && kill["everything"].is_null() {
            bail!("the kill switch was tripped, acknowledged, and is not tripped now");
        }
        for Acked { serial, answer } in self.ledger.all().to_vec() {
            let path = format!("/api/v1/decisions/{}", answer.id);
            let now = Answer::parse(ok(&mut client, "GET", &path, None)?.to_string().as_bytes())?;
            // One that waited has been decided since; a trip revokes.
            let moved = answer.outcome == "REQUIRE_APPROVAL"
                || self.tripped && now.permit == Permit::Withheld("revoked".to_owned());
            let expected = if moved {
                Answer {
                    outcome: now.outcome.clone(),
                    permit: now.permit.clone(),
                    ..answer.clone()
                }
            } else {
                answer.clone()
            };
            same(&expected, &now).context("an acknowledged decision")?;
            self.check_payload(&mut client, &answer.id)?;
            if let Permit::Granted(permit) = &answer.permit {
                self.check_permit(&mut client, serial, &answer.id, permit)?;
            }
        }
        self.check_search(&mut client)?;
        for (path, member, value) in &self.listed {
            let all = ok(&mut client, "GET", path, None)?.to_string();
            if !all.contains(&format!("\"{member}\":\"{value}\"")) {
                bail!("{path}: {member} {value} was acknowledged and is gone: {all}");
            }
        }
        for serial in std::mem::take(&mut self.open) {
            self.retry(&mut client, serial)?;
        }
        self.next += 1;
        let serial = self.next;
        self.retry(&mut client, serial).context("a new decision")
    }

    /// Everything acknowledged is found by its trace, once the read model has caught up.
    fn check_search(&self, client: &mut Client) -> Result<()> {
        let deadline = Instant::now() + CAUGHT_UP;
        loop {
            let newest = ok(client, "GET", "/api/v1/audit?limit=1", None)?;
            if newest["indexed"] == newest["size"] {
                break;
            }
            if Instant::now() > deadline {
                bail!("the read model does not catch up: {newest}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for Acked { serial, answer } in self.ledger.all() {
            let path = format!("/api/v1/audit?type=decision&trace=fault-{serial}");
            let found = ok(client, "GET", &path, None)?.to_string();
            if !found.contains(&answer.id) {
                bail!("a search for the trace of {} does not find it: {found}", answer.id);
            }
        }
        Ok(())
    }

    /// The payload opens, unless it was to be erased.
    fn check_payload(&self, client: &mut Client, id: &str) -> Result<()> {
        let path = format!("/api/v1/receipts/{id}?payload=true");
        let deadline = Instant::now() + CAUGHT_UP;
        let mut response = client.request("GET", &path, None)?;
        // Right after a start the read model may lag, which is said and passes.
        while response.status == 503 && response.text().contains("\"indexing\"") {
            if Instant::now() > deadline {
                bail!("the read model does not catch up: {}", response.text());
            }
            std::thread::sleep(Duration::from_millis(5));
            response = client.request("GET", &path, None)?;
        }
        let gone = response.status == 409 && response.text().contains("payload_erased");
        match (self.erased.get(id), response.status) {
            (Some(true), _) if gone => Ok(()),
            (Some(false), _) if gone => Ok(()),
            (None | Some(false), 200) => Ok(()),
            _ => bail!("payload of {id}: status {}: {}", response.status, response.text()),
        }
    }

    /// A permit belongs to the nonce that consumed it and to no other.
    fn check_permit(&self, client: &mut Client, serial: u64, id: &str, permit: &str) -> Result<()> {
        if self.erased.contains_key(id) {
            // Without its payload a request can no longer be compared.
            return Ok(());
        }
        for (nonce, own) in [("another-attempt-at-it".to_owned(), false), (nonce(serial), true)] {
            let body = body(serial, "fault.read", &nonce);
            let again = ok(client, "POST", "/api/v1/decisions", Some(&body))?;
            match Answer::parse(again.to_string().as_bytes())? {
                Answer { id: now, .. } if now != id => bail!("{id} was decided again as {now}"),
                Answer { permit: Permit::Granted(now), .. } if !own || now != permit => {
                    bail!("{id}: permit {permit} was handed out again as {now}, own nonce: {own}")
                }
                Answer { permit: Permit::None, .. } => bail!("{id}: its permit is gone"),
                _ => {}
            }
        }
        Ok(())
    }

    /// What was not acknowledged is asked again: it is decided once.
    fn retry(&mut self, client: &mut Client, serial: u64) -> Result<()> {
        let surface = "fault.read";
        let path = "/api/v1/decisions?receipt=inline";
        let first = client.request("POST", path, Some(&body(serial, surface, &nonce(serial))))?;
        if first.status == 409 && first.text().contains("idempotency_conflict") {
            // It was another surface, and the log has it: bound to those bytes.
            return Ok(());
        }
        if first.status != 200 {
            bail!("request {serial} again: status {}: {}", first.status, first.text());
        }
        let first = document(&first)?;
        self.take(serial, &first)?;
        let answer = Answer::parse(first.to_string().as_bytes())?;
        if first["reasons"][0]["code"] == "killed_everything" {
            // It binds nothing: the next attempt is another decision.
            return Ok(());
        }
        let other =
            ok(client, "POST", path, Some(&body(serial, surface, "another-attempt-at-it")))?;
        let other = Answer::parse(other.to_string().as_bytes())?;
        same(&answer, &other)?;
        if let (Permit::Granted(_), Permit::Granted(_)) = (&answer.permit, &other.permit) {
            bail!("request {serial} was permitted to two attempts");
        }
        Ok(())
    }
}

fn ok(client: &mut Client, method: &str, path: &str, body: Option<&str>) -> Result<Value> {
    let response = client.request(method, path, body)?;
    if response.status != 200 {
        bail!("{method} {path}: status {}: {}", response.status, response.text());
    }
    document(&response)
}

fn document(response: &Response) -> Result<Value> {
    serde_json::from_slice(&response.body).with_context(|| format!("no JSON: {}", response.text()))
}

fn nonce(serial: u64) -> String {
    format!("attempt-number-{serial}")
}

/// Body of request `serial`: the same bytes each time.
fn body(serial: u64, surface: &str, nonce: &str) -> String {
    json!({
        "surface": surface, "action": "do", "idempotency_key": format!("fault-{serial}"),
        "attempt_nonce": nonce, "trace_id": format!("fault-{serial}"), "subjects": ["kim"],
        "arguments": {"serial": serial, "padding": "x".repeat(200)},
    })
    .to_string()
}
