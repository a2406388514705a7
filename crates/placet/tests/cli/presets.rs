//! The presets: each compiles without a word, decides as its source says, and is written by `init`.

use crate::support::{Run, Server, command, fed, placet, repository};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const NAMES: [&str; 5] = ["starter", "layers", "jobs", "duties", "evolution"];

fn dir(name: &str) -> String {
    repository(&format!("presets/{name}")).to_str().unwrap().to_owned()
}

fn sample(name: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/presets");
    fs::read_to_string(format!("{root}/{name}")).unwrap()
}

#[test]
fn init_writes_what_compiles_and_nothing_over_anything() {
    let listed = placet(&["policy", "presets", "--json"]).exits(0).json();
    let names: Vec<&str> = listed["presets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, NAMES);
    assert!(placet(&["policy", "presets"]).exits(0).out.contains("starter"));
    let scratch = tempfile::tempdir().unwrap();
    for name in NAMES {
        let target = scratch.path().join(name).join("policy");
        let target = target.to_str().unwrap();
        let written = placet(&["init", "--preset", name, target, "--json"]).exits(0).json();
        assert_eq!(written["preset"], name);
        let compiled = placet(&["policy", "compile", "--bundle", target, "--json"]).exits(0).json();
        assert_eq!(compiled["warnings"], json!([]), "{name}");
        let source =
            placet(&["policy", "compile", "--bundle", &dir(name), "--json"]).exits(0).json();
        assert_eq!(compiled["digest"], source["digest"]);
        let again = placet(&["init", "--preset", name, target, "--json"]).exits(1).json();
        assert_eq!(again["code"], "target_exists");
    }
    // A foreign document would be part of the policy.
    let foreign = scratch.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("mine.yml"), "version: v1\n").unwrap();
    placet(&["init", "--preset", "jobs", foreign.to_str().unwrap()]).exits(1);
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    let wrong = placet(&["init", "--preset", "startr", "x"]).exits(2);
    assert!(wrong.err.contains("did you mean starter?"), "{wrong:?}");
    // Without a terminal nobody can be asked.
    let unasked = placet(&["init"]).exits(2);
    assert!(unasked.err.contains("--preset is missing"), "{unasked:?}");
}

/// Decides several requests of one caller.
fn decided(bundle: &str, roles: &[&str], more: &[&str], requests: &[Value]) -> Vec<Value> {
    let lines: String = requests.iter().map(|it| format!("{it}\n")).collect();
    let mut args = vec!["decide", "-", "--lines", "--json", "--bundle", bundle];
    for role in roles {
        args.extend(["--role", role]);
    }
    args.extend(more);
    let Run { out, err, .. } = fed(&args, &lines);
    let documents: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), requests.len(), "{out}{err}");
    documents
}

/// The roles that have to approve, with counts.
fn demanded(document: &Value) -> BTreeMap<String, u64> {
    let missing = document["approval"]["missing"].as_object();
    let missing = missing.into_iter().flatten();
    missing.map(|(role, count)| (role.clone(), count.as_u64().unwrap())).collect()
}

