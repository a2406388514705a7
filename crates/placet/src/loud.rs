//! What nobody may overlook, on standard error: that some exception waives all of policy, and that a variable
//! which asks for that is not obeyed. Refuses to change what a command does.

use crate::output;
use hyper::HeaderMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many live exceptions of the caller's workspace waive all of policy.
const UNGOVERNED: &str = "x-placet-ungoverned";
/// How the names of variables end that elsewhere turn governance off.
const OFF: &str = "GOVERNANCE_DISABLED";

/// Says once per command that policy is waived, when the server says so.
pub(crate) fn banner(headers: &HeaderMap) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let count = headers.get(UNGOVERNED).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(count) = count.filter(|count| *count > 0) else { return };
    if !SAID.swap(true, Ordering::Relaxed) {
        let head = output::err_paint(output::RED, "POLICY IS WAIVED");
        let who = if count == 1 { "1 exception".to_owned() } else { format!("{count} exceptions") };
        eprintln!("placet: {head}: {who} of this workspace; see `placet exception list`");
    }
}

/// Names what is not obeyed: governance has no switch outside the log.
pub(crate) fn disobey(variables: impl Iterator<Item = (OsString, OsString)>) {
    for name in disabling(variables) {
        let head = output::err_paint(output::RED, "NOT OBEYED");
        eprintln!(
            "placet: {head}: {} is set, and nothing is disabled by it. Only an exception does that, with an owner, \
             an end and a review:\n  placet exception open --surface '*' --actor ACTOR --waives governance \
             --break-glass --reason CODE --for 15m",
            output::safe(&name)
        );
    }
}

/// Variables that would turn governance off where such a thing is obeyed.
fn disabling(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let said =
        |value: &str| !matches!(value.to_lowercase().as_str(), "" | "0" | "false" | "no" | "off");
    let mut names: Vec<String> = variables
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, value)| {
            name.to_uppercase().ends_with(OFF) && said(&value.to_string_lossy())
        })
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::disabling;

    #[test]
    fn every_variable_of_the_kind_is_named() {
        let set = [
            ("AUTOPACK_GOVERNANCE_DISABLED", "1"),
            ("PLACET_GOVERNANCE_DISABLED", "true"),
            ("MY_AI_GOVERNANCE_DISABLED", "yes"),
            ("governance_disabled", "x"),
            ("OFF_GOVERNANCE_DISABLED", "0"),
            ("NO_GOVERNANCE_DISABLED", "False"),
            ("EMPTY_GOVERNANCE_DISABLED", ""),
            ("GOVERNANCE_DISABLED_SINCE", "1"),
            ("PLACET_KEY", "1"),
        ];
        let named = disabling(set.into_iter().map(|(name, value)| (name.into(), value.into())));
        let expected = [
            "AUTOPACK_GOVERNANCE_DISABLED",
            "MY_AI_GOVERNANCE_DISABLED",
            "PLACET_GOVERNANCE_DISABLED",
            "governance_disabled",
        ];
        assert_eq!(named, expected);
    }
}
