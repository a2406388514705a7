//! Releases over HTTP: each link of a lineage broken by itself and what it is called, names that are for good,
//! and aliases that lead to no release whose papers are missing.

use crate::evidence::sha;
use crate::world::{World, at};
use placet_runtime::{Principal, alias_request};
use placet_types::Caller;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

const POLICY: &str = r#"
version: v1
surfaces:
  git.change: { owner: software }
rules:
  - { id: change, match: { surfaces: ["git.change"], actions: ["apply"] }, decision: require_approval }
  - { id: note, match: { surfaces: ["git.change"], actions: ["note"] }, decision: allow }
  - { id: releases, match: { surfaces: ["release.register", "alias.change"] }, decision: allow }
  - id: papers
    match: { surfaces: ["alias.change"], when: 'has(verified.release) && !verified.release.complete' }
    decision: deny
"#;

struct Stage {
    world: World,
    bot: String,
    ci: String,
    olga: String,
    count: AtomicU32,
}

impl Stage {
    async fn new() -> Self {
        Self::under(POLICY).await
    }

    async fn under(policy: &str) -> Self {
        let world = World::with(Some(policy), false, Default::default()).await;
        let bot = world.key("agent:bot", &[]).await;
        let ci = world.key("service:ci", &[]).await;
        let olga = world.key("human:olga", &["operator"]).await;
        Self { world, bot, ci, olga, count: AtomicU32::new(0) }
    }