/// Each line of a table: who asks for what, and what is answered.
#[test]
fn presets_decide_as_their_tables_say() {
    for name in NAMES {
        let (bundle, table) = (dir(name), sample(&format!("{name}.jsonl")));
        let mut outcomes = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for line in table.lines() {
            let case: Value =
                serde_json::from_str(line).unwrap_or_else(|it| panic!("{it}: {line}"));
            let words = |key: &str| -> Vec<&str> {
                let items = case[key].as_array().into_iter().flatten();
                items.map(|it| it.as_str().unwrap()).collect()
            };
            let environment = case["environment"].as_str().unwrap_or("production");
            let actor = case["actor"].as_str().unwrap_or("agent:worker");
            let more = ["--environment", environment, "--actor", actor];
            let mut request = case["request"].clone();
            request["idempotency_key"] = json!("k");
            let document = decided(&bundle, &words("roles"), &more, &[request]).remove(0);
            assert_eq!(document["outcome"], case["want"], "{name}: {line}\n{document:#}");
            assert_eq!(document["rules"], json!(words("rules")), "{name}: {line}");
            for key in ["constraints", "retry_after_ms"] {
                if let Some(wanted) = case.get(key) {
                    assert_eq!(document[key], *wanted, "{name}: {line}");
                }
            }
            if case.get("approval").is_some() || case["want"] == "REQUIRE_APPROVAL" {
                assert_eq!(json!(demanded(&document)), case["approval"], "{name}: {line}");
            }
            outcomes.insert(case["want"].as_str().unwrap().to_owned());
            let matched = document["matched"].as_array().unwrap().clone();
            seen.extend(matched.iter().map(|it| it["rule"].as_str().unwrap().to_owned()));
        }
        assert!(outcomes.len() >= 3, "{name} shows {outcomes:?} alone");
        // Every rule that a file of the preset spells out is met by some request of the table.
        for file in fs::read_dir(&bundle).unwrap() {
            let path = file.unwrap().path();
            let kind = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if !["rules", "floor"].contains(&kind.as_str()) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let ids = text.lines().filter_map(|line| {
                let rest = line.trim_start().strip_prefix("- ")?.trim_start_matches("{ ");
                Some(rest.strip_prefix("id: ")?.split(',').next()?.trim().to_owned())
            });
            // What comes after something else is asked by the cases with a history.
            for id in ids.filter(|id| id != "export-after-export") {
                assert!(seen.contains(&id), "{name}: no request of the table meets `{id}`");
            }
        }
    }
}

/// The cases that travel with each preset.
#[test]
fn presets_pass_their_own_cases() {
    for name in NAMES {
        let run = placet(&["policy", "test", "--bundle", &dir(name)]).exits(0);
        assert!(run.out.contains("pass"), "{name}: {run:?}");
        let tests = fs::read_to_string(format!("{}/tests.yaml", dir(name))).unwrap();
        assert!(tests.contains("must_deny: true"), "{name} says nothing of what must never be");
    }
}

const OWNERS: [(&str, char); 6] = [
    ("model_owner", 'M'),
    ("evaluation_owner", 'E'),
    ("security_owner", 'S'),
    ("data_owner", 'D'),
    ("software_owner", 'W'),
    ("release_owner", 'R'),
];

fn cell(document: &Value) -> String {
    match document["outcome"].as_str().unwrap() {
        "PERMIT" => "+".to_owned(),
        "DENY" => "-".to_owned(),
        "SILENCE" => "0".to_owned(),
        "REQUIRE_APPROVAL" => {
            let asked = demanded(document);
            assert!(asked.values().all(|count| *count == 1));
            let known = OWNERS.iter().filter(|(role, _)| asked.contains_key(*role));
            let letters: String = known.map(|(_, letter)| letter).collect();
            assert_eq!(letters.len(), asked.len(), "{asked:?}");
            letters
        }
        other => panic!("{other}"),
    }
}

/// The matrix as it is decided: for each action and resource a cell per role.
fn matrix(roles: &[&str], surfaces: &[&str]) -> String {
    let bundle = dir("duties");
    let mut cells: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for role in roles {
        let asked: Vec<(&str, &str)> =
            surfaces.iter().flat_map(|it| [(*it, "apply"), (*it, "read")]).collect();
        let requests: Vec<Value> = asked
            .iter()
            .map(|(surface, action)| {
                json!({"surface": surface, "action": action, "idempotency_key": "k"})
            })
            .collect();
        let documents = decided(&bundle, &[role], &["--actor", "human:one"], &requests);
        for (place, document) in asked.iter().zip(&documents) {
            cells.entry(*place).or_default().push(cell(document));
        }
    }
    let mut out = String::new();
    let mut row = |action: &str, surface: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|it| format!("{it:<11}")).collect();
        out.push_str(format!("{action:<8} {surface:<20} {}", cells.trim_end()).trim_end());
        out.push('\n');
    };
    let short: Vec<String> =
        roles.iter().map(|role| role.trim_end_matches("_owner").to_owned()).collect();
    row("action", "resource", &short);
    for surface in surfaces {
        let proposed = &cells[&(*surface, "apply")];
        row("propose", surface, proposed);
        // A role approves what is held for it, `*` whoever proposes, `some` for some proposers alone.
        let approving: Vec<String> = roles
            .iter()
            .map(|role| {
                let letter = OWNERS.iter().find(|(name, _)| name == role).map(|it| it.1);
                let open: Vec<&String> = proposed.iter().filter(|it| *it != "-").collect();
                let asked = open.iter().filter(|it| letter.is_some_and(|c| it.contains(c))).count();
                match asked {
                    0 => "-",
                    all if all == open.len() => "yes",
                    _ => "some",
                }
                .to_owned()
            })
            .collect();
        row("approve", surface, &approving);
        row("read", surface, &cells[&(*surface, "read")]);
    }
    out
}

