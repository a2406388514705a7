//! The events of an execution: a run of a capability, begun under a decision, at once or when there is a place,
//! and ended once.

use super::overrides::read_scopes;
use super::read::Reader;
use super::{ActorRef, EntryError, KillScope};
use crate::ids::{DecisionId, ExecutionId, is_name};
use crate::json::Writer;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `execution.started`; `execution.queued` where it waits for a place and starts later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionStarted {
    /// Its id: that of the decision under another prefix.
    pub execution: ExecutionId,
    /// Log index of the decision that permitted it.
    pub index: u64,
    /// Who runs it.
    pub by: ActorRef,
    /// On whose behalf, outermost first.
    pub on_behalf_of: Vec<ActorRef>,
    /// What runs.
    pub capability: String,
    /// In which variant.
    pub branch: Option<String>,
    /// The execution that it is a part of.
    pub parent: Option<ExecutionId>,
    /// Executions of this capability that may run at a time; the permit's constraint.
    pub max_concurrent: Option<u64>,
    /// Seconds that it may run, from its place on; the plane ends it then.
    pub max_runtime_sec: Option<u64>,
    /// Decisions that may name it; one more ends it.
    pub max_steps: Option<u64>,
    /// Where capability and branch led when it was started, as far as they are aliases.
    pub leads_to: Vec<KillScope>,
}

impl ExecutionStarted {
    /// The decision that permitted it.
    #[must_use]
    pub fn decision(&self) -> DecisionId {
        DecisionId::from_bytes(*self.execution.bytes())
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("branch", self.branch.as_deref());
        w.str("by", self.by.as_str());
        w.str("capability", &self.capability);
        w.str("execution", &self.execution.to_string());
        w.uint("index", self.index);
        if !self.leads_to.is_empty() {
            w.strings("leads_to", self.leads_to.iter().map(ToString::to_string));
        }
        w.uint_opt("max_concurrent", self.max_concurrent);
        w.uint_opt("max_runtime_sec", self.max_runtime_sec);
        w.uint_opt("max_steps", self.max_steps);
        if !self.on_behalf_of.is_empty() {
            w.strings("on_behalf_of", self.on_behalf_of.iter().map(ActorRef::as_str));
        }
        w.str_opt("parent", self.parent.map(|id| id.to_string()).as_deref());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let name = |text: &str| is_name(text).then(|| text.to_owned());
        let chain = if r.has("on_behalf_of") { r.strings("on_behalf_of")? } else { Vec::new() };
        let chain: Option<Vec<_>> = chain.iter().map(|actor| ActorRef::parse(actor)).collect();
        Ok(Self {
            execution: r.parsed("execution", ExecutionId::parse)?,
            index: r.uint("index")?,
            by: r.parsed("by", ActorRef::parse)?,
            on_behalf_of: chain
                .ok_or_else(|| EntryError::new("on_behalf_of is no list of actors"))?,
            capability: r.parsed("capability", name)?,
            branch: r.parsed_opt("branch", name)?,
            parent: r.parsed_opt("parent", ExecutionId::parse)?,
            max_concurrent: r.uint_opt("max_concurrent")?,
            max_runtime_sec: r.uint_opt("max_runtime_sec")?,
            max_steps: r.uint_opt("max_steps")?,
            leads_to: read_scopes(r, "leads_to")?,
        })
    }
}

/// How whoever runs an execution says that it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndState {
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
}

impl EndState {
    /// `succeeded`, `failed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Succeeded, Self::Failed].into_iter().find(|state| state.as_str() == text)
    }
}

/// `execution.ended`: by whoever runs it. A kill ends it without this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionEnded {
    /// Which.
    pub execution: ExecutionId,
    /// Who says so.
    pub by: ActorRef,
    /// How.
    pub state: EndState,
}

impl ExecutionEnded {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("execution", &self.execution.to_string());
        w.str("state", self.state.as_str());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            execution: r.parsed("execution", ExecutionId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            state: r.parsed("state", EndState::parse)?,
        })
    }
}

/// Why the plane ends an execution by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminateCause {
    /// A step more than it may have was asked for.
    Steps,
    /// It ran for as long as it may.
    Runtime,
    /// It waited for a place for too long.
    Queue,
    /// What it was to be a part of had ended before its turn came.
    Parent,
}

impl TerminateCause {
    /// `steps`, `runtime`, `queue`, `parent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Runtime => "runtime",
            Self::Queue => "queue",
            Self::Parent => "parent",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Steps, Self::Runtime, Self::Queue, Self::Parent];
        all.into_iter().find(|it| it.as_str() == text)
    }
}

/// `execution.terminated`: by the plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionTerminated {
    /// Which.
    pub execution: ExecutionId,
    /// Why.
    pub cause: TerminateCause,
}

impl ExecutionTerminated {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("cause", self.cause.as_str());
        w.str("execution", &self.execution.to_string());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            execution: r.parsed("execution", ExecutionId::parse)?,
            cause: r.parsed("cause", TerminateCause::parse)?,
        })
    }
}
