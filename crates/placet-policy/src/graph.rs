//! An explanation as nodes and edges: layers, the rules of each, the clauses of each rule, each with its
//! state. For a console to draw; says nothing that the trace does not.

use crate::explain::{ClauseTrace, Finding, RuleTrace, Trace};
use placet_types::json::{Object, Value};
use placet_types::policy::ConditionError;

impl Trace {
    /// `{nodes: [{id, kind, label, state}], edges: [{from, to}]}`. Kinds are `request`, `layer`, `rule`,
    /// `clause`, `condition` and `term`; states are `matched`, `not_matched`, `failed` and, for a rule
    /// that matched and does not apply, `idle`. Ids are stable for one bundle.
    #[must_use]
    pub fn graph(&self) -> Value {
        let mut graph = Graph::default();
        graph.node("request", "request", "request", "matched");
        let mut layer = "";
        for rule in &self.rules {
            let name = rule.rule.layer.as_str();
            let id = format!("layer:{name}");
            if layer != name {
                layer = name;
                let of_layer = self.rules.iter().filter(|it| it.rule.layer == rule.rule.layer);
                let matched = of_layer.into_iter().any(|it| it.matched);
                graph.node(&id, "layer", name, if matched { "matched" } else { "not_matched" });
                graph.edge("request", &id);
            }
            graph.rule(&id, rule);
        }
        Value::Object(Object::new().with("nodes", graph.nodes).with("edges", graph.edges))
    }
}

#[derive(Default)]
struct Graph {
    nodes: Vec<Value>,
    edges: Vec<Value>,
}

fn state(truth: Result<bool, ConditionError>) -> &'static str {
    match truth {
        Ok(true) => "matched",
        Ok(false) => "not_matched",
        Err(_) => "failed",
    }
}

impl Graph {
    fn node(&mut self, id: &str, kind: &str, label: &str, state: &str) {
        let node = Object::new()
            .with("id", id)
            .with("kind", kind)
            .with("label", label)
            .with("state", state);
        self.nodes.push(Value::Object(node));
    }

    fn edge(&mut self, from: &str, to: &str) {
        self.edges.push(Value::Object(Object::new().with("from", from).with("to", to)));
    }

    fn rule(&mut self, layer: &str, rule: &RuleTrace) {
        let id = format!("rule:{}", rule.rule.id);
        let error = rule.condition.as_ref().and_then(|condition| condition.value.err());
        let whole = match (rule.matched, error) {
            (true, Some(_)) => "failed",
            (true, None) => "matched",
            (false, _) => "not_matched",
        };
        let idle = rule.matched && rule.standing.applies == Some(false);
        let whole = if idle { "idle" } else { whole };
        let why = rule.standing.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        let label = format!("{}: {}{why}", rule.rule.id, rule.rule.effect.as_str());
        self.node(&id, "rule", &label, whole);
        self.edge(layer, &id);
        for (at, clause) in rule.clauses.iter().enumerate() {
            self.clause(&id, at, clause);
        }
        let Some(condition) = &rule.condition else { return };
        let place = format!("{id}/when");
        self.node(&place, "condition", &condition.text, state(condition.value));
        self.edge(&id, &place);
        for (at, (text, truth)) in condition.clauses.iter().enumerate() {
            let term = format!("{place}/{at}");
            self.node(&term, "term", text, state(*truth));
            self.edge(&place, &term);
        }
    }

    fn clause(&mut self, rule: &str, at: usize, clause: &ClauseTrace) {
        let id = format!("{rule}/{at}");
        let state = match clause.finding {
            Finding::Matched => "matched",
            Finding::Differs | Finding::Absent => "not_matched",
        };
        let found = match clause.found.as_slice() {
            [] => "absent".to_owned(),
            found => found.join(", "),
        };
        let label = format!("{}: {found} / {}", clause.key, clause.wanted.join(", "));
        self.node(&id, "clause", &label, state);
        self.edge(rule, &id);
    }
}
