//! The compiled-in constitution: what governs the governance itself, whatever a bundle says.
//! Bundles may add rules to these surfaces and so tighten them; they cannot loosen them.

use crate::command::Who;
use crate::state::State;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use placet_types::policy::{ApprovalSpec, Effect, Hit, Layer, RuleEffect};

/// Version of the constitution, recorded at genesis.
pub const CONSTITUTION: u32 = 1;

/// The role that proposes and approves what the constitution governs.
pub(crate) const ADMIN: &str = "admin";

/// Whether the constitution governs this surface.
#[must_use]
pub fn is_governed(surface: &str) -> bool {
    ["policy.", "override.", "role.", "key."].iter().any(|prefix| surface.starts_with(prefix))
}

/// What the constitution says: only an admin proposes, and another admin approves. While the
/// workspace has a single admin (its bootstrap), in solo and in development mode, that one suffices:
/// this keeps a path open on which nobody can be locked out. An agent never writes policy or its
/// own limits, whatever its key says.
pub(crate) fn hit(state: &State, who: &Who) -> Hit {
    if !who.actor.is_human() || !who.roles.contains(ADMIN) {
        rule("constitution.admin-only", Effect::Deny, None)
    } else if state.dev || state.solo || state.people_with(ADMIN) < 2 {
        rule("constitution.single-admin", Effect::Allow, None)
    } else {
        two_admins()
    }
}

/// What the constitution says of an action that it held: the demand does not change while it waits.
pub(crate) fn two_admins() -> Hit {
    let spec = ApprovalSpec {
        roles: BTreeMap::from([(String::from(ADMIN), 1)]),
        ..ApprovalSpec::default()
    };
    rule("constitution.two-admins", Effect::RequireApproval, Some(spec))
}

fn rule(id: &str, effect: Effect, approval: Option<ApprovalSpec>) -> Hit {
    Hit::of(Arc::new(RuleEffect { approval, ..RuleEffect::new(id, Layer::Rules, effect) }))
}