/// The table, cell by cell: every role, every action, every resource of the preset.
#[test]
fn duties_are_separated_as_the_matrix_says() {
    let text = fs::read_to_string(format!("{}/surfaces.yaml", dir("duties"))).unwrap();
    let surfaces: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("  ")?.split(':').next()).collect();
    assert!(surfaces.len() >= 20);
    let mut roles: Vec<&str> = OWNERS.iter().map(|(role, _)| *role).collect();
    roles.extend(["auditor", "operator", "admin"]);
    let known: BTreeSet<&str> = placet_policy::built_in_roles().collect();
    assert_eq!(roles.iter().copied().collect::<BTreeSet<_>>(), known, "a role without a column");
    let golden = sample("duties.matrix");
    let wanted: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let found = matrix(&roles, &surfaces);
    if let Ok(path) = std::env::var("PLACET_MATRIX_OUT") {
        fs::write(path, &found).unwrap();
    }
    for (wanted, found) in wanted.iter().zip(found.lines()) {
        assert_eq!(*wanted, found);
    }
    assert_eq!(wanted.len(), found.lines().count(), "every cell has a line");
}

/// Required approvals, over all 64 combinations of their six conditions.
#[test]
fn required_approvals_are_those_of_the_table() {
    let mut requests = Vec::new();
    let mut expected: Vec<BTreeSet<&str>> = Vec::new();
    for bits in 0..64_u32 {
        let [lineage, permissions, high, code, evaluator, traffic] =
            [1, 2, 4, 8, 16, 32].map(|bit| bits & bit != 0);
        let list = |yes: bool, item: &str| if yes { json!([item]) } else { json!([]) };
        requests.push(json!({
            "surface": "model.change",
            "action": if high { "add-tool" } else { "update-adapter" },
            "idempotency_key": format!("k{bits}"),
            "arguments": {
                "datasets": list(lineage, "crawl-7"),
                "permissions": list(permissions, "tickets:read"),
                "code": list(code, "src/run.py"),
                "evaluators": list(evaluator, "suite-3"),
                "traffic_percent": i32::from(traffic) * 5,
                "task": { "offline": true, "sensitive": false },
            },
        }));
        let rows = [
            (true, "model_owner"),
            (lineage, "data_owner"),
            (permissions || high, "security_owner"),
            (code || evaluator, "software_owner"),
            (traffic, "release_owner"),
        ];
        expected.push(rows.into_iter().filter(|(on, _)| *on).map(|(_, role)| role).collect());
    }
    let documents = decided(&dir("duties"), &["proposer"], &[], &requests);
    for ((document, expected), bits) in documents.iter().zip(&expected).zip(0..) {
        assert_eq!(document["outcome"], "REQUIRE_APPROVAL", "{bits:06b}");
        let asked = demanded(document);
        let asked: BTreeSet<&str> = asked.keys().map(String::as_str).collect();
        assert_eq!(asked, *expected, "{bits:06b}");
    }
}

