//! A workspace as the sequencer holds it: its state, and how events become entries of an open batch.

use crate::frame::{Frame, push};
use crate::halts::{Handed, Scopes};
use crate::privacy::Doomed;
use crate::sequencer::{Open, Payload, Refusal, Work};
use crate::workspace::Workspace;
use placet_engine::{Command, State};
use placet_types::Digest;
use placet_types::event::{ENTRY_BYTES_MAX, Entry, Event, Gap, KillEvent, KillScope, OverrideMode};
use placet_types::ids::{EventId, TimeMs};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A workspace as the sequencer holds it.
pub(crate) struct Seat {
    pub(crate) shared: Arc<Workspace>,
    pub(crate) state: State,
    pub(crate) epoch: u64,
    pub(crate) dev: bool,
    pub(crate) solo: bool,
    /// Set after a restart: the next entry is preceded by the gap.
    pub(crate) gap: Option<String>,
    /// Its log goes on under another name, which the next entry has to say: until then whatever is
    /// written would be signed under a name that has signed other things at these places.
    pub(crate) renamed: bool,
    /// When somebody asked for it last.
    pub(crate) used: Instant,
}

impl Seat {
    /// After a restart or a confirmed clock, the first entry says for how long nothing was decided.
    pub(crate) fn close_gap(&mut self, work: &mut Work, now: TimeMs) -> Result<(), Refusal> {
        let due = self.state.next_index() > 0 && !self.renamed;
        let Some(cause) = self.gap.take_if(|_| due) else { return Ok(()) };
        let gap = Gap { from: self.state.time(), to: now, refused: 0, cause };
        self.append(work, vec![Event::Gap(gap)], Payload::empty(), now).map(drop)
    }

    /// Encodes and applies events; the range of the job's own entries within the batch.
    pub(crate) fn append(
        &mut self,
        work: &mut Work,
        events: Vec<Event>,
        payload: Payload,
        now: TimeMs,
    ) -> Result<Range<usize>, Refusal> {
        let own = events.len();
        let encoded = self.encode(&events, &payload, now)?;
        let open = work.open.entry(self.shared.no).or_insert_with(|| Open {
            shared: self.shared.clone(),
            epoch: self.epoch,
            first_index: self.state.next_index(),
            entries: Vec::new(),
            spans: Vec::new(),
            frames: Vec::new(),
            approvals_changed: false,
            overrides_changed: false,
            doomed: Vec::new(),
            signers: None,
            signing: None,
            evidence: None,
            policy: None,
            stopped: Vec::new(),
            roles: None,
        });
        let mut payload = Some(payload);
        for (entry, bytes) in encoded {
            // The payload stands beside the first of the job's entries.
            let beside = payload.take().unwrap_or_else(Payload::empty);
            let start = open.frames.len() + 4;
            let frame = Frame { entry: &bytes, slot: beside.slot, payload: &beside.sealed };
            push(&mut open.frames, frame);
            work.bytes += bytes.len() + beside.sealed.len();
            open.spans.push(start..start + bytes.len());
            open.approvals_changed |= matches!(
                entry.event,
                Event::ApprovalVoted(_)
                    | Event::ApprovalClosed(_)
                    | Event::ApprovalReopened(_)
                    | Event::ApprovalEscalated(_)
                    | Event::PermitCollected(_)
            );
            open.overrides_changed |= matches!(
                entry.event,
                Event::KillTripped(_)
                    | Event::KillDrilled(_)
                    | Event::KillLifted(_)
                    | Event::OverrideAcknowledged(_)
            );
            if let Event::PayloadErased(erased) = &entry.event {
                let index = self.state.next_index();
                open.doomed.push(Doomed { index, entries: erased.indices.clone() });
            }
            if let Event::KillTripped(kill) = &entry.event
                && kill.mode == OverrideMode::Kill
            {
                // INVARIANT: from here on no answer leaves with a permit of what the trip ends, nor one that
                // waits for an earlier flush: the state goes on as if the trip were durable.
                let runs = self.state.ended_by(&kill.scope);
                if !kill.scope.is_wide() {
                    self.shared.halts.raise(&kill.scope, kill.mode);
                    self.shared.halts.raise_runs(&kill.scope, &runs);
                }
                self.shared.halts.leave_runs(&runs);
            }
            if let Err(error) = self.state.apply(&entry) {
                // step and apply disagree: a defect. Nothing of this state may be used any more.
                unreachable!("step planned what apply refuses: {error}");
            }
            match &entry.event {
                Event::ExecutionQueued(run) | Event::ExecutionStarted(run) => {
                    self.shared.halts.enter_run(&self.state, run.execution);
                }
                Event::ExecutionEnded(ended) => {
                    self.shared.halts.leave_runs(&[ended.execution]);
                }
                Event::ExecutionTerminated(ended) => {
                    self.shared.halts.leave_runs(&[ended.execution]);
                }
                _ => {}
            }
            if let Event::Genesis(_)
            | Event::SignerRotated(_)
            | Event::SignerRevoked(_)
            | Event::LogSucceeded(_) = &entry.event
            {
                open.signers = Some(self.state.signers().to_vec());
            }
            if matches!(
                entry.event,
                Event::EvidenceAdded(_)
                    | Event::EvidenceRevoked(_)
                    | Event::IssuerTrusted(_)
                    | Event::IssuerRevoked(_)
            ) {
                open.evidence = Some(self.state.evidence().clone());
            }
            match &entry.event {
                Event::KillTripped(KillEvent { scope: KillScope::Role(_), .. })
                | Event::KillLifted(KillEvent { scope: KillScope::Role(_), .. }) => {
                    open.roles = Some(self.state.revoked_roles().map(str::to_owned).collect());
                }
                Event::KillTripped(kill) if kill.mode.ends_permits() && !kill.scope.is_wide() => {
                    open.stopped.push((kill.scope.clone(), kill.mode));
                }
                _ => {}
            }
            open.entries.push(entry);
        }
        self.show_ungoverned();
        Ok(open.entries.len() - own..open.entries.len())
    }

