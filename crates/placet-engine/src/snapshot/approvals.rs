//! The parts of a snapshot that are held decisions, their votes and all timers.

use crate::codec::{Code, Reader, Writer};
use crate::demand::{Demand, few};
use crate::state::{Held, HeldState, Mark, Timer};
use crate::votes::Cast;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use placet_types::event::{EscalationStep, StandsIn, Through};

impl Code for BTreeMap<String, u32> {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.iter(), |w, (role, count)| {
            w.put(role);
            w.put(count);
        });
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.rising(|(role, _)| role, |r| Some((r.get()?, r.get()?)))
    }
}

impl Code for EscalationStep {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { at, instead_of, roles } = self;
        w.put(at);
        w.put(instead_of);
        w.put(roles);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { at: r.get()?, instead_of: r.get()?, roles: r.get()? })
    }
}

impl Code for StandsIn {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { step, role } = self;
        w.put(step);
        w.put(role);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { step: r.get()?, role: r.get()? })
    }
}

impl Code for Through {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { delegation, of, role } = self;
        w.put(delegation);
        w.put(of);
        w.put(role);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { delegation: r.get()?, of: r.get()?, role: r.get()? })
    }
}

impl Code for Cast {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { by, roles, stands_in, through } = self;
        w.put(by);
        w.put(roles);
        w.put(stands_in);
        w.list(through.iter(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            by: r.get()?,
            roles: r.get()?,
            stands_in: r.get()?,
            through: r.list(Reader::get)?,
        })
    }
}

impl Code for Mark {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { tag, per_ms } = self;
        w.bytes(tag);
        w.put(per_ms);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { tag: r.bytes()?.try_into().ok()?, per_ms: r.get()? })
    }
}

impl Code for Timer {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Approval(id) => {
                w.put(&0_u8);
                w.put(id);
            }
            Self::Permit(id) => {
                w.put(&1_u8);
                w.put(id);
            }
            Self::Escalation(id) => {
                w.put(&2_u8);
                w.put(id);
            }
            Self::Reminder(id) => {
                w.put(&3_u8);
                w.put(id);
            }
            Self::Delegation(id) => {
                w.put(&4_u8);
                w.put(id);
            }
            Self::Exception(id) => {
                w.put(&5_u8);
                w.put(id);
            }
            Self::Review(id) => {
                w.put(&6_u8);
                w.put(id);
            }
            Self::Queue(id) => {
                w.put(&7_u8);
                w.put(id);
            }
            Self::Runtime(id) => {
                w.put(&8_u8);
                w.put(id);
            }
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        match r.get::<u8>()? {
            0 => r.get().map(Self::Approval),
            1 => r.get().map(Self::Permit),
            2 => r.get().map(Self::Escalation),
            3 => r.get().map(Self::Reminder),
            4 => r.get().map(Self::Delegation),
            5 => r.get().map(Self::Exception),
            6 => r.get().map(Self::Review),
            7 => r.get().map(Self::Queue),
            8 => r.get().map(Self::Runtime),
            _ => None,
        }
    }
}

impl Code for HeldState {
    fn put(&self, w: &mut Writer<'_>) {
        let kind: u8 = match self {
            Self::Pending => 0,
            Self::Approved(_) => 1,
            Self::Consumed(_) => 2,
            Self::Rejected => 3,
            Self::Expired => 4,
            Self::Invalidated => 5,
            Self::Withdrawn => 6,
        };
        w.put(&kind);
        match self {
            Self::Approved(until) => w.put(until),
            Self::Consumed(permit) => w.put(permit),
            _ => {}
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(match r.get::<u8>()? {
            0 => Self::Pending,
            1 => Self::Approved(r.get()?),
            2 => Self::Consumed(r.get()?),
            3 => Self::Rejected,
            4 => Self::Expired,
            5 => Self::Invalidated,
            6 => Self::Withdrawn,
            _ => return None,
        })
    }
}

impl Code for Held {
    fn put(&self, w: &mut Writer<'_>) {
        let Self {
            decision,
            index,
            approval,
            since,
            expires,
            use_within_ms,
            demand,
            escalate,
            escalated,
            remind,
            reopened,
            surface,
            action_commitment,
            audience,
            actor,
            proposers,
            reach,
            full,
            marks,
            // Beside it: many have the same.
            scopes: _,
            votes,
            rejected_by,
            exception,
            state,
        } = self;
        let Demand { roles, requirement, rules, constraints } = &**demand;
        w.put(decision);
        w.put(index);
        w.put(approval);
        w.put(since);
        w.put(expires);
        w.put(use_within_ms);
        w.put(roles);
        w.put(requirement);
        w.list(rules.iter(), Writer::put);
        w.list(escalate.iter(), Writer::put);
        w.put(escalated);
        w.put(remind);
        w.put(reopened);
        w.put(surface);
        w.put(action_commitment);
        w.put(audience);
        w.put(actor);
        w.list(proposers.iter(), Writer::put);
        w.put(reach);
        w.put(full);
        w.list(marks.iter(), Writer::put);
        w.put(constraints);
        w.list(votes.iter(), Writer::put);
        w.put(rejected_by);
        w.put(exception);
        w.put(state);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut demand = Demand::default();
        let mut held = Self {
            decision: r.get()?,
            index: r.get()?,
            approval: r.get()?,
            since: r.get()?,
            expires: r.get()?,
            use_within_ms: r.get()?,
            escalate: {
                demand.roles = r.get()?;
                demand.requirement = r.get()?;
                demand.rules = r.list(Reader::get)?;
                r.list(Reader::get)?
            },
            escalated: r.get()?,
            remind: r.get()?,
            reopened: r.get()?,
            surface: r.get()?,
            action_commitment: r.get()?,
            audience: r.get()?,
            actor: r.get()?,
            proposers: few(r.rising::<_, _, BTreeSet<_>>(|actor| actor, Reader::get)?.into_iter()),
            reach: r.get()?,
            full: r.get()?,
            marks: r.list(Reader::get)?,
            scopes: {
                demand.constraints = r.get()?;
                Arc::from([])
            },
            votes: r.list(Reader::get)?,
            rejected_by: r.get()?,
            exception: r.get()?,
            state: r.get()?,
            demand: Arc::default(),
        };
        held.demand = Arc::new(demand);
        Some(held)
    }
}