    fn fresh(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    async fn change(&self, what: &str, more: Value) -> Value {
        let mut body = json!({"surface": "git.change", "action": "apply", "change": sha(what),
                              "idempotency_key": format!("c{}", self.fresh())});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.post("/api/v1/decisions", &self.bot, &body.to_string()).await.ok()
    }

    async fn evidence(&self, what: &str) -> String {
        let body = json!({"type": "review", "digest": sha(&format!("r{}", self.fresh())),
                          "subject": sha(what)});
        let made = self.world.post("/api/v1/evidence", &self.ci, &body.to_string()).await;
        at(&made.json(), "/id").to_owned()
    }

    async fn vote(&self, held: &Value, verb: &str) {
        let path = format!("/api/v1/approvals/{}/{verb}", at(held, "/approval/id"));
        let echo = json!({"action_digest": held["action_digest"]}).to_string();
        self.world.post(&path, &self.olga, &echo).await.ok();
    }

    /// The gaps of a release with these papers.
    async fn gaps(&self, change: Option<&Value>, evidence: &[&str], approvals: &[&str]) -> String {
        let mut body = json!({"name": format!("r{}", self.fresh()), "subject": sha("app"),
                              "evaluations": evidence, "approvals": approvals});
        if let Some(change) = change {
            body["change"] = change["id"].clone();
        }
        let made = self.world.post("/api/v1/releases", &self.bot, &body.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let gaps: Vec<&str> =
            made["gaps"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        assert_eq!(made["complete"], gaps.is_empty());
        gaps.join(" ")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_link_is_looked_for_in_the_log() {
    let stage = Stage::new().await;
    let early = stage.evidence("app").await;
    let change = stage.change("app", json!({})).await;
    let good = stage.evidence("app").await;
    stage.vote(&change, "approve").await;
    let approval = at(&change, "/approval/id");
    let gaps = async |change, evidence: &[&str], approvals: &[&str]| {
        stage.gaps(change, evidence, approvals).await
    };
    assert_eq!(gaps(Some(&change), &[&good], &[approval]).await, "");
    let nothing = "approval_missing change_missing evaluation_missing";
    assert_eq!(gaps(None, &[], &[]).await, nothing);
    let both = [early.as_str(), &good];
    assert_eq!(gaps(Some(&change), &both, &[approval]).await, "evaluation_before_change");
    let late = stage.evidence("app").await;
    assert_eq!(gaps(Some(&change), &[&late], &[approval]).await, "approval_before_evaluation");
    let other = stage.evidence("other").await;
    let wrong = "approval_before_evaluation evaluation_other_subject";
    assert_eq!(gaps(Some(&change), &[&other], &[approval]).await, wrong);
    let zero = "0".repeat(32);
    let (dec, evd, apr) = (format!("dec_{zero}"), format!("evd_{zero}"), format!("apr_{zero}"));
    let unknown = "approval_unknown change_unknown evaluation_unknown";
    let nobody = json!({"id": dec});
    assert_eq!(gaps(Some(&nobody), &[&evd], &[&apr]).await, unknown);
    // About something else, refused, not decided yet.
    let elsewhere = stage.change("other", json!({})).await;
    let report = stage.evidence("app").await;
    stage.vote(&elsewhere, "approve").await;
    let theirs = at(&elsewhere, "/approval/id");
    let wrong = "approval_other_subject change_other_subject";
    assert_eq!(gaps(Some(&elsewhere), &[&report], &[theirs]).await, wrong);
    let refused = stage.change("app", json!({})).await;
    let report = stage.evidence("app").await;
    stage.vote(&refused, "reject").await;
    let wrong = "approval_not_given change_not_permitted";
    assert_eq!(gaps(Some(&refused), &[&report], &[at(&refused, "/approval/id")]).await, wrong);
    // Olga's own change, permitted at once, and her approval of another's request about the same.
    let own = json!({"action": "note", "on_behalf_of": ["human:olga"]});
    let own = stage.change("app", own).await;
    let report = stage.evidence("app").await;
    let asked = stage.change("app", json!({})).await;
    stage.vote(&asked, "approve").await;
    let approval = at(&asked, "/approval/id");
    assert_eq!(gaps(Some(&own), &[&report], &[approval]).await, "approval_own");
    // Nine were registered, the first of them with all its papers: so say the figures.
    let ann = &stage.world.admin;
    let path = "/api/v1/metrics/governance";
    let share = json!({"releases": 9, "complete": 1, "percent": 11});
    for path in [path.to_owned(), format!("{path}?window=24h")] {
        assert_eq!(stage.world.get(&path, ann).await.ok()["lineage_share"], share);
    }
    // What was complete when it was registered stays so here, whatever becomes of its papers.
    let revoke = format!("/api/v1/evidence/{good}/revoke");
    stage.world.post(&revoke, &stage.ci, r#"{"reason":"flaky"}"#).await.ok();
    let metrics = stage.world.get("/metrics", "").await.text;
    for (lineage, count) in [("complete", 1), ("incomplete", 8)] {
        let line =
            format!("placet_releases_total{{workspace=\"main\",lineage=\"{lineage}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_alias_is_not_used_and_may_be_led_elsewhere() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let set = async |to: &str| {
        let body = json!({"name": "production", "to": to}).to_string();
        world.post("/api/v1/aliases", &stage.bot, &body).await
    };
    set("model:old").await.ok();
    let stop = |mode: &str| json!({"scope": "alias:production", "mode": mode}).to_string();
    world.post("/api/v1/overrides", &stage.olga, &stop("disable")).await.ok();
    // Its change is what mends it: no answer of it is held back either.
    assert_eq!(set("model:new").await.ok()["to"], "model:new");
    let used = json!({"surface": "git.change", "action": "note", "model": "production",
                      "idempotency_key": "used"});
    let used = world.post("/api/v1/decisions", &stage.bot, &used.to_string()).await.ok();
    assert_eq!(at(&used, "/reasons/0/code"), "disabled");
    world.post("/api/v1/overrides", &stage.olga, &stop("kill")).await.ok();
    set("model:newest").await.refused(403, "not_permitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_leads_to_no_release_without_its_papers() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let change = stage.change("app", json!({})).await;
    let evidence = stage.evidence("app").await;
    stage.vote(&change, "approve").await;
    let register = |name: &str, more: Value| {
        let mut body = json!({"name": name, "subject": sha("app")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let papers = json!({"change": change["id"], "evaluations": [evidence],
                        "approvals": [at(&change, "/approval/id")]});
    let path = "/api/v1/releases";
    let bare = world.post(path, &stage.bot, &register("bare", json!({}))).await;
    assert_eq!(bare.status, 201, "{bare:?}");
    let full = world.post(path, &stage.bot, &register("full", papers.clone())).await.json();
    assert_eq!(full["complete"], true, "{full}");
    // A name is for good.
    world.post(path, &stage.bot, &register("bare", papers)).await.refused(409, "already_exists");
    let set = async |to: &str| {
        let body = json!({"name": "production", "to": to}).to_string();
        world.post("/api/v1/aliases", &stage.bot, &body).await
    };
    set("release:bare").await.refused(403, "not_permitted");
    set("release:none").await.refused(403, "not_permitted");
    assert_eq!(set("release:full").await.ok()["to"], "release:full");
    let changed = set("model:small-1").await.ok();
    assert_eq!(changed["before"], "release:full");
    let shown = world.get("/api/v1/aliases/production", &stage.ci).await.ok();
    assert_eq!(shown["to"], "model:small-1");
    let listed = world.get("/api/v1/aliases", &stage.ci).await.ok();
    assert_eq!(listed["aliases"].as_array().unwrap().len(), 1);
    // What the release rests on is taken back: it shows, and it leads nowhere any more.
    let revoke = format!("/api/v1/evidence/{evidence}/revoke");
    world.post(&revoke, &stage.ci, r#"{"reason":"flaky"}"#).await.ok();
    let shown = world.get("/api/v1/releases/full", &stage.ci).await.ok();
    assert_eq!(shown["gaps"], json!(["evaluation_revoked"]));
    set("release:full").await.refused(403, "not_permitted");
    let page = world.get("/api/v1/releases?limit=1", &stage.ci).await.ok();
    assert_eq!(page["releases"][0]["name"], "full");
    let cursor = at(&page, "/next_cursor");
    let rest = world.get(&format!("/api/v1/releases?cursor={cursor}"), &stage.ci).await.ok();
    assert_eq!(rest["releases"][0]["name"], "bare");
    // Bad input names its field.
    for (body, field) in [
        (json!({"name": "a b", "subject": sha("x")}), "/name"),
        (json!({"name": "a", "subject": "sha256:1"}), "/subject"),
        (json!({"name": "a", "subject": sha("x"), "change": "c"}), "/change"),
        (json!({"name": "a", "subject": sha("x"), "evaluations": ["e"]}), "/evaluations/0"),
        (json!({"name": "a", "subject": sha("x"), "approvals": "a"}), "/approvals"),
    ] {
        let answer = world.post(path, &stage.bot, &body.to_string()).await;
        assert_eq!(answer.refused(400, "field_invalid")["field"], field);
    }
    let to = json!({"name": "production", "to": "prod"}).to_string();
    let answer = world.post("/api/v1/aliases", &stage.bot, &to).await;
    assert_eq!(answer.refused(400, "field_invalid")["field"], "/to");
    world.get("/api/v1/releases/none", &stage.ci).await.refused(404, "not_found");
    world.get("/api/v1/aliases/none", &stage.ci).await.refused(404, "not_found");
}

/// Between the decision and the change there is a moment; whoever uses it to take evidence back is not late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn papers_that_lapse_after_the_decision_lead_nowhere() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let change = stage.change("app", json!({})).await;
    let evidence = stage.evidence("app").await;
    stage.vote(&change, "approve").await;
    let papers = json!({"name": "full", "subject": sha("app"), "change": change["id"],
                        "evaluations": [evidence], "approvals": [at(&change, "/approval/id")]});
    let made = world.post("/api/v1/releases", &stage.bot, &papers.to_string()).await;
    assert_eq!(made.json()["complete"], true, "{made:?}");
    let (plane, root) = (world.plane.clone(), world.root());
    let keys = plane.keys_of(&root);
    let key = keys.iter().find(|key| key.actor.as_str() == "agent:bot").unwrap();
    let caller = Caller {
        workspace: root.name.clone(),
        environment: "production".into(),
        actor: key.actor.clone(),
        roles: key.roles.clone(),
        chain: Vec::new(),
    };
    let bot = Principal { caller, key: Some(key.key) };
    let decide = async |key: &str| {
        let nonce = format!("nonce-of-{key:0>20}");
        let body = alias_request("production", "release:full", key.to_owned(), nonce);
        let request = placet_types::Request::read(body, &bot.caller).unwrap();
        let decided = plane.decide(&root, &bot, &request).await.unwrap();
        assert!(decided.answer.event.permit.is_some(), "{:?}", decided.answer.event);
        decided.answer.event.decision
    };
    let set = async |decision| {
        let (name, to) = ("production".to_owned(), "release:full".to_owned());
        plane.change_alias(&root, &bot, name, to, decision).await
    };
    let (good, late) = (decide("good").await, decide("late").await);
    set(good).await.unwrap();
    let revoke = format!("/api/v1/evidence/{evidence}/revoke");
    world.post(&revoke, &stage.ci, r#"{"reason":"flaky"}"#).await.ok();
    let refused = set(late).await.unwrap_err();
    assert_eq!(refused.code(), "release_incomplete");
    assert!(refused.to_string().contains("evaluation_revoked"), "{refused}");
}

/// What is complete by other papers than the policy wants leads nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_says_of_what_the_papers_have_to_be() {
    let wants = POLICY.replace(
        "!verified.release.complete'",
        "(!verified.release.complete || verified.release.change_surface != \"git.change\" \
         || !(\"git.change\" in verified.release.approval_surfaces) \
         || !(\"test_report\" in verified.release.evaluation_types))'",
    );
    let stage = Stage::under(&wants).await;
    let set = async |to: &str| {
        let body = json!({"name": "production", "to": to}).to_string();
        stage.world.post("/api/v1/aliases", &stage.bot, &body).await
    };
    for (kind, by) in [("review", "ci"), ("test_report", "ci"), ("test_report", "bot")] {
        let change = stage.change("app", json!({})).await;
        let own = if by == "bot" { &stage.bot } else { &stage.ci };
        let report = json!({"type": kind, "digest": sha(&format!("r{}", stage.fresh())),
                            "subject": sha("app")});
        let report = stage.world.post("/api/v1/evidence", own, &report.to_string()).await.json();
        stage.vote(&change, "approve").await;
        let name = format!("{kind}-{by}");
        let body = json!({"name": name, "subject": sha("app"), "change": change["id"],
                          "evaluations": [report["id"]],
                          "approvals": [at(&change, "/approval/id")]});
        let made = stage.world.post("/api/v1/releases", &stage.bot, &body.to_string()).await.json();
        // Nobody evaluates their own change by their bare word.
        let gaps = if by == "bot" { json!(["evaluation_own"]) } else { json!([]) };
        assert_eq!(made["gaps"], gaps, "{made}");
        let led = set(&format!("release:{name}")).await;
        if name == "test_report-ci" {
            assert_eq!(led.ok()["to"], "release:test_report-ci");
        } else {
            led.refused(403, "not_permitted");
        }
    }
}