/// What the client merely says is not verified: an asserted false, or nothing at all, counts as true and
/// as high.
#[test]
fn an_asserted_false_demands_every_approval() {
    let all = ["data_owner", "model_owner", "release_owner", "security_owner", "software_owner"];
    let asserted = json!({
        "modifies_data_lineage": false, "expands_permissions": false, "modifies_code": false,
        "modifies_evaluator": false, "affects_production_traffic": false, "risk_tier": "low",
        "risk_level": 0,
    });
    let base =
        json!({"surface": "model.change", "action": "update-adapter", "idempotency_key": "k"});
    let with = |key: &str, value: Value| {
        let mut request = base.clone();
        request[key] = value;
        request
    };
    let requests = [
        base.clone(),
        with("context", asserted.clone()),
        with("arguments", asserted),
        with("labels", json!({"risk_tier": "low", "modifies_code": "false"})),
        with("risk_tags", json!(["low"])),
        with(
            "arguments",
            json!({"datasets": 0, "permissions": false, "code": null, "evaluators": 7, "traffic_percent": "0", "task": []}),
        ),
        with(
            "arguments",
            json!({"traffic_percent": -1, "task": {"offline": "true", "sensitive": "false"}}),
        ),
    ];
    for (document, request) in decided(&dir("duties"), &[], &[], &requests).iter().zip(&requests) {
        let asked = demanded(document);
        assert_eq!(asked.keys().map(String::as_str).collect::<Vec<_>>(), all, "{request}");
    }
    // Of each list: low is low for offline tasks that are not sensitive alone.
    let change = |action: &str, offline: bool, sensitive: bool| {
        json!({"surface": "model.change", "action": action, "idempotency_key": "k", "arguments": {
            "datasets": [], "permissions": [], "code": [], "evaluators": [], "traffic_percent": 0,
            "task": {"offline": offline, "sensitive": sensitive}}})
    };
    let mut cases = Vec::new();
    for action in ["quantize", "update-adapter"] {
        cases.push((change(action, true, false), false));
        cases.push((change(action, false, false), true));
        cases.push((change(action, true, true), true));
    }
    for action in [
        "add-tool",
        "open-network",
        "use-personal-data",
        "execute-code",
        "change-policy-semantics",
        "plan-autonomously",
        "move-data-across-jurisdictions",
        "something-new",
    ] {
        cases.push((change(action, true, false), true));
    }
    let requests: Vec<Value> = cases.iter().map(|(request, _)| request.clone()).collect();
    for (document, (request, high)) in
        decided(&dir("duties"), &[], &[], &requests).iter().zip(&cases)
    {
        assert_eq!(demanded(document).contains_key("security_owner"), *high, "{request}");
    }
}

/// By a server: roles come from the key, whatever a request says of itself.
#[test]
fn a_key_does_what_its_roles_may() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data").to_str().unwrap().to_owned();
    let bundle = dir("layers");
    let mut up = command(&["up", "--listen", "127.0.0.1:0", "--bundle", &bundle, "--data", &data]);
    up.args(["--admin", "human:ann"]);
    let mut server = Server::listening(up, scratch);
    let ann = server.key.clone().unwrap();
    let key = |actor: &str, role: &str| {
        let made = ["key", "create", actor, "--role", role, "--json"];
        let made = server.run_as(&ann, &made).exits(0).json();
        made["key"].as_str().unwrap().to_owned()
    };
    let (scribe, seller) = (key("agent:scribe", "analyst"), key("agent:seller", "sales"));
    let lea = key("human:lea", "sales_lead");
    let ask = |key: &str, name: &str, request: Value| {
        let file = server.file(name);
        fs::write(&file, request.to_string()).unwrap();
        server.run_as(key, &["decide", &file, "--json"])
    };
    let update = |key: &str| {
        json!({"surface": "crm.record", "action": "update", "idempotency_key": key,
            "capability": "crm-writer", "branch": "stable", "attempt_nonce": format!("attempt-1-of-{key}-0000000000")})
    };
    // A capability that the key may not use, with every claim that a client can make.
    let mut claims = update("claims");
    claims["labels"] = json!({"role": "sales", "roles": "sales", "capability": "crm-writer"});
    claims["context"] = json!({"roles": ["sales"], "verified": {"roles": ["sales"]}});
    claims["arguments"] = json!({"roles": ["sales"], "caller": {"roles": ["sales"]}});
    claims["risk_tags"] = json!(["sales"]);
    claims["team"] = json!("sales");
    let refused = ask(&scribe, "claims.json", claims).exits(12).json();
    assert_eq!(refused["rules"], json!(["access:capability:crm-writer/allowed_roles"]));
    assert_eq!(refused["reasons"][0]["code"], "role_not_allowed");
    // Fields that no request has are refused before any policy.
    for field in ["roles", "role", "properties", "caller", "verified"] {
        let mut request = update("field");
        request[field] = json!({"roles": ["sales"]});
        let run = ask(&scribe, "field.json", request).exits(1);
        assert_eq!(run.json()["code"], "field_unknown", "{field}");
    }
    // Its own capability outside its manifest, and one that nobody described.
    let mut outside = update("outside");
    outside["capability"] = json!("weekly-report");
    assert_eq!(
        ask(&scribe, "outside.json", outside).exits(12).json()["rules"],
        json!(["access:capability:weekly-report/permissions"])
    );
    let mut unknown = update("unknown");
    unknown["capability"] = json!("CRM-writer");
    let unknown = ask(&scribe, "unknown.json", unknown).exits(12).json();
    assert_eq!(unknown["reasons"][0]["code"], "capability_unknown");
    // The checkpoint waits for its role, which an admin is not.
    let held = ask(&seller, "held.json", update("held")).exits(10).json();
    assert_eq!(held["rules"], json!(["access:checkpoint:crm-writer/writes"]));
    assert_eq!(held["reasons"][0]["text"], "A person of sales looks at every change of a record");
    let (decision, digest) =
        (held["id"].as_str().unwrap(), held["action_digest"].as_str().unwrap());
    let approve = ["approve", "--decision", decision, "--digest", digest, "--json"];
    assert_eq!(server.run_as(&ann, &approve).exits(1).json()["code"], "role_missing");
    server.run_as(&lea, &approve).exits(0);
    let file = server.file("held.json");
    let run = server.run_as(&seller, &["decide", &file, "--wait", "5s", "--json"]).exits(0);
    assert_eq!(run.json()["permit"]["state"], "granted");
    // All of it is decided again from the log, word for word.
    server.stop();
    let replay = placet(&["audit", "replay", "--data", &data, "--json"]).exits(0).json();
    assert_eq!(replay["differences"], 0, "{replay}");
    assert!(replay["decisions"].as_u64().unwrap() >= 4, "{replay}");
}

