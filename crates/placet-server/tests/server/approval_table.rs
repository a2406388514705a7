//! Approvals over HTTP as one table: an event a row, what came of it behind the arrow. What needs time as
//! an input, an empty account or a chain of delegation has its rows in the engine's tests.
//!
//! ```text
//! hold bot d1 [amount=N] [target=T] [context=C] [key=d0] [label=approved]     take bot d1 [nonce=other]
//! approve olga d1 [digest=d2|none] [seen|look]       reject olga d1                race bot d1 N
//! publish BUNDLE      kill olga      lift olga      restart      story d1     delegate olga nora
//! ```

use crate::policies::{POLICIES, keyed};
use crate::world::{World, at};
use placet_server::ServerOptions;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

const PAY: &str = r#"
version: v1
rules:
  - id: pay
    match: { surfaces: ["pay.*"] }
    decision: require_approval
    approval: { roles: { operator: 1 } }
    constraints: { max_retries: 3 }
    reason: "payments need a person"
  - id: read
    match: { surfaces: ["read.*"] }
    decision: allow
"#;

/// The same demand in other words, in another order, beside rules that decide nothing here.
const COSMETIC: &str = r#"
version: v1
rules:
  - id: another-name
    match: { surfaces: ["read.*"] }
    decision: allow
  - id: elsewhere
    match: { surfaces: ["write.*"] }
    decision: deny
  - id: pay
    match: { surfaces: ["pay.*"] }
    decision: require_approval
    approval: { roles: { operator: 1 } }
    constraints: { max_retries: 3 }
    reason: "somebody has to look at payments"
"#;

const TWO: &str = r#"
version: v1
rules:
  - id: pay
    match: { surfaces: ["pay.*"] }
    decision: require_approval
    approval: { roles: { operator: 2 } }
    constraints: { max_retries: 3 }
"#;

const NARROW: &str = r#"
version: v1
rules:
  - id: pay
    match: { surfaces: ["pay.*"] }
    decision: require_approval
    approval: { roles: { operator: 1 } }
    constraints: { max_retries: 1 }
"#;

const NEVER: &str = r#"
version: v1
rules:
  - id: pay
    match: { surfaces: ["pay.*"] }
    decision: deny
"#;

struct Held {
    decision: String,
    approval: String,
    digest: String,
    requirement: String,
}

struct Table {
    world: Option<Arc<World>>,
    keys: BTreeMap<String, String>,
    held: BTreeMap<String, Held>,
    published: u32,
}

impl Table {
    async fn new() -> Self {
        let world = World::with(Some(PAY), false, ServerOptions::default()).await;
        let mut keys = BTreeMap::from([("ann".to_owned(), world.admin.clone())]);
        for (name, kind, roles) in [
            ("bot", "agent", &[][..]),
            ("llm", "agent", &["operator"][..]),
            ("svc", "service", &["operator"][..]),
            ("olga", "human", &["operator"][..]),
            ("otto", "human", &["operator"][..]),
            ("nora", "human", &["auditor"][..]),
        ] {
            keys.insert(name.to_owned(), world.key(&format!("{kind}:{name}"), roles).await);
        }
        keys.insert("stranger".to_owned(), format!("key_{}.{}", "0".repeat(32), "0".repeat(43)));
        let world = Some(Arc::new(world));
        Self { world, keys, held: BTreeMap::new(), published: 0 }
    }

    fn world(&self) -> &Arc<World> {
        self.world.as_ref().unwrap()
    }

