//! Who may call what: every operation of the table, called for real by callers of every role and kind,
//! by whoever proposed, by nobody, and by an admin of another workspace about what is in this one. What
//! comes of it stands in `matrix.txt`, to be reviewed; a cell that is missing there or has changed fails.

use crate::world::{BIG, BUNDLE, World, at, request};
use placet_outbound::{Inside, Outbound};
use placet_policy::built_in_roles;
use placet_server::{ChannelOptions, OPERATIONS, Operation, Secrets, ServerOptions};
use placet_store::{Create, DataDir};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

/// A caller: name in the file, key, and the workspace that the call names.
struct Caller {
    name: String,
    key: String,
    named: Option<&'static str>,
}

/// A call that is made.
struct Fixture {
    path: String,
    body: String,
}

/// What fixtures are made of and with.
struct Stage {
    world: World,
    /// A second person who may lift.
    olga: String,
    bot: String,
    /// The admin of another workspace, and a second person there.
    zoe: String,
    zed: String,
    count: u32,
    _secrets: TempDir,
}

/// A receiver that nobody is allowed to call: what is told to it waits.
const CHANNEL: &str = r#"channels:
  - { id: siem, kind: webhook, to: "http://127.0.0.1:9/", secret: siem }
notify:
  - { id: ask, on: [approval.opened], channels: [siem] }
"#;

/// What releases and aliases need to be permitted.
const RELEASES: &str = r#"  - id: releases
    match: { surfaces: ["release.register", "alias.change"] }
    decision: allow
"#;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

