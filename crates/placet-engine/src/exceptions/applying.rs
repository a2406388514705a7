//! Applying what happens to exceptions: opened, passed under, ended, reviewed. Owns their timers.

use super::{Exception, ExceptionStanding, Reviewed};
use crate::constitution;
use crate::state::{State, Timer};
use alloc::sync::Arc;
use placet_types::event::{
    ActorRef, DecisionEvent, ExceptionEnded, ExceptionOpened, ExceptionOverdue, ExceptionReviewed,
    Passage,
};
use placet_types::ids::ExceptionId;
use placet_types::policy::Outcome;

impl State {
    pub(crate) fn apply_exception(
        &mut self,
        event: &Arc<ExceptionOpened>,
        index: u64,
    ) -> Result<(), &'static str> {
        let lasting = event.ends > self.time || event.retroactive.is_some();
        if !event.owner.is_human() || !event.by.is_human() || !lasting || event.review_ms == 0 {
            return Err("an exception without a person, an end or a review");
        }
        if self.exceptions.all.contains_key(&event.exception) {
            return Err("its id is taken");
        }
        self.not_killed()?;
        // INVARIANT: nothing that the constitution governs has an exception, and one decision opens one.
        if constitution::is_governed(&event.scope.surface) || !self.spent.insert(event.decision) {
            return Err("it opens what may not be open, or a second one under one decision");
        }
        let bound = self.exceptions.all.len() >= self.bounds.exceptions_max;
        if let Some(oldest) = self.exceptions.done.first().copied().filter(|_| bound) {
            self.exceptions.remove(oldest);
        }
        if event.retroactive.is_none() {
            self.timers.insert((event.ends, Timer::Exception(event.exception)));
        }
        self.exceptions.insert(Exception::new(event.clone(), index, self.time));
        if event.retroactive.is_some() {
            self.await_review(event.exception);
        }
        Ok(())
    }

    /// A passage is counted; the last one that fits ends the exception.
    pub(crate) fn apply_passage(
        &mut self,
        passage: &Passage,
        event: &DecisionEvent,
        index: u64,
    ) -> Result<(), &'static str> {
        let now = self.time;
        let exception = self.exceptions.all.get(&passage.exception);
        let exception = exception.ok_or("it passes under an unknown exception")?;
        // INVARIANT: nothing passes under an exception that is over or covers something else.
        let granted = matches!(event.outcome, Outcome::Permit | Outcome::RequireApproval);
        let governed = constitution::is_governed(&event.surface);
        if !exception.is_live(now) || !exception.names(event) || !granted || governed {
            return Err("it passes under an exception that does not cover it");
        }
        // INVARIANT: no permit outlives the exception that it rests on.
        if event.permit.as_ref().is_some_and(|permit| permit.expires > exception.opened.ends) {
            return Err("its permit outlives its exception");
        }
        let uses = exception.uses.saturating_add(1);
        let last = exception.opened.max_uses().is_some_and(|most| uses >= u64::from(most));
        let ends = exception.opened.ends;
        self.exceptions.passages = self.exceptions.passages.saturating_add(1);
        if !last {
            if let Some(exception) = self.exceptions.all.get_mut(&passage.exception) {
                exception.uses = uses;
                exception.first.get_or_insert(index);
            }
            return Ok(());
        }
        self.timers.remove(&(ends, Timer::Exception(passage.exception)));
        self.exceptions.change(passage.exception, |exception| {
            exception.uses = uses;
            exception.first.get_or_insert(index);
            exception.last = Some(index);
            exception.standing = ExceptionStanding::UsedUp;
            exception.ended = Some(now);
        });
        self.await_review(passage.exception);
        Ok(())
    }

    pub(crate) fn apply_exception_ended(
        &mut self,
        event: &ExceptionEnded,
    ) -> Result<(), &'static str> {
        let now = self.time;
        let exception = self.exceptions.all.get(&event.exception);
        let exception = exception.ok_or("it ends an unknown exception")?;
        let (ends, live) = (exception.opened.ends, exception.standing == ExceptionStanding::Live);
        let fits = match event.by {
            Some(_) => exception.stands(now),
            None => live && ends <= now,
        };
        if !fits {
            return Err("it ends an exception that is over, or whose time is not up");
        }
        self.timers.remove(&(ends, Timer::Exception(event.exception)));
        self.exceptions.change(event.exception, |exception| {
            exception.standing = match event.by {
                Some(_) => ExceptionStanding::Closed,
                None => ExceptionStanding::RunOut,
            };
            exception.closed_by.clone_from(&event.by);
            // What was used up before is due for review since then.
            exception.ended.get_or_insert(now.min(ends));
        });
        if live {
            self.await_review(event.exception);
        }
        Ok(())
    }

    pub(crate) fn apply_exception_reviewed(
        &mut self,
        event: &ExceptionReviewed,
    ) -> Result<(), &'static str> {
        let at = self.time;
        let exception = self.exceptions.all.get(&event.exception);
        let exception = exception.ok_or("it reviews an unknown exception")?;
        if exception.reviewed.is_some() || !self.has_come_to_rest(exception, at) {
            return Err("it reviews an exception that is not over, or a second time");
        }
        // INVARIANT: nobody reviews their own, where there is anybody else.
        let own = exception.answers(&event.by);
        if own && !self.solo && !self.dev {
            return Err("its reviewer owns the exception or has opened it");
        }
        let due = exception.due();
        self.timers.remove(&(due, Timer::Review(event.exception)));
        let reviewed = Reviewed { by: event.by.clone(), at, justified: event.justified };
        self.exceptions.change(event.exception, |it| it.reviewed = Some(reviewed));
        Ok(())
    }

    /// Has the log say so when nobody reviews an exception in time that is over now.
    fn await_review(&mut self, id: ExceptionId) {
        let exception = self.exceptions.all.get(&id);
        if let Some(exception) = exception.filter(|it| it.reviewed.is_none()) {
            self.timers.insert((exception.due(), Timer::Review(id)));
        }
    }

    /// What is to be said of a review whose time is up.
    pub(crate) fn overdue(&self, id: ExceptionId) -> Option<ExceptionOverdue> {
        let exception = self.exceptions.all.get(&id)?;
        Some(ExceptionOverdue { exception: id, due: exception.due() })
    }

    pub(crate) fn apply_exception_overdue(
        &mut self,
        event: &ExceptionOverdue,
    ) -> Result<(), &'static str> {
        // INVARIANT: the timer is there from the end of the exception until its review, or until this.
        let awaited = self.timers.remove(&(event.due, Timer::Review(event.exception)));
        if awaited && event.due <= self.time {
            Ok(())
        } else {
            Err("it says of a review that it is overdue that is not, or says so a second time")
        }
    }

    /// People who answer for an exception do not approve what passes under it.
    pub(crate) fn answerable(&self, passage: Option<&Passage>) -> impl Iterator<Item = ActorRef> {
        let exception = passage.and_then(|it| self.exceptions.all.get(&it.exception));
        let people = exception.map(|it| [it.opened.owner.clone(), it.opened.by.clone()]);
        people.into_iter().flatten()
    }
}
