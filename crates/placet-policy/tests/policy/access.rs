//! Manifests, roles, models and approvals: what each demands, what attackers try, what does not compile.

use crate::support::{Sha2, bundle, caller, compile, render, request};
use placet_policy::{Bundle, Scratch, naive};
use placet_types::policy::{Combined, Layer, Outcome, Reason, Velocity, combine};
use placet_types::{Caller, Request};

fn with_roles(roles: &[&str]) -> Caller {
    Caller { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..caller() }
}

/// Decides as the index, the reference, the explanation and the bundle read back from its bytes do.
fn decide(bundle: &Bundle, request: &Request, caller: &Caller) -> Combined {
    let verdict = bundle.evaluate(request, caller, &mut Scratch::default());
    assert_eq!(verdict, naive::evaluate(bundle, request, caller, None));
    assert_eq!(verdict, bundle.explain(request, caller).verdict());
    let again = Bundle::from_normalised::<Sha2>(bundle.normalised()).unwrap();
    assert_eq!(verdict, again.evaluate(request, caller, &mut Scratch::default()));
    for hit in &verdict.hits {
        assert_eq!(bundle.rule(&hit.rule.id), Some(&hit.rule), "{}", hit.rule.id);
        assert_eq!(Layer::of(&hit.rule.id, hit.rule.layer == Layer::Rules), hit.rule.layer);
        assert!(bundle.rules().any(|rule| rule == &hit.rule));
    }
    combine(&verdict, |_| Velocity::Open)
}

/// `DENY role_not_allowed access:…` or `REQUIRE_APPROVAL a:1 b:2` or another outcome.
#[track_caller]
fn says(bundle: &Bundle, body: &str, roles: &[&str], expected: &str) {
    let combined = decide(bundle, &request(body), &with_roles(roles));
    let mut text = combined.outcome.as_str().to_owned();
    if combined.outcome == Outcome::Deny {
        for reason in &combined.reasons {
            text.push_str(&format!(" {}", reason.as_str()));
        }
        for rule in &combined.deciding {
            text.push_str(&format!(" {}", rule.id));
        }
    }
    for (role, count) in combined.approval.iter().flat_map(|it| &it.roles) {
        text.push_str(&format!(" {role}:{count}"));
    }
    assert_eq!(text, expected, "{body} by {roles:?}");
}

const CRM: &str = r#"version: v1
rules:
  - { id: all, match: {}, decision: allow }
capabilities:
  crm-writer:
    owner: crm
    description: writes what the sales team agreed on
    allowed_roles: [sales]
    surfaces: ["crm.**", llm.call]
    models: [small]
    branches: [v1, v2]
    permissions: ["propose:crm.record/*", "propose:llm.call", "read:crm.**/read"]
    ceilings: { credits: "12.50", tokens: 100000 }
    checkpoints:
      - { id: deletes, actions: [delete], roles: { crm_lead: 1 }, expires: 10m }
  reporter:
    allowed_roles: ["*"]
    surfaces: ["report.*"]
    models: []
"#;