/// The commands of the product under the words of the preset: releases are registered and aliases changed.
#[test]
fn releases_and_aliases_go_the_way_of_the_preset() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data").to_str().unwrap().to_owned();
    let bundle = dir("evolution");
    let up = command(&["up", "--listen", "127.0.0.1:0", "--bundle", &bundle, "--data", &data]);
    let server = Server::listening(up, scratch);
    let admin = server.key.clone().unwrap();
    let key = |actor: &str, role: &str| {
        let made = ["key", "create", actor, "--role", role, "--json"];
        let made = server.run_as(&admin, &made).exits(0).json();
        made["key"].as_str().unwrap().to_owned()
    };
    let (rel, mo) = (key("human:rel", "release_owner"), key("human:mo", "model_owner"));
    let subject = format!("sha256:{}", "4".repeat(64));
    let register = ["release", "register", "app-1", "--subject", &subject, "--json"];
    assert_eq!(server.run_as(&mo, &register).exits(1).json()["code"], "not_permitted");
    server.run_as(&rel, &register).exits(0);
    let set = ["alias", "set", "prod", "--to", "release:app-1", "--json"];
    assert_eq!(server.run_as(&mo, &set).exits(1).json()["code"], "not_permitted");
    let held = server.run_as(&rel, &set).exits(10).json();
    assert_eq!(held["decision"]["rules"], json!(["alias"]));
    assert_eq!(demanded(&held["decision"]), BTreeMap::from([("model_owner".to_owned(), 1)]));
    let again = held["idempotency_key"].as_str().unwrap();
    let set: Vec<&str> = set.iter().copied().chain(["--idempotency-key", again]).collect();
    // Held it leads nowhere yet; approved by the model owner it does.
    server.run_as(&rel, &set).exits(10);
    let (decision, digest) = (&held["decision"]["id"], &held["decision"]["action_digest"]);
    let (decision, digest) = (decision.as_str().unwrap(), digest.as_str().unwrap());
    let approve = ["approve", "--decision", decision, "--digest", digest, "--json"];
    assert_eq!(server.run_as(&admin, &approve).exits(1).json()["code"], "role_missing");
    server.run_as(&mo, &approve).exits(0);
    server.run_as(&rel, &set).exits(0);
    let shown = server.run_as(&rel, &["alias", "show", "prod", "--json"]).exits(0).json();
    assert_eq!(shown["to"], "release:app-1", "{shown}");
}
