//! The `cel` crate as an oracle: on the shared subset its own parser and evaluator agree with ours,
//! except where language 1 is stricter on purpose.

use crate::generated::{boolean, request};
use crate::support::bundle;
use cel::{Context, Program, Value as Cel};
use placet_policy::Scratch;
use placet_policy::generate::SplitMix;
use placet_types::json::{Limits, Number, Value, Writer, parse};
use placet_types::policy::ConditionError;
use placet_types::{Caller, Request};
use std::collections::HashMap;

fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(Number::Int(value)) => Cel::Int(*value),
        Value::Number(Number::Double(value)) => Cel::Float(*value),
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::from(items.iter().map(cel).collect::<Vec<_>>()),
        Value::Object(object) => {
            let members = object.iter().map(|(key, value)| (key.to_owned(), cel(value)));
            Cel::from(members.collect::<HashMap<String, Cel>>())
        }
    }
}

fn oracle(text: &str, request: &Request, caller: &Caller) -> Result<bool, String> {
    let mut bytes = Vec::new();
    Writer::object(&mut bytes, |w| request.write_members(w));
    let written = parse(&bytes, Limits::REQUEST).unwrap();
    let Value::Object(mut object) = written else { panic!("a request is an object") };
    for key in ["risk_tags", "on_behalf_of"] {
        if object.get(key).is_none() {
            object.set(key, Vec::new());
        }
    }
    if object.get("labels").is_none() {
        object.set("labels", placet_types::json::Object::new());
    }
    let mut context = Context::default();
    context.add_variable_from_value("request", cel(&Value::Object(object)));
    context.add_variable_from_value("verified", cel(&Value::Object(caller.facts())));
    match Program::compile(text).unwrap().execute(&context) {
        Ok(Cel::Bool(value)) => Ok(value),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn conditions_agree_with_the_cel_crate() {
    let mut scratch = Scratch::default();
    let mut random = SplitMix(99);
    let (mut both, mut errors, mut stricter) = (0, 0, 0);
    for _ in 0..1500 {
        let text = boolean(&mut random, 3);
        let bundle = bundle(&format!(
            "version: v1\nrules:\n  - {{ id: r, match: {{ when: '{text}' }}, decision: deny }}\n"
        ));
        for _ in 0..8 {
            let (request, caller) = request(&mut random);
            let hits = bundle.evaluate(&request, &caller, &mut scratch).hits;
            let ours = match hits.first() {
                None => Ok(false),
                Some(hit) => hit.error.map_or(Ok(true), Err),
            };
            let theirs = oracle(&text, &request, &caller);
            let seen =
                || format!("{text}\n{:?}\nours {ours:?}, theirs {theirs:?}", request.arguments);
            match (&ours, &theirs) {
                (Ok(a), Ok(b)) => {
                    assert_eq!(a, b, "{}", seen());
                    both += 1;
                }
                (Err(_), Err(_)) => errors += 1,
                // CEL calls values of different types unequal; language 1 calls that an error. An
                // operand that became an error so may also hide behind another.
                (Err(ConditionError::Type), Ok(_)) => stricter += 1,
                (Err(_), Ok(_))
                    if text.contains("==") || text.contains("!=") || text.contains(" in [") =>
                {
                    stricter += 1
                }
                _ => panic!("{}", seen()),
            }
        }
    }
    println!("{both} values agree, {errors} errors agree, {stricter} stricter");
    assert!(both > 5000 && errors > 1000);
}