    /// How many exceptions waive all of policy now: louder too early than too late.
    pub(crate) fn show_ungoverned(&self) {
        let (_, count, _) = self.state.exception_counts();
        self.shared.ungoverned.store(count as u64, Ordering::Relaxed);
    }

    fn encode(
        &self,
        events: &[Event],
        payload: &Payload,
        now: TimeMs,
    ) -> Result<Vec<(Entry, Vec<u8>)>, Refusal> {
        let mut encoded = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            let payload = if at == 0 { payload.commitment } else { Digest([0; 32]) };
            let (name, commitment) = match event {
                Event::Decision(decision) => {
                    (decision.decision.to_string(), decision.action_commitment)
                }
                _ => (self.event_name(now, at), payload),
            };
            let entry = Entry {
                time: now,
                workspace: self.shared.name.clone(),
                epoch: self.epoch,
                dev: self.dev,
                solo: self.solo,
                name,
                commitment,
                payload,
                event: event.clone(),
            };
            let bytes = entry.to_bytes();
            if bytes.len() > ENTRY_BYTES_MAX {
                return Err(Refusal::TooLarge);
            }
            encoded.push((entry, bytes));
        }
        Ok(encoded)
    }

    /// The permits that these events, not applied yet, hand to the caller of `command`.
    pub(crate) fn permits(&self, events: &[Event], command: &Command) -> Vec<Handed> {
        let permit = |event: &Event| match (event, command) {
            (Event::Decision(event), _) => event.permit.as_ref().map(|permit| Handed {
                decision: event.decision,
                index: self.state.next_index(),
                permit: permit.id,
                scopes: Scopes::Of(event.clone()),
            }),
            // The plane itself has used it: what it was for is in the same batch.
            (Event::PermitCollected(_), Command::ArmUnder(_)) => None,
            (Event::PermitCollected(event), _) => {
                let held = self.state.approval(event.approval)?;
                Some(Handed {
                    decision: event.decision,
                    index: held.index,
                    permit: event.permit.id,
                    scopes: Scopes::Are(held.scopes.clone()),
                })
            }
            (Event::PermitConsumed(event), Command::Consume(consume)) => Some(Handed {
                decision: event.decision,
                index: consume.index,
                permit: event.permit,
                scopes: Scopes::Of(consume.prior.clone()),
            }),
            _ => None,
        };
        events.iter().filter_map(permit).collect()
    }

    /// Events other than decisions are named after their place: time and log index.
    fn event_name(&self, now: TimeMs, at: usize) -> String {
        let index = self.state.next_index() + at as u64;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&index.to_be_bytes());
        EventId::new(now, random).to_string()
    }
}