impl Stage {
    async fn new() -> Self {
        // With a channel: without one there is nothing to replay.
        let (secrets, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let secret = secrets.path().join("siem");
        std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let pattern = DataDir::open(&scratch.path().join("data"), Create::Yes).unwrap();
        let channels = ChannelOptions {
            outbox: Arc::new(pattern.outbox().unwrap()),
            secrets: Secrets::new(Some(secrets.path().to_owned())),
            outbound: Outbound::new(None).unwrap(),
            outside: Outbound::outside(None, Inside::default()).unwrap(),
            telegram: String::new(),
            slack: String::new(),
        };
        let options = ServerOptions { channels: Some(channels), ..ServerOptions::default() };
        let bundle = format!("{BUNDLE}{RELEASES}{CHANNEL}");
        let world = World::with(Some(&bundle), false, options).await;
        let olga = world.key("human:olga", &["operator"]).await;
        let bot = world.key("agent:bot", &[]).await;
        let made = world
            .post("/api/v1/workspaces", &world.admin, r#"{"name":"other","admin":"human:zoe"}"#)
            .await;
        let zoe = at(&made.json(), "/key").to_owned();
        let body = r#"{"actor":"human:zed","environment":"production","roles":["operator"]}"#;
        let zed = at(&world.post("/api/v1/keys", &zoe, body).await.json(), "/key").to_owned();
        let stage = Self { world, olga, bot, zoe, zed, count: 0, _secrets: secrets };
        stage.world.decide(&stage.bot, "told", BIG).await;
        stage.delivery().await;
        stage
    }

    async fn callers(&self) -> Vec<Caller> {
        let caller = |name: &str, key: &str| Caller {
            name: name.to_owned(),
            key: key.to_owned(),
            named: None,
        };
        let mut all = vec![
            caller("nobody", ""),
            caller("no-role", &self.world.key("human:plain", &[]).await),
        ];
        for role in built_in_roles() {
            let key = match role {
                "admin" => self.world.admin.clone(),
                _ => self.world.key(&format!("human:{role}"), &[role]).await,
            };
            all.push(caller(role, &key));
        }
        all.push(caller("proposer", &self.bot));
        // What a machine may not do, no role of its own lets it do.
        let every = ["auditor", "gate", "operator"];
        all.push(caller("agent", &self.world.key("agent:all", &every).await));
        all.push(caller("service", &self.world.key("service:all", &every).await));
        let body = r#"{"actor":"agent:handed","roles":["admin"],"expires":"1d"}"#;
        let handed = self.world.post("/api/v1/sessions", &self.world.admin, body).await;
        assert_eq!(handed.status, 201, "{handed:?}");
        all.push(caller("agent-of-admin", at(&handed.json(), "/key")));
        all.push(caller("foreign-admin", &self.zoe));
        all.push(Caller { named: Some("main"), ..caller("foreign-admin-by-name", &self.zoe) });
        all
    }

    fn fresh(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    async fn admin(&self, path: &str, body: &str) -> Value {
        let answer = self.world.call("POST", path, &self.world.admin, &JSON, body).await;
        assert!(answer.status < 300, "{path} {body}: {answer:?}");
        answer.json()
    }

    async fn held(&mut self) -> Value {
        let key = format!("h{}", self.fresh());
        self.world.decide(&self.bot, &key, BIG).await
    }

    /// Another bundle in force than before, with the same rules for what is called here.
    async fn published(&mut self) -> Value {
        let body = self.policy();
        self.admin("/api/v1/policies", &body).await
    }

    fn policy(&mut self) -> String {
        let n = self.fresh();
        let rule =
            format!("  - id: x{n}\n    match: {{ surfaces: [\"x.y\"] }}\n    decision: allow\n");
        json!({"sources": [{"name": "a.yaml", "text": format!("{BUNDLE}{RELEASES}{rule}{CHANNEL}")}]})
            .to_string()
    }

    /// A delegation of the role that most callers who may delegate have.
    fn lent(&self, to: &str) -> String {
        let until = self.world.plane.now().plus(3_600_000).rfc3339();
        json!({"to": to, "roles": ["operator"], "until": until}).to_string()
    }

    /// Something that waits for a receiver which never answers.
    async fn delivery(&self) -> String {
        loop {
            let outbox = self.world.get("/api/v1/outbox?limit=1", &self.world.admin).await.ok();
            if let Some(id) = outbox["deliveries"][0]["id"].as_u64() {
                return id.to_string();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn author(&self) -> String {
        format!(r#"{{"key":"{}"}}"#, self.world.root().vkey())
    }

    /// A call that succeeds for whoever may make it.
    async fn fixture(&mut self, operation: &Operation) -> Fixture {
        let n = self.fresh();
        let call =
            |path: &str, body: &str| Fixture { path: path.to_owned(), body: body.to_owned() };
        let sources = r#"{"sources":[{"name":"a.yaml","text":"version: v1\nrules: []\n"}]}"#;
        let subject = json!({"subject": {"type": "agent", "id": "bot"}, "action": {"name": "a"},
                             "resource": {"type": "r", "id": "1"}})
        .to_string();
        match operation.id {
            "decide" => call(operation.path, &request(&format!("d{n}"), "")),
            "decideBatch" => call(
                operation.path,
                &format!(r#"{{"requests":[{}]}}"#, request(&format!("b{n}"), "")),
            ),
            "getDecision" | "withdraw" => {
                let held = self.held().await;
                self.at(operation, "{id}", at(&held, "/id"), "")
            }
            "consume" | "reportOutcome" | "getReceipt" => {
                let more =
                    if operation.id == "consume" { r#","audience":"service:all""# } else { "" };
                let done = self.world.decide(&self.bot.clone(), &format!("c{n}"), more).await;
                let body =
                    if operation.id == "reportOutcome" { r#"{"result":"succeeded"}"# } else { "" };
                self.at(operation, "{id}", at(&done, "/id"), body)
            }
            "getTrace" => self.at(operation, "{trace_id}", "x", ""),
            "erase" => call(operation.path, r#"{"before":"1h","dry_run":true}"#),
            "placeHold" => call(operation.path, r#"{"scope":"workspace","reason":"case-1"}"#),
            "releaseHold" => {
                let hold =
                    self.admin("/api/v1/holds", r#"{"scope":"workspace","reason":"case-1"}"#).await;
                self.at(operation, "{id}", at(&hold, "/id"), "")
            }
            "approve" | "reject" | "getApproval" | "approveAsked" | "rejectAsked" => {
                let held = self.held().await;
                let body = match operation.method {
                    "GET" => String::new(),
                    _ => format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest")),
                };
                self.at(operation, "{id}", at(&held, "/approval/id"), &body)
            }
            "getApprovalStatus" | "getGovernanceRequest" => {
                let held = self.held().await;
                self.at(operation, "{id}", at(&held, "/approval/id"), "")
            }
            "submitJob" => call(operation.path, r#"{"topic":"job.read"}"#),
            "askApproval" => {
                call(operation.path, &format!(r#"{{"run_id":"r{n}","phase_id":"p"}}"#))
            }
            "delegate" => call(operation.path, &self.lent("human:olga")),
            "endDelegation" => {
                let lent = self.lent("human:plain");
                let made = self.world.post("/api/v1/delegations", &self.olga, &lent).await;
                assert_eq!(made.status, 201, "{made:?}");
                self.at(operation, "{id}", at(&made.json(), "/id"), "")
            }
            "replayDelivery" => {
                let id = self.delivery().await;
                self.at(operation, "{id}", &id, "{}")
            }
            "getPublished" => call("/log/main/checkpoint", ""),
            "getTile" => call("/log/main/tile/entries/000.p/1", ""),
            "getConsistency" => call("/log/main/consistency/1/1", ""),
            "kill" | "drillOverride" => call(operation.path, r#"{"scope":"workspace"}"#),
            "getOverride" | "acknowledgeOverride" => {
                let body = r#"{"scope":"workspace"}"#;
                let drill = self.admin("/api/v1/overrides:drill", body).await;
                let index = drill["index"].as_u64().unwrap().to_string();
                self.at(operation, "{index}", &index, "")
            }
            "lift" => {
                self.admin("/api/v1/kill", r#"{"scope":"workspace"}"#).await;
                call(operation.path, r#"{"scope":"workspace"}"#)
            }
            "startExecution" => {
                call(operation.path, &format!(r#"{{"capability":"c","idempotency_key":"e{n}"}}"#))
            }
            "getExecution" | "endExecution" => {
                let body = format!(r#"{{"capability":"c","idempotency_key":"e{n}"}}"#);
                let bot = self.bot.clone();
                let made = self.world.post("/api/v1/executions", &bot, &body).await.json();
                self.at(operation, "{id}", at(&made, "/id"), r#"{"state":"succeeded"}"#)
            }
            "stop" => call(operation.path, r#"{"scope":"capability:x","mode":"kill"}"#),
            "liftOverride" => {
                self.admin("/api/v1/overrides", r#"{"scope":"capability:x","mode":"kill"}"#).await;
                call(operation.path, r#"{"scope":"capability","value":"x"}"#)
            }
            "createKey" => call(
                operation.path,
                &format!(r#"{{"actor":"agent:k{n}","environment":"production","roles":[]}}"#),
            ),
            "revokeKey" => {
                let body =
                    format!(r#"{{"actor":"agent:r{n}","environment":"production","roles":[]}}"#);
                let made = self.admin("/api/v1/keys", &body).await;
                self.at(operation, "{id}", at(&made, "/id"), "")
            }
            "getSession" => self.at(operation, "{id}", "current", ""),
            "openSession" => call(operation.path, &format!(r#"{{"actor":"agent:m{n}"}}"#)),
            "closeSession" => {
                let body = format!(r#"{{"actor":"agent:m{n}"}}"#);
                let made = self.world.post("/api/v1/sessions", &self.bot, &body).await;
                self.at(operation, "{id}", at(&made.json(), "/id"), "")
            }
            "createWorkspace" => {
                call(operation.path, &format!(r#"{{"name":"w{n}","admin":"human:w"}}"#))
            }
            "revokeSigner" => {
                let former = self.world.root().vkey().to_string();
                self.admin("/api/v1/signers/rotate", "").await;
                call(operation.path, &json!({"vkey": former}).to_string())
            }
            "setShadow" => call(
                operation.path,
                r#"{"bundle":{"type":"placet/bundle/1","rules":[{"id":"a","match":{},"decision":"allow"}]}}"#,
            ),
            "reportPassage" => call(operation.path, r#"{"surface":"x.y","action":"a"}"#),
            "lintPolicy" | "testPolicy" | "formatPolicy" | "backtestPolicy" => {
                call(operation.path, sources)
            }
            "diffPolicy" => call(operation.path, &sources.replace("\"sources\"", "\"after\"")),
            "explainPolicy" => {
                let sources = &sources[..sources.len() - 1];
                call(operation.path, &format!("{sources},\"request\":{}}}", request("e", "")))
            }
            "publishPolicy" => {
                let body = self.policy();
                call(operation.path, &body)
            }
            "getPolicy" | "withdrawPolicy" => {
                let former = self.published().await;
                self.published().await;
                let body = if operation.method == "POST" { r#"{"reason":"case-1"}"# } else { "" };
                self.at(operation, "{digest}", at(&former, "/bundle"), body)
            }
            "releasePolicy" => {
                let first = self.published().await;
                call(operation.path, &json!({"decision": first["decision"]}).to_string())
            }
            "rollbackPolicy" => {
                self.published().await;
                call(operation.path, "{}")
            }
            "reviewPolicy" => {
                self.published().await;
                let back =
                    self.world.post("/api/v1/policies/rollback", &self.olga, "{}").await.ok();
                self.at(operation, "{decision}", at(&back, "/decision"), "")
            }
            "openException" => call(operation.path, &exception(n)),
            "getException" | "closeException" | "reviewException" => {
                let opened = self.admin("/api/v1/exceptions", &exception(n)).await;
                let id = at(&opened, "/id").to_owned();
                let body = match operation.id {
                    "reviewException" => {
                        self.admin(&format!("/api/v1/exceptions/{id}/close"), "").await;
                        r#"{"justified":true,"note":"seen"}"#
                    }
                    _ => "",
                };
                self.at(operation, "{id}", &id, body)
            }
            "addEvidence" => call(operation.path, &piece(n)),
            "getEvidence" | "revokeEvidence" => {
                let made = self.world.post("/api/v1/evidence", &self.bot, &piece(n)).await;
                let body = if operation.method == "POST" { r#"{"reason":"case-1"}"# } else { "" };
                self.at(operation, "{id}", at(&made.json(), "/id"), body)
            }
            "registerRelease" => call(operation.path, &release(n)),
            "setAlias" => call(operation.path, &alias(n)),
            "getRelease" => {
                let made = self.world.post("/api/v1/releases", &self.bot, &release(n)).await;
                assert_eq!(made.status, 201, "{made:?}");
                self.at(operation, "{name}", &format!("r{n}"), "")
            }
            "getAlias" => {
                let made = self.world.post("/api/v1/aliases", &self.bot, &alias(n)).await;
                assert!(made.status < 300, "{made:?}");
                self.at(operation, "{name}", &format!("a{n}"), "")
            }
            "trustIssuerKey" => call(operation.path, &issuer_key(n)),
            "revokeIssuerKey" => {
                let body = issuer_key(n);
                self.admin("/api/v1/evidence/keys", &body).await;
                call(operation.path, &body)
            }
            "trustAuthor" => call(operation.path, &self.author()),
            "revokeAuthor" => {
                let body = self.author();
                self.admin("/api/v1/policies/authors", &body).await;
                call(operation.path, &body)
            }
            "evaluateAccess" | "evaluateAccesses" | "searchSubjects" | "searchResources"
            | "searchActions" => call(operation.path, &subject),
            _ => {
                // An id that nothing has: what stands before the look-up shows.
                let zero = "0".repeat(32);
                let path = operation.path.replace("{id}", &format!("apr_{zero}"));
                call(
                    &path.replace("{workspace}", "main"),
                    if operation.body.is_some() { "{}" } else { "" },
                )
            }
        }
    }

    fn at(&self, operation: &Operation, parameter: &str, value: &str, body: &str) -> Fixture {
        Fixture { path: operation.path.replace(parameter, value), body: body.to_owned() }
    }

    /// Puts back what the call may have changed for the next one.
    async fn restore(&mut self, operation: &Operation) {
        let scope = r#"{"scope":"workspace"}"#;
        match operation.id {
            "kill" | "lift" => {
                for key in [&self.world.admin, &self.olga, &self.zoe, &self.zed] {
                    self.world.post("/api/v1/lift", key, scope).await;
                }
                for key in [&self.world.admin, &self.zoe] {
                    let kill = self.world.get("/api/v1/kill", key).await.ok();
                    assert_eq!(kill["workspace"], Value::Null, "{kill}");
                }
            }
            "stop" | "liftOverride" => {
                let scope = r#"{"scope":"capability:x"}"#;
                for key in [&self.world.admin, &self.olga, &self.zoe, &self.zed] {
                    self.world.post("/api/v1/overrides:lift", key, scope).await;
                }
                for key in [&self.world.admin, &self.zoe] {
                    let stopped = self.world.get("/api/v1/overrides", key).await.ok();
                    assert_eq!(stopped["overrides"], json!([]), "{stopped}");
                }
            }
            // Or whoever it was lent to would have the role in all that follows.
            "delegate" | "endDelegation" => {
                let path = "/api/v1/delegations";
                let lent =
                    self.world.get(&format!("{path}?limit=200"), &self.world.admin).await.ok();
                for it in lent["delegations"].as_array().unwrap() {
                    if it["state"] == "in_force" {
                        let path = format!("{path}/{}", at(it, "/id"));
                        let key = &self.world.admin;
                        assert_eq!(
                            self.world.call("DELETE", &path, key, &[], "").await.status,
                            200
                        );
                    }
                }
            }
            "trustAuthor" | "revokeAuthor" => {
                let body = self.author();
                for key in [&self.world.admin, &self.zoe] {
                    self.world.post("/api/v1/policies/authors/revoke", key, &body).await;
                }
            }
            _ => {}
        }
    }

    /// Status and, for a problem, its code.
    async fn call(&mut self, operation: &Operation, caller: &Caller) -> String {
        let Fixture { path, body } = self.fixture(operation).await;
        let mut headers = JSON.to_vec();
        headers.extend(caller.named.map(|name| ("placet-workspace", name)));
        let result = if ["streamEvents", "streamOverrides"].contains(&operation.id) {
            // It does not end; what it begins with says enough.
            let mut stream =
                self.world.send(operation.method, &path, &caller.key, &headers, &body).await;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            let status = String::from_utf8_lossy(&head[9..]).into_owned();
            match status.as_str() {
                "200" => status,
                _ => {
                    let answer = self
                        .world
                        .call(operation.method, &path, &caller.key, &headers, &body)
                        .await;
                    format!("{status} {}", at(&answer.json(), "/code"))
                }
            }
        } else {
            let answer =
                self.world.call(operation.method, &path, &caller.key, &headers, &body).await;
            match answer.status {
                status if status < 400 => status.to_string(),
                status => format!("{status} {}", at(&answer.json(), "/code")),
            }
        };
        self.restore(operation).await;
        result
    }
}

/// An exception that nothing passes under.
fn exception(n: u32) -> String {
    format!(
        r#"{{"surface":"x.y","actor":"agent:x{n}","waives":["floor"],"reason":"case-1","duration":"1m"}}"#
    )
}

/// A piece of evidence like no other.
fn piece(n: u32) -> String {
    let digest = format!("sha256:{n:064x}");
    json!({"type": "review", "digest": digest, "subject": digest}).to_string()
}

/// A release without papers.
fn release(n: u32) -> String {
    let digest = format!("sha256:{n:064x}");
    json!({"name": format!("r{n}"), "subject": digest, "idempotency_key": format!("r{n}")})
        .to_string()
}

/// A name that leads to a model.
fn alias(n: u32) -> String {
    json!({"name": format!("a{n}"), "to": "model:m", "idempotency_key": format!("a{n}")})
        .to_string()
}

/// A key of an issuer of its own.
fn issuer_key(n: u32) -> String {
    let (key, _) = crate::evidence::issuer(&format!("ci{n}"), n);
    json!({"issuer": format!("service:ci{n}"), "key": key.to_string()}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_and_kind_may_call_what_the_matrix_says() {
    let mut stage = Stage::new().await;
    let callers = stage.callers().await;
    let names: Vec<&str> = callers.iter().map(|caller| caller.name.as_str()).collect();
    let mut text = format!(
        "# Who may call what. Made by tests/server/matrix.rs with PLACET_BLESS=1; every cell is a real call.\n\
         # Callers: {}\n",
        names.join(" ")
    );
    for operation in OPERATIONS {
        let mut rows: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for caller in &callers {
            let result = stage.call(operation, caller).await;
            rows.entry(result).or_default().push(&caller.name);
        }
        let _ = writeln!(text, "\n{} ({} {})", operation.id, operation.method, operation.path);
        for (result, names) in rows {
            let who =
                if names.len() == callers.len() { "everybody".to_owned() } else { names.join(" ") };
            let _ = writeln!(text, "  {result}: {who}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/server/matrix.txt");
    if std::env::var_os("PLACET_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    let made = concat!(env!("CARGO_TARGET_TMPDIR"), "/matrix.txt");
    std::fs::write(made, &text).unwrap();
    let (had, has): (Vec<&str>, Vec<&str>) = (known.lines().collect(), text.lines().collect());
    let gone: Vec<_> = had.iter().filter(|line| !has.contains(line)).collect();
    let new: Vec<_> = has.iter().filter(|line| !had.contains(line)).collect();
    assert!(
        known == text,
        "the matrix has changed; look at each line, then take {made} for {path}\nno longer: {gone:#?}\nnow: {new:#?}"
    );
}
