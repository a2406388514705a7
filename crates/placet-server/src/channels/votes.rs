//! From a press in a channel to a vote: who it is, whether the button is ours and about what stands there
//! now, and then the way of every vote. Owns these checks; roles are looked up where votes are counted.

use super::Channels;
use super::chat::brief;
use crate::server::Server;
use placet_engine::HeldState;
use placet_notify::{Brief, Token, Verb};
use placet_policy::Channel;
use placet_runtime::crypto::Fast;
use placet_runtime::{Ballot, PlaneError, Principal, Workspace};
use placet_types::Caller;
use placet_types::event::VoteChannel;
use placet_types::ids::ActorId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a press did nothing.
pub(super) enum Unheard {
    /// It never will; for whoever pressed.
    Refused(String),
    /// Nothing can be recorded at the moment; the press comes again.
    Later(PlaneError),
}

/// A press of somebody who may decide here, on a button that is ours.
pub(super) struct Press {
    pub(super) token: Token,
    pub(super) person: ActorId,
    pub(super) brief: Brief,
}

fn refused(text: &str) -> Unheard {
    Unheard::Refused(text.to_owned())
}

/// Errors that pass by themselves.
pub(super) fn passes(error: &PlaneError) -> bool {
    matches!(
        error,
        PlaneError::Overloaded { .. }
            | PlaneError::TooManyRequests { .. }
            | PlaneError::ClockUnsure
            | PlaneError::StoreFailed(_)
            | PlaneError::Indexing { .. }
            | PlaneError::PolicyMoved
            | PlaneError::ShuttingDown
    )
}

fn unheard(error: PlaneError) -> Unheard {
    if passes(&error) {
        return Unheard::Later(error);
    }
    if let PlaneError::Internal(what) = &error {
        eprintln!("placet: defect: {what}");
        return refused("This could not be done; the server's log says why");
    }
    Unheard::Refused(error.to_string())
}

/// Who presses what. Membership of a chat is nothing: the person is on the channel's list.
pub(super) async fn recognise(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    channel: &Channel,
    user: &str,
    data: Option<&str>,
) -> Result<Press, Unheard> {
    let person = channel.approvers.get(user).ok_or_else(|| refused("You may not decide here"))?;
    let not_ours = || refused("This button is not valid any more");
    let token = data.and_then(Token::read).ok_or_else(not_ours)?;
    let brief = brief(server, workspace, token.approval).await.map_err(unheard)?;
    let brief = brief.ok_or_else(not_ours)?;
    let bound = brief.bound(&channel.id);
    let bound =
        bound.ok_or_else(|| refused("What it asked for was erased; it cannot be approved"))?;
    let key = Channels::button_key(workspace, channel);
    if !token.is_for::<Fast>(&key, &bound) {
        return Err(not_ours());
    }
    Ok(Press { token, person: person.clone(), brief })
}

/// Votes; what to tell whoever did.
pub(super) async fn cast(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    via: VoteChannel,
    press: &Press,
    approve: bool,
    note: Option<&str>,
) -> Result<String, Unheard> {
    let Press { token, person, brief } = press;
    let caller = Caller {
        workspace: workspace.name.clone(),
        environment: brief.environment.clone(),
        actor: person.clone(),
        // The channel knows of none.
        roles: BTreeSet::new(),
        chain: Vec::new(),
    };
    let principal = Principal { caller, key: None };
    let ballot = Ballot {
        approval: token.approval,
        approve,
        echo: brief.digests.map(|(_, action)| action),
        note,
        via: Some(via),
    };
    let seen = Some(brief.requirement);
    let cast = server.plane.cast_seen(workspace, &principal, ballot, seen).await;
    let (held, _) = cast.map_err(unheard)?;
    Ok(match held.state {
        HeldState::Pending => {
            let missing = held.missing();
            let missing: Vec<String> =
                missing.iter().map(|(role, count)| format!("{role} ×{count}")).collect();
            format!("Approved by you; still missing: {}", missing.join(", "))
        }
        HeldState::Approved(_) | HeldState::Consumed(_) => "Approved".to_owned(),
        HeldState::Rejected => "Rejected".to_owned(),
        other => format!("It is {}", other.as_str()),
    })
}

/// What a button of Telegram asks for.
pub(super) fn verdict(verb: Verb) -> Option<bool> {
    match verb {
        Verb::Approve => Some(true),
        Verb::Reject => Some(false),
        Verb::Review => None,
    }
}