#[test]
fn a_capability_stays_inside_its_manifest() {
    let bundle = bundle(CRM);
    let crm = |more: &str| {
        format!(
            r#"{{"surface":"crm.record","action":"update","capability":"crm-writer","branch":"v1"{more}}}"#
        )
    };
    says(&bundle, &crm(""), &["sales"], "PERMIT");
    says(&bundle, &crm(r#","model":"small""#), &["sales", "other"], "PERMIT");
    let deny = |what: &str, code: &str| format!("DENY {code} access:capability:crm-writer/{what}");
    says(&bundle, &crm(""), &["support"], &deny("allowed_roles", "role_not_allowed"));
    says(&bundle, &crm(""), &[], &deny("allowed_roles", "role_not_allowed"));
    says(&bundle, &crm(r#","model":"large""#), &["sales"], &deny("models", "outside_manifest"));
    says(&bundle, &crm("").replace("v1", "v3"), &["sales"], &deny("branches", "outside_manifest"));
    let no_branch = r#"{"surface":"crm.record","action":"update","capability":"crm-writer"}"#;
    says(&bundle, no_branch, &["sales"], &deny("branches", "outside_manifest"));
    let elsewhere = crm("").replace("crm.record", "llm.chat");
    says(
        &bundle,
        &elsewhere,
        &["sales"],
        "DENY outside_manifest access:capability:crm-writer/permissions access:capability:crm-writer/surfaces",
    );
    let note = crm("").replace("crm.record", "crm.note");
    says(&bundle, &note, &["sales"], &deny("permissions", "outside_manifest"));
    says(&bundle, &note.replace("update", "read"), &["sales"], "PERMIT");
    says(&bundle, &crm("").replace("update", "delete"), &["sales"], "REQUIRE_APPROVAL crm_lead:1");
    // Any role is a role; an empty list allows nothing.
    let report = r#"{"surface":"report.week","action":"make","capability":"reporter"}"#;
    says(&bundle, report, &["anything"], "PERMIT");
    says(&bundle, report, &[], "DENY role_not_allowed access:capability:reporter/allowed_roles");
    let model =
        r#"{"surface":"report.week","action":"make","capability":"reporter","model":"small"}"#;
    says(&bundle, model, &["x"], "DENY outside_manifest access:capability:reporter/models");
    // Who names no capability is not touched; who names an unknown one is refused.
    says(&bundle, r#"{"surface":"crm.record","action":"update"}"#, &[], "PERMIT");
    let unknown = r#"{"surface":"report.week","capability":"reporter2"}"#;
    says(&bundle, unknown, &["sales"], "DENY capability_unknown access:capability-unknown");
}

const ROLES: &str = r#"version: v1
rules:
  - { id: all, match: {}, decision: allow }
roles:
  payer:
    description: pays
    owner: finance
    may: ["propose:payments.transfer", "propose:payments.refund/create", "read:audit.**"]
    must_not_alone:
      - { id: refunds, permission: "propose:payments.refund", approvers: { controller: 2 }, expires: 5m, reason: two controllers }
  controller:
    may: ["approve:payments.**"]
    must_not_alone:
      - { id: bulk, permission: "approve:payments.bulk", approvers: { chief: 1 } }
  chief: { may: ["approve:payments.bulk"] }
"#;

#[test]
fn what_some_role_may_propose_nobody_else_proposes() {
    let bundle = bundle(ROLES);
    let on =
        |surface: &str, action: &str| format!(r#"{{"surface":"{surface}","action":"{action}"}}"#);
    let refused = "DENY role_not_allowed access:role-required";
    says(&bundle, &on("payments.transfer", "create"), &["payer"], "PERMIT");
    says(&bundle, &on("payments.transfer", "create"), &["controller"], refused);
    says(&bundle, &on("payments.transfer", "create"), &[], refused);
    // A permission with actions speaks of these actions alone.
    says(&bundle, &on("payments.refund", "create"), &["payer"], "REQUIRE_APPROVAL controller:2");
    says(&bundle, &on("payments.refund", "create"), &["controller"], refused);
    says(&bundle, &on("payments.refund", "list"), &["controller"], "PERMIT");
    says(&bundle, &on("payments.refund", "list"), &["payer"], "REQUIRE_APPROVAL controller:2");
    // Nobody holds the permission to propose it, so roles say nothing of it.
    says(&bundle, &on("weather.change", "rain"), &[], "PERMIT");
    // What an approver must not approve alone asks for the other one, whoever proposes.
    says(&bundle, &on("payments.bulk", "create"), &["x"], "REQUIRE_APPROVAL chief:1");
    // Built-in roles hold where there is a document.
    says(&bundle, &on("alias.change", "switch"), &["release_owner"], "PERMIT");
    says(&bundle, &on("alias.change", "switch"), &["payer"], refused);
    says(
        &bundle,
        &on("evaluation.result", "edit"),
        &["release_owner"],
        "REQUIRE_APPROVAL evaluation_owner:1",
    );
    says(&bundle, &on("evaluation.result", "edit"), &["evaluation_owner"], "PERMIT");
    // An auditor reads, and holding another role as well changes nothing.
    let read_only = "DENY role_not_allowed access:read-only:auditor";
    says(&bundle, &on("weather.change", "read"), &["auditor"], "PERMIT");
    says(&bundle, &on("weather.change", "rain"), &["auditor"], read_only);
    says(&bundle, &on("payments.transfer", "create"), &["auditor", "payer"], read_only);
}

#[test]
fn without_a_document_of_roles_no_role_is_special() {
    let bundle = bundle("version: v1\nrules: [{ id: all, match: {}, decision: allow }]\n");
    says(&bundle, r#"{"surface":"alias.change","action":"switch"}"#, &["auditor"], "PERMIT");
    assert_eq!(bundle.rules().count(), 1);
    let with = crate::support::bundle(
        "version: v1\nroles: {}\nrules: [{ id: all, match: {}, decision: allow }]\n",
    );
    assert_ne!(with.digest(), bundle.digest());
    says(
        &with,
        r#"{"surface":"alias.change","action":"switch"}"#,
        &["operator"],
        "DENY role_not_allowed access:role-required",
    );
}

#[test]
fn admins_keep_what_the_constitution_leaves_them() {
    let bundle = bundle(
        "version: v1\nroles:\n  admin: { may: [] }\n  grabber: { may: [\"propose:policy.publish\"] }\nrules: [{ id: all, match: {}, decision: allow }]\n",
    );
    let publish = r#"{"surface":"policy.publish","action":"publish"}"#;
    says(&bundle, publish, &["admin"], "PERMIT");
    says(&bundle, publish, &["x"], "DENY role_not_allowed access:role-required");
}

const MODELS: &str = r#"version: v1
rules:
  - { id: all, match: {}, decision: allow }
models:
  allow: [small, large, vision]
  routes:
    - { id: support, teams: [support], models: [small] }
    - { id: vision, capabilities: [scan], models: [vision, small] }
    - { id: both, capabilities: [scan], teams: [lab], models: [large] }
"#;

#[test]
fn a_model_off_the_list_is_not_called() {
    let bundle = bundle(MODELS);
    let ask = |more: &str| format!(r#"{{"surface":"llm.call"{more}}}"#);
    says(&bundle, &ask(""), &[], "PERMIT");
    says(&bundle, &ask(r#","model":"large""#), &[], "PERMIT");
    let refused = "DENY model_not_allowed models:not-allowed";
    says(&bundle, &ask(r#","model":"huge""#), &[], refused);
    says(&bundle, &ask(r#","model":"Large""#), &[], refused);
    let off = "DENY model_not_allowed models:off-route";
    says(&bundle, &ask(r#","model":"large","team":"support""#), &[], off);
    says(&bundle, &ask(r#","model":"small","team":"support""#), &[], "PERMIT");
    says(&bundle, &ask(r#","model":"large","capability":"scan""#), &[], off);
    says(&bundle, &ask(r#","model":"large","capability":"scan","team":"lab""#), &[], "PERMIT");
    says(
        &bundle,
        &ask(r#","model":"huge","team":"support""#),
        &[],
        "DENY model_not_allowed models:not-allowed models:off-route",
    );
}

const APPROVALS: &str = r#"version: v1
rules:
  - { id: reads, match: { actions: [read] }, decision: allow }
  - { id: changes, match: { surfaces: [model.change] }, decision: allow }
derivers:
  - id: code
    match: { when: "size(request.arguments.files) > 0" }
    facts: { code: true }
  - id: no-code
    match: { when: "size(request.arguments.files) == 0" }
    facts: { code: false }
approvals:
  - id: owner
    match: { surfaces: [model.change] }
    roles: { model_owner: 1 }
    expires: 2h
    escalate: [{ after: 30m, roles: { admin: 1 } }, { after: 1h, roles: { operator: 2 } }]
    remind: 15m
    reason: every change
    owner: models
  - id: code
    match: { surfaces: [model.change], when: "verified.code" }
    roles: { software_owner: 2, model_owner: 1 }
    expires: 30m
    use_within: 10m
"#;

#[test]
fn rows_add_up_and_what_cannot_be_told_is_demanded() {
    let bundle = bundle(APPROVALS);
    let change =
        |arguments: &str| format!(r#"{{"surface":"model.change","action":"apply"{arguments}}}"#);
    says(&bundle, &change(r#","arguments":{"files":[]}"#), &[], "REQUIRE_APPROVAL model_owner:1");
    let both = "REQUIRE_APPROVAL model_owner:1 software_owner:2";
    says(&bundle, &change(r#","arguments":{"files":["a.rs"]}"#), &[], both);
    // Missing, of another type, or merely asserted: the approval is demanded.
    says(&bundle, &change(""), &[], both);
    says(&bundle, &change(r#","arguments":{"files":7}"#), &[], both);
    says(&bundle, &change(r#","context":{"code":false}"#), &[], both);
    // Rows restrict and never grant.
    says(&bundle, r#"{"surface":"model.other","action":"apply"}"#, &[], "SILENCE");
    says(&bundle, r#"{"surface":"model.change2","action":"read"}"#, &[], "PERMIT");
    let held = decide(&bundle, &request(&change("")), &with_roles(&[]));
    let spec = held.approval.unwrap();
    assert_eq!((spec.expires_ms, spec.use_within_ms), (1_800_000, 600_000));
    assert_eq!(held.reasons, [Reason::ApprovalRule, Reason::ConditionError]);
    let text = String::from_utf8_lossy(bundle.normalised()).into_owned();
    let row = r#"{"escalate":[{"after":1800000,"roles":{"admin":1}},{"after":3600000,"roles":{"operator":2}}],"expires":7200000,"id":"owner","match":{"surfaces":["model.change"]},"owner":"models","reason":"every change","remind":900000,"roles":{"model_owner":1},"use_within":3600000}"#;
    assert!(text.contains(row), "{text}");
}

#[test]
fn a_tier_is_at_least_high_where_it_cannot_be_told() {
    let bundle = bundle(
        "version: v1\nderivers:\n  - { id: low, match: { when: \"request.arguments.offline\" }, risk_tier: low }\nrules: [{ id: all, match: {}, decision: allow }]\napprovals:\n  - { id: high, match: { when: \"verified.risk_level >= 2\" }, roles: { security_owner: 1 } }\n",
    );
    says(&bundle, r#"{"arguments":{"offline":true}}"#, &[], "PERMIT");
    for arguments in [
        "",
        r#""arguments":{}"#,
        r#""arguments":{"offline":"true"}"#,
        r#""arguments":{"offline":false}"#,
    ] {
        says(&bundle, &format!("{{{arguments}}}"), &[], "REQUIRE_APPROVAL security_owner:1");
    }
}

#[test]
fn what_a_client_says_is_no_role() {
    let all =
        format!("{CRM}{}", ROLES.split_once("roles:").map(|it| format!("roles:{}", it.1)).unwrap());
    let all = all.replace("  controller:", "  sales: {}\n  crm_lead: {}\n  controller:");
    let bundle = bundle(&all);
    let refused = "DENY role_not_allowed access:role-required";
    let claims = [
        r#""labels":{"role":"payer","roles":"payer"}"#,
        r#""context":{"role":"payer","roles":["payer"],"caller":{"roles":["payer"]}}"#,
        r#""arguments":{"roles":["payer"],"verified":{"roles":["payer"]}}"#,
        r#""risk_tags":["payer","role:payer"]"#,
        r#""team":"payer""#,
        r#""on_behalf_of":["human:payer"]"#,
        r#""labels":{"verified.roles":"payer"}"#,
    ];
    for claim in claims {
        let body = format!(r#"{{"surface":"payments.transfer","action":"create",{claim}}}"#);
        says(&bundle, &body, &["support"], refused);
    }
    // Names that look alike are other names.
    for role in [
        "Payer",
        "PAYER",
        "payer ",
        " payer",
        "pаyer",
        "payer\u{200b}",
        "ｐayer",
        "payer/x",
        "pay",
        "payers",
    ] {
        says(&bundle, r#"{"surface":"payments.transfer","action":"create"}"#, &[role], refused);
    }
    // So are capabilities, and a role that may not trigger one does not by naming it.
    let step = |name: &str| {
        format!(
            r#"{{"surface":"crm.record","action":"update","capability":"{name}","branch":"v1"}}"#
        )
    };
    says(
        &bundle,
        &step("crm-writer"),
        &["payer"],
        "DENY role_not_allowed access:capability:crm-writer/allowed_roles",
    );
    for name in
        ["CRM-writer", "crm-Writer", "crm-writer/", "crm_writer", "crm-writer:v1", "crm.writer"]
    {
        says(&bundle, &step(name), &["sales"], "DENY capability_unknown access:capability-unknown");
    }
    // A label is no capability.
    let label = r#"{"surface":"crm.record","action":"delete","labels":{"capability":"reporter"},"capability":"crm-writer","branch":"v1"}"#;
    says(&bundle, label, &["sales"], "REQUIRE_APPROVAL crm_lead:1");
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let found = compile(&format!("version: v1\n{text}")).map(|_| ()).unwrap_err();
    let text = render(&found);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn what_cannot_be_meant_does_not_compile() {
    // An approval by a role that nobody can have.
    let roles = "roles: { payer: {} }\n";
    let unknown = "error[undeclared_role]: `roles:` does not know the role";
    refuses(
        &format!("{roles}approvals: [{{ id: a, match: {{}}, roles: {{ payr: 1 }} }}]"),
        &format!("3:42: {unknown} `payr`"),
    );
    refuses(
        &format!("{roles}approvals: [{{ id: a, match: {{}}, roles: {{ payr: 1 }} }}]"),
        "did you mean `payer`?",
    );
    refuses(
        &format!(
            "{roles}approvals: [{{ id: a, match: {{}}, roles: {{ payer: 1 }}, escalate: [{{ after: 1m, roles: {{ Payer: 1 }} }}] }}]"
        ),
        unknown,
    );
    refuses(
        &format!("{roles}rules: [{{ id: a, match: {{ roles: [payr] }}, decision: deny }}]"),
        unknown,
    );
    refuses(
        &format!(
            "{roles}rules: [{{ id: a, match: {{}}, decision: require_approval, approval: {{ roles: {{ x: 1 }} }} }}]"
        ),
        unknown,
    );
    refuses(
        &format!("{roles}capabilities: {{ c: {{ allowed_roles: [pay], surfaces: [\"**\"] }} }}"),
        unknown,
    );
    refuses(
        "roles: { a: { must_not_alone: [{ id: x, permission: \"propose:a\", approvers: { b: 1 } }] } }",
        unknown,
    );
    // An approval by a role that may not approve there.
    let may = "roles: { payer: { may: [\"approve:payments.**\"] } }\n";
    refuses(
        &format!(
            "{may}rules: [{{ id: a, match: {{ surfaces: [payments.out] }}, decision: require_approval }}]"
        ),
        "`a` asks for an approval by `operator`, who may not approve on `payments.out`",
    );
    refuses(
        &format!(
            "{may}approvals: [{{ id: a, match: {{ surfaces: [payments.out] }}, roles: {{ payer: 1, admin: 1 }} }}]"
        ),
        "`approvals:a` asks for an approval by `admin`",
    );
    for good in [
        format!(
            "{may}approvals: [{{ id: a, match: {{ surfaces: [payments.out] }}, roles: {{ payer: 1 }} }}]"
        ),
        format!(
            "{may}approvals: [{{ id: a, match: {{ surfaces: [other] }}, roles: {{ operator: 1 }} }}]"
        ),
    ] {
        assert!(compile(&format!("version: v1\n{good}")).is_ok(), "{good}");
    }
    refuses("roles: { a: { may: [payments] } }", "no permission: there is no colon");
    refuses("roles: { a: { may: [\"proposes:x\"] } }", "unknown verb `proposes`");
    refuses("roles: { a: { may: [\"propose:pay*\"] } }", "glued");
    refuses("roles: { a: { may: [\"propose:a/b/c\"] } }", "no permission");
    refuses(
        "roles: { a: { must_not_alone: [{ id: x, permission: \"read:a\", approvers: { admin: 1 } }] } }",
        "does not take `read`",
    );
    refuses("roles: { admin: { read_only: true } }", "`admin` cannot be `read_only`");
    refuses("capabilities: { c: { allowed_roles: [a] } }", "`surfaces` of `c` is missing");
    refuses(
        "capabilities: { c: { allowed_roles: [a], surfaces: [b], permissions: [\"approve:b\"] } }",
        "does not take `approve`",
    );
    refuses(
        "capabilities: { c: { allowed_roles: [a], surface: [b] } }",
        "did you mean `surfaces`?",
    );
    refuses(
        "models: { allow: [small], routes: [{ id: r, models: [large] }] }",
        "the model `large` is not on the allow list",
    );
    refuses(
        "models: { allow: [small] }\ncapabilities: { c: { allowed_roles: [a], surfaces: [b], models: [large] } }",
        "the model `large` is not on the allow list",
    );
    refuses("approvals: [{ id: a, match: {} }]", "`roles` is missing");
    refuses("approvals: [{ id: a, match: {}, roles: {} }]", "names 1 to 16 roles");
    refuses("approvals: [{ id: a, match: {}, roles: { b: 0 } }]", "lies between 1 and 16");
    refuses("approvals: [{ id: a, match: {}, roles: { b: 1 }, remind: 2h }]", "expired");
    refuses(
        "approvals: [{ id: a, match: {}, roles: { b: 1 }, escalate: [{ after: 5m, roles: { c: 1 } }, { after: 5m, roles: { d: 1 } }] }]",
        "later than the one before",
    );
    refuses(
        "approvals: [{ id: a, match: {}, roles: { b: 1 }, decision: deny }]",
        "unknown key `decision`",
    );
    refuses(
        "approvals: [{ id: a, match: {}, roles: { b: 1 } }, { id: a, match: {}, roles: { b: 1 } }]",
        "duplicate",
    );
    let long = "x".repeat(129);
    refuses(
        &format!("capabilities: {{ {long}: {{ allowed_roles: [a], surfaces: [b] }} }}"),
        "more than 128 bytes",
    );
}

#[test]
fn documents_of_names_are_united() {
    use crate::support::source;
    let part = |name: &str| {
        source(
            &format!("{name}.yaml"),
            &format!(
                "version: v1\ncapabilities: {{ {name}: {{ allowed_roles: [a], surfaces: [b] }} }}\n"
            ),
        )
    };
    let one = Bundle::compile::<Sha2>(&[part("x"), part("y")]).unwrap();
    let two = Bundle::compile::<Sha2>(&[part("y"), part("x")]).unwrap();
    assert_eq!(one.normalised(), two.normalised());
    let found = Bundle::compile::<Sha2>(&[part("x"), part("x")]).unwrap_err();
    assert!(render(&found).contains("duplicate `x` in `capabilities`"), "{}", render(&found));
}

#[test]
fn an_explanation_tells_what_a_demand_came_to() {
    let bundle = bundle(CRM);
    let body = r#"{"surface":"crm.record","action":"update","capability":"crm-writer","branch":"v1","model":"large"}"#;
    let text = bundle.explain(&request(body), &with_roles(&["sales"])).to_string();
    for line in [
        "access access:capability:crm-writer/allowed_roles (deny): not matched\n  + allowed_roles: sales among sales\n",
        "access access:capability:crm-writer/models (deny): matched\n  - models: large, wanted small\n",
        "rules all (allow): matched\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("reporter"), "{text}");
}

#[test]
fn editors_get_a_schema_of_each_document() {
    let schemas: std::collections::BTreeMap<_, _> = placet_policy::schemas().collect();
    let property = |kind: &str, key: &str| {
        let schema = &schemas[kind];
        let of = schema.get("items").or_else(|| schema.get("additionalProperties"));
        let properties =
            of.and_then(|it| it.get("properties")).or_else(|| schema.get("properties"));
        properties.and_then(|it| it.get(key)).is_some()
    };
    for (kind, key) in [
        ("capabilities", "checkpoints"),
        ("roles", "must_not_alone"),
        ("approvals", "escalate"),
        ("approvals", "match"),
        ("models", "allow"),
    ] {
        assert!(property(kind, key), "{kind} {key}");
        assert!(!property(kind, "nonsense"));
    }
}