    async fn row(&mut self, row: &'static str) -> String {
        let words: Vec<&str> = row.split_whitespace().collect();
        let option =
            |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let key = words.get(1).and_then(|name| self.keys.get(*name)).cloned().unwrap_or_default();
        let name = words.get(2).copied().unwrap_or_default();
        match words[0] {
            "hold" => self.hold(&key, name, &option).await,
            "take" => {
                let nonce = format!("nonce-of-the-attempt-{}", option("nonce").unwrap_or(name));
                self.take(&key, name, &nonce).await
            }
            "consume" | "outcome" => {
                let path = format!("/api/v1/decisions/{}/{}", self.held[name].decision, words[0]);
                let body = if words[0] == "outcome" { r#"{"result":"succeeded"}"# } else { "" };
                said(&self.world().post(&path, &key, body).await.text, "/permit/state")
            }
            "approve" | "reject" => self.vote(&words, &key, name, &option).await,
            "withdraw" => {
                let path = format!("/api/v1/decisions/{}/withdraw", self.held[name].decision);
                said(&self.world().post(&path, &key, "").await.text, "/approval/state")
            }
            "race" => self.race(&key, name, words[3].parse().unwrap()).await,
            "publish" => {
                let bundle = match words[1] {
                    "PAY" => PAY,
                    "COSMETIC" => COSMETIC,
                    "TWO" => TWO,
                    "NARROW" => NARROW,
                    _ => NEVER,
                };
                self.published += 1;
                let body = keyed(bundle, &format!("p{}", self.published));
                self.world().post(POLICIES, &self.keys["ann"], &body).await.ok();
                "in force".to_owned()
            }
            "kill" | "lift" => {
                let path = format!("/api/v1/{}", words[0]);
                let answer = self.world().post(&path, &key, r#"{"scope":"workspace"}"#).await;
                let lifted = answer.json()["lifted"].as_bool();
                match (answer.status, lifted) {
                    (200, None) => "tripped".to_owned(),
                    (200, Some(true)) => "lifted".to_owned(),
                    (200, Some(false)) => "asked".to_owned(),
                    _ => said(&answer.text, ""),
                }
            }
            "delegate" => {
                let until = self.world().plane.now().plus(3_600_000).rfc3339();
                let body =
                    json!({"to": format!("human:{name}"), "roles": ["operator"], "until": until});
                let path = "/api/v1/delegations";
                said(&self.world().post(path, &key, &body.to_string()).await.text, "/state")
            }
            "restart" => {
                let world = Arc::into_inner(self.world.take().unwrap()).expect("nobody asks");
                self.world = Some(Arc::new(world.unseeded().restart().await));
                "started".to_owned()
            }
            "story" => self.story(words[1]).await,
            other => panic!("no event {other}"),
        }
    }

    async fn hold(
        &mut self,
        key: &str,
        name: &str,
        option: &impl Fn(&str) -> Option<&'static str>,
    ) -> String {
        let amount: i64 = option("amount").map_or(5, |text| text.parse().unwrap());
        let id = option("key").unwrap_or(name);
        let mut body = json!({
            "surface": "pay.out", "action": "create", "idempotency_key": id,
            "attempt_nonce": format!("nonce-of-the-attempt-{id}"), "arguments": {"amount": amount},
            "target": option("target").unwrap_or("account-1"),
            "context": {"ticket": option("context").unwrap_or("T-1")},
        });
        if let Some(label) = option("label") {
            body["labels"] = json!({"approval": label, "approved_by": "human:olga"});
        }
        let answer = self.world().post("/api/v1/decisions", key, &body.to_string()).await;
        if answer.status == 200 {
            let decided = answer.json();
            let text = |pointer| at(&decided, pointer).to_owned();
            let held = Held {
                decision: text("/id"),
                approval: text("/approval/id"),
                digest: text("/action_digest"),
                requirement: text("/approval/requirement"),
            };
            self.held.insert(name.to_owned(), held);
        }
        said(&answer.text, "/outcome")
    }

    async fn take(&self, key: &str, name: &str, nonce: &str) -> String {
        let path = format!("/api/v1/decisions/{}", self.held[name].decision);
        let headers = [("Placet-Attempt-Nonce", nonce)];
        let answer = self.world().call("GET", &path, key, &headers, "").await;
        let text = said(&answer.text, "/permit/state");
        if answer.status != 200 || text != "none" {
            let retries = answer.json()["permit"]["constraints"]["max_retries"].as_i64();
            return match retries.filter(|_| text == "granted") {
                Some(retries) => format!("granted max_retries={retries}"),
                None => text,
            };
        }
        said(&answer.text, "/approval/state")
    }

    async fn vote(
        &mut self,
        words: &[&str],
        key: &str,
        name: &str,
        option: &impl Fn(&str) -> Option<&'static str>,
    ) -> String {
        if words.contains(&"look") {
            let path = format!("/api/v1/approvals/{}", self.held[name].approval);
            let shown = self.world().get(&path, key).await.json();
            self.held.get_mut(name).unwrap().requirement = at(&shown, "/requirement").to_owned();
        }
        let held = &self.held[name];
        let mut body = match option("digest") {
            Some("none") => json!({}),
            other => json!({"action_digest": self.held[other.unwrap_or(name)].digest}),
        };
        if words.contains(&"seen") || words.contains(&"look") {
            body["requirement"] = json!(held.requirement);
        }
        let path = format!("/api/v1/approvals/{}/{}", held.approval, words[0]);
        let answer = self.world().post(&path, key, &body.to_string()).await;
        let mut text = said(&answer.text, "/state");
        if answer.status == 200 {
            let requirement = at(&answer.json(), "/requirement").to_owned();
            self.held.get_mut(name).unwrap().requirement = requirement;
            let missing = answer.json()["missing"].clone();
            if text == "pending" {
                let _ = write!(text, " {missing}");
            }
        }
        text
    }

    /// So many attempts at once, each with a nonce of its own.
    async fn race(&self, key: &str, name: &str, count: usize) -> String {
        let path = format!("/api/v1/decisions/{}", self.held[name].decision);
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..count {
            let (world, path, key) = (self.world().clone(), path.clone(), key.to_owned());
            tasks.spawn(async move {
                let nonce = format!("nonce-of-the-attempt-{at}");
                let headers = [("Placet-Attempt-Nonce", nonce.as_str())];
                let answer = world.call("GET", &path, &key, &headers, "").await;
                said(&answer.text, "/permit/state")
            });
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(said) = tasks.join_next().await {
            *counts.entry(said.unwrap()).or_default() += 1;
        }
        let others: usize = counts.values().sum::<usize>() - counts.get("granted").unwrap_or(&0);
        let kinds: BTreeSet<&str> = counts.keys().map(String::as_str).collect();
        assert!(kinds.is_subset(&["granted", "consumed"].into()), "{kinds:?}");
        format!("{} granted, {others} not", counts.get("granted").unwrap_or(&0))
    }

    /// What the entries alone say: who, what, and under which demand.
    async fn story(&self, name: &str) -> String {
        let (id, newest) = (&self.held[name].decision, self.world().size() - 1);
        let path = format!("/api/v1/audit?decision={id}&order=asc&limit=50&min_index={newest}");
        let page = self.world().get(&path, &self.keys["ann"]).await.ok();
        let mut demand = String::new();
        let mut out = Vec::new();
        let mut last = 0;
        for entry in page["entries"].as_array().unwrap() {
            let predicate = &entry["entry"]["predicate"];
            let data = &predicate["data"];
            let time = predicate["time_ms"].as_u64().unwrap();
            assert!(time >= last, "time runs on");
            last = time;
            let kind = at(predicate, "/type");
            let by = |who: &Value| self.who(who.as_str().unwrap());
            out.push(match kind {
                "decision" => {
                    demand = at(data, "/approval/requirement").to_owned();
                    format!("{} asked", by(&data["actor"]))
                }
                "approval.voted" => {
                    assert_eq!(at(data, "/requirement"), demand, "for the demand of then");
                    let roles = data["roles"].as_array().unwrap();
                    let roles: Vec<_> = roles.iter().filter_map(Value::as_str).collect();
                    let verb = if data["approve"] == true { "approved" } else { "rejected" };
                    let of = data["through"][0].get("of").map(by);
                    let of = of.map_or_else(String::new, |of| format!(" for {of}"));
                    format!("{} {verb} as {}{of}", by(&data["by"]), roles.join("+"))
                }
                "approval.reopened" => {
                    assert_eq!(at(data, "/was"), demand, "in the place of the one before");
                    demand = at(data, "/requirement").to_owned();
                    format!("re-opened {}", data["roles"])
                }
                "approval.closed" => at(data, "/state").to_owned(),
                "permit.collected" => "collected".to_owned(),
                "outcome.reported" => format!("{} reported", by(&data["by"])),
                other => other.to_owned(),
            });
        }
        out.join(", ")
    }

    fn who(&self, reference: &str) -> String {
        let workspace = self.world().root();
        let names = self.keys.keys().find(|name| {
            let kinds = ["human", "agent", "service"].into_iter();
            let mut actors = kinds.map(|kind| format!("{kind}:{name}"));
            actors.any(|actor| {
                let actor = placet_types::ids::ActorId::parse(&actor).unwrap();
                workspace.actor_ref(&actor).as_str() == reference
            })
        });
        names.cloned().unwrap_or_else(|| reference.to_owned())
    }
}

/// The text at a pointer, or the code of a problem.
fn said(text: &str, pointer: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if let Some(code) = value["code"].as_str() {
        return format!("! {code}");
    }
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("none").to_owned()
}

const TABLE: &str = r#"
    # Nothing executes without a terminal approval.
    hold bot d1                          -> REQUIRE_APPROVAL
    take bot d1                          -> pending
    consume bot d1                       -> ! approval_pending
    outcome bot d1                       -> ! no_permit
    # No client field carries authority, and the same request again is the same decision.
    hold bot l1 label=approved           -> REQUIRE_APPROVAL
    take bot l1                          -> pending
    # Whoever is not known, is no person, or has no role; a model's advice resolves nothing.
    approve stranger d1                  -> ! key_unknown
    approve bot d1                       -> ! not_human
    approve llm d1                       -> ! not_human
    reject llm d1                        -> ! not_human
    approve svc d1                       -> ! not_human
    approve nora d1                      -> ! role_missing
    # What was looked at, and nothing else.
    hold bot d2 amount=7                 -> REQUIRE_APPROVAL
    hold bot d3 target=account-2         -> REQUIRE_APPROVAL
    hold bot d4 context=T-2              -> REQUIRE_APPROVAL
    approve olga d2 digest=d1            -> ! stale_approval_digest
    approve olga d3 digest=d1            -> ! stale_approval_digest
    approve olga d1 digest=none          -> ! approval_digest_missing
    # Digest A releases A alone: other arguments, target or context need an approval of their own.
    approve olga d1                      -> approved
    take bot d2                          -> pending
    take bot d3                          -> pending
    take bot d4                          -> pending
    hold bot x key=d1 amount=7           -> ! idempotency_conflict
    hold bot x key=d1 context=T-2        -> ! idempotency_conflict
    # A vote that comes twice changes nothing, another of the same person is none.
    approve olga d1                      -> approved
    approve olga d1 seen                 -> approved
    reject olga d1                       -> ! approval_final
    take svc d1                          -> approved
    take bot d1                          -> granted max_retries=3
    take bot d1 nonce=other              -> consumed
    approve olga d1                      -> consumed
    outcome bot d1                       -> consumed
    story d1                             -> bot asked, olga approved as operator, collected, bot reported
    # A no ends it, whoever else would say yes.
    reject olga d2                       -> rejected
    reject olga d2                       -> rejected
    approve otto d2                      -> ! approval_final
    take bot d2                          -> rejected
    story d2                             -> bot asked, olga rejected as operator
    withdraw bot d3                      -> withdrawn
    approve olga d3                      -> ! approval_final
    # Nobody decides their own, in whoever's right.
    hold olga o1                         -> REQUIRE_APPROVAL
    approve olga o1                      -> ! own_approval
    delegate olga nora                   -> in_force
    approve nora o1                      -> ! own_approval
    approve otto o1                      -> approved
    approve nora d4                      -> approved
    story d4                             -> bot asked, nora approved as operator for olga
    # One consumption, however many try.
    race bot d4 1000                     -> 1 granted, 999 not
    # A kill between approval and release wins.
    hold bot k1                          -> REQUIRE_APPROVAL
    approve otto k1                      -> approved
    kill otto                            -> tripped
    take bot k1                          -> ! killed
    lift otto                            -> asked
    lift ann                             -> lifted
    take bot k1                          -> granted max_retries=3
    # A cosmetic change keeps what was approved.
    hold bot c1                          -> REQUIRE_APPROVAL
    hold bot c2 amount=8                 -> REQUIRE_APPROVAL
    approve otto c1                      -> approved
    publish COSMETIC                     -> in force
    take bot c1                          -> granted max_retries=3
    # Stricter asks for more: of what is approved, and of what is not.
    approve otto c2                      -> approved
    hold bot s1 amount=9                 -> REQUIRE_APPROVAL
    publish TWO                          -> in force
    take bot c2                          -> pending
    approve otto s1                      -> ! approval_reopened
    # A page from before shows the other demand, whoever looks at it.
    approve otto s1                      -> ! approval_reopened
    approve otto s1 look                 -> pending {"operator":1}
    restart                              -> started
    approve olga s1                      -> ! approval_reopened
    approve olga s1 look                 -> approved
    take bot s1                          -> granted max_retries=3
    approve otto c2 look                 -> pending {"operator":1}
    approve olga c2 look                 -> approved
    story c2                             -> bot asked, otto approved as operator, re-opened {"operator":2}, olga approved as operator
    # Narrower: what was approved is another thing, and votes for it are gone.
    publish NARROW                       -> in force
    take bot c2                          -> pending
    approve otto c2 look                 -> pending {"operator":1}
    approve olga c2 look                 -> approved
    take bot c2                          -> granted max_retries=1
    # What is not granted any more ends.
    hold bot n1                          -> REQUIRE_APPROVAL
    hold bot n2 amount=6                 -> REQUIRE_APPROVAL
    approve otto n1                      -> approved
    publish NEVER                        -> in force
    take bot n1                          -> ! approval_invalidated
    approve otto n2                      -> ! approval_invalidated
    publish PAY                          -> in force
    take bot n1                          -> invalidated
    approve otto n2                      -> ! approval_final
    # Final is final over a restart, and open is open.
    hold bot r1                          -> REQUIRE_APPROVAL
    hold bot r2 amount=4                 -> REQUIRE_APPROVAL
    approve otto r2                      -> approved
    restart                              -> started
    take bot n2                          -> invalidated
    take bot d2                          -> rejected
    approve otto d2                      -> ! approval_final
    take bot d1 nonce=other              -> consumed
    take bot r1                          -> pending
    take bot r2                          -> granted max_retries=3
    approve otto r1                      -> approved
    race bot r1 50                       -> 1 granted, 49 not
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_one_row_one_outcome() {
    let mut table = Table::new().await;
    let (mut expected, mut actual) = (String::new(), String::new());
    for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#')) {
        let (event, outcome) = row.split_once("->").unwrap();
        let event = event.split_whitespace().collect::<Vec<_>>().join(" ");
        let got = table.row(Box::leak(event.clone().into_boxed_str())).await;
        let _ = writeln!(expected, "{event:40} -> {}", outcome.trim());
        let _ = writeln!(actual, "{event:40} -> {got}");
    }
    assert!(expected == actual, "expected\n{expected}\nactual\n{actual}");
}

/// A caller that waits gets its permit in the batch of the vote; one that went away collects it later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_served_by_the_vote() {
    let mut table = Table::new().await;
    table.row("hold bot d1").await;
    let (world, bot) = (table.world().clone(), table.keys["bot"].clone());
    let path = format!("/api/v1/decisions/{}?wait=25s", table.held["d1"].decision);
    let waiting = tokio::spawn(async move {
        let headers = [("Placet-Attempt-Nonce", "nonce-of-the-attempt-d1")];
        world.call("GET", &path, &bot, &headers, "").await
    });
    while table.world().root().waiting_callers() == 0 {
        tokio::task::yield_now().await;
    }
    let size = table.world().size();
    assert_eq!(table.row("approve olga d1").await, "consumed");
    let answer = waiting.await.unwrap();
    assert_eq!(said(&answer.text, "/permit/state"), "granted", "{answer:?}");
    // Two entries, one batch: the vote and the permit.
    assert_eq!(table.world().size(), size + 2);
    assert_eq!(table.row("story d1").await, "bot asked, olga approved as operator, collected");
    // The next one goes away before anybody decides.
    table.row("hold bot d2").await;
    assert_eq!(table.row("take bot d2").await, "pending");
    assert_eq!(table.row("approve olga d2").await, "approved");
    assert_eq!(table.row("take bot d2").await, "granted max_retries=3");
}
