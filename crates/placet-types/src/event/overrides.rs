//! The events by which people stop what runs: what is stopped, how, and by what. One name per scope,
//! so that a decision, a permit and a log entry speak of the same thing. Refuses to know what a stop does.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::hex_decode;
use crate::ids::{ExecutionId, JobId, TimeMs, is_dotted_name, is_name};
use crate::json::Writer;
use crate::policy::Reason;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// What an override stops. Its text is the kind and, but for the two widest, the value:
/// `capability:crm-writer`. In the order of the texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillScope {
    /// One actor, alone or as one on whose behalf another acts.
    Actor(ActorRef),
    /// A named route: what is asked of it, and changing it.
    Alias(String),
    /// A variant of a capability.
    Branch(String),
    /// A unit of automation.
    Capability(String),
    /// Every workspace of the instance; kept in the log of each.
    Everything,
    /// One run: an id of ours, or the workspace's pseudonym of another name.
    Execution(String),
    /// One job, named like an execution.
    Job(String),
    /// A model.
    Model(String),
    /// What a role may do, whoever has it.
    Role(String),
    /// A class of effects.
    Surface(String),
    /// This workspace.
    Workspace,
}

/// Changing an alias: what freezing one stops.
const ALIAS_CHANGE: &str = "alias.change";

impl KillScope {
    /// The kinds in the order of their texts.
    pub const KINDS: [&'static str; 11] = [
        "actor",
        "alias",
        "branch",
        "capability",
        "everything",
        "execution",
        "job",
        "model",
        "role",
        "surface",
        "workspace",
    ];

    /// The word before the colon.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Actor(_) => "actor",
            Self::Alias(_) => "alias",
            Self::Branch(_) => "branch",
            Self::Capability(_) => "capability",
            Self::Everything => "everything",
            Self::Execution(_) => "execution",
            Self::Job(_) => "job",
            Self::Model(_) => "model",
            Self::Role(_) => "role",
            Self::Surface(_) => "surface",
            Self::Workspace => "workspace",
        }
    }

    /// What stands after the colon.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Actor(actor) => Some(actor.as_str()),
            Self::Alias(name)
            | Self::Branch(name)
            | Self::Capability(name)
            | Self::Execution(name)
            | Self::Job(name)
            | Self::Model(name)
            | Self::Role(name)
            | Self::Surface(name) => Some(name),
            Self::Everything | Self::Workspace => None,
        }
    }

    /// Whether it covers whatever is asked of a workspace.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        matches!(self, Self::Everything | Self::Workspace)
    }

    /// From kind and value as an entry holds them.
    #[must_use]
    pub fn of(kind: &str, value: Option<&str>) -> Option<Self> {
        let value = match (kind, value) {
            ("everything", None) => return Some(Self::Everything),
            ("workspace", None) => return Some(Self::Workspace),
            (_, value) => value?,
        };
        let name = |good: fn(&str) -> bool| good(value).then(|| value.to_owned());
        Some(match kind {
            "actor" => Self::Actor(ActorRef::parse(value)?),
            "alias" => Self::Alias(name(is_name)?),
            "branch" => Self::Branch(name(is_name)?),
            "capability" => Self::Capability(name(is_name)?),
            "execution" => Self::Execution(name(is_run)?),
            "job" => Self::Job(name(is_run)?),
            "model" => Self::Model(name(is_name)?),
            "role" => Self::Role(name(is_name)?),
            "surface" => Self::Surface(name(is_dotted_name)?),
            _ => return None,
        })
    }

    /// Parses the text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => Self::of(text, None),
            Some((kind, value)) => Self::of(kind, Some(value)),
        }
    }

    /// What an action can be stopped by, the two widest scopes apart: its surface, its actors, what
    /// its entry lists, and each name that it uses as an alias.
    #[must_use]
    pub fn all(
        surface: &str,
        actor: &ActorRef,
        on_behalf_of: &[ActorRef],
        under: &[Self],
    ) -> Vec<Self> {
        let mut all = Vec::with_capacity(8);
        all.push(Self::Surface(surface.to_owned()));
        all.push(Self::Actor(actor.clone()));
        all.extend(on_behalf_of.iter().cloned().map(Self::Actor));
        all.extend_from_slice(under);
        all.extend(under.iter().filter_map(Self::used).cloned().map(Self::Alias));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The name that a request uses by this scope, and that may be an alias.
    #[must_use]
    pub fn used(&self) -> Option<&String> {
        match self {
            Self::Branch(name) | Self::Capability(name) | Self::Model(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it can be stopped in this way.
    #[must_use]
    pub const fn takes(&self, mode: OverrideMode) -> bool {
        match mode {
            OverrideMode::Kill => !matches!(self, Self::Role(_)),
            // A run that is asked to end needs no freeze: there is nothing new in it but its steps.
            OverrideMode::Freeze => {
                !matches!(self, Self::Role(_) | Self::Execution(_) | Self::Job(_))
            }
            OverrideMode::Disable => matches!(
                self,
                Self::Capability(_)
                    | Self::Branch(_)
                    | Self::Model(_)
                    | Self::Surface(_)
                    | Self::Alias(_)
            ),
            OverrideMode::Revoke => matches!(self, Self::Role(_)),
        }
    }

    /// Whether, stopped in this way, it stops an action that it covers and that has these scopes. An alias
    /// covers what uses it and what changes it: freezing leaves its use alone, disabling its change, a kill
    /// neither.
    #[must_use]
    pub fn stops(&self, mode: OverrideMode, scopes: &[Self]) -> bool {
        let surface = |it: &Self| matches!(it, Self::Surface(it) if it == ALIAS_CHANGE);
        let changes = || scopes.iter().any(surface);
        match (self, mode) {
            (Self::Alias(_), OverrideMode::Freeze) => changes(),
            (Self::Alias(_), OverrideMode::Disable) => !changes(),
            _ => true,
        }
    }

    /// The reason of a decision that it stops.
    #[must_use]
    pub const fn reason(&self, mode: OverrideMode) -> Reason {
        match (mode, self) {
            (OverrideMode::Freeze, _) => Reason::Frozen,
            (OverrideMode::Disable, _) => Reason::Disabled,
            (_, Self::Role(_)) | (OverrideMode::Revoke, _) => Reason::RoleRevoked,
            (OverrideMode::Kill, Self::Actor(_)) => Reason::KilledActor,
            (OverrideMode::Kill, Self::Alias(_)) => Reason::KilledAlias,
            (OverrideMode::Kill, Self::Branch(_)) => Reason::KilledBranch,
            (OverrideMode::Kill, Self::Capability(_)) => Reason::KilledCapability,
            (OverrideMode::Kill, Self::Everything) => Reason::KilledEverything,
            (OverrideMode::Kill, Self::Execution(_)) => Reason::KilledExecution,
            (OverrideMode::Kill, Self::Job(_)) => Reason::KilledJob,
            (OverrideMode::Kill, Self::Model(_)) => Reason::KilledModel,
            (OverrideMode::Kill, Self::Surface(_)) => Reason::KilledSurface,
            (OverrideMode::Kill, Self::Workspace) => Reason::KilledWorkspace,
        }
    }
}

/// An id of ours, or the hex digits of a pseudonym.
fn is_run(text: &str) -> bool {
    ExecutionId::parse(text).is_some()
        || JobId::parse(text).is_some()
        || hex_decode(text, &mut [0; 32]).is_some()
}

impl fmt::Display for KillScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self.value() {
            None => Ok(()),
            Some(value) => write!(f, ":{value}"),
        }
    }
}

/// How something is stopped, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverrideMode {
    /// Nothing new begins; what was permitted may still be done.
    Freeze,
    /// It is not to be used; what was permitted and not done is over.
    Disable,
    /// Nobody has the role.
    Revoke,
    /// Nothing of it happens any more.
    Kill,
}

impl OverrideMode {
    /// All modes, weakest first.
    pub const ALL: [Self; 4] = [Self::Freeze, Self::Disable, Self::Revoke, Self::Kill];

    /// `freeze`, `disable`, `revoke`, `kill`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Disable => "disable",
            Self::Revoke => "revoke",
            Self::Kill => "kill",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Whether permits that were handed out and not used are over.
    #[must_use]
    pub const fn ends_permits(self) -> bool {
        matches!(self, Self::Kill | Self::Disable)
    }
}

/// What tripped or lifted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillSource {
    /// A person, over the API.
    Api,
    /// The file `KILL` in the data directory.
    File,
    /// The signal SIGUSR2.
    Signal,
    /// The armed certificate was missing, unreadable, altered or rolled back.
    Certificate,
    /// A step lay outside the manifest of its capability.
    Manifest,
    /// The log was not what was sealed.
    Seal,
    /// A kill was in effect when the process ended, and was not recorded, so that who asked is lost; or it was
    /// lifted, and the certificate of that could not be written.
    Interrupted,
}

impl KillSource {
    /// All sources.
    pub const ALL: [Self; 7] = [
        Self::Api,
        Self::File,
        Self::Signal,
        Self::Certificate,
        Self::Manifest,
        Self::Seal,
        Self::Interrupted,
    ];

    /// Whether somebody tampered with what keeps the switch honest.
    #[must_use]
    pub const fn is_tampering(self) -> bool {
        matches!(self, Self::Certificate | Self::Seal)
    }

    /// `api`, `file`, `signal`, `certificate`, `manifest`, `seal`, `interrupted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::File => "file",
            Self::Signal => "signal",
            Self::Certificate => "certificate",
            Self::Manifest => "manifest",
            Self::Seal => "seal",
            Self::Interrupted => "interrupted",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// `kill.tripped`, `kill.lift_requested`, `kill.lifted`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillEvent {
    /// What it stops.
    pub scope: KillScope,
    /// How; a kill is not written.
    pub mode: OverrideMode,
    /// What caused it.
    pub source: KillSource,
    /// Who; absent where no person did it.
    pub by: Option<ActorRef>,
    /// For a lift in solo mode: not before this instant.
    pub not_before: Option<TimeMs>,
    /// For a trip: callers that waited for an approval when it took effect, and were told.
    pub waiting: u64,
}

impl KillEvent {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("by", self.by.as_ref().map(ActorRef::as_str));
        w.str_opt("mode", (self.mode != OverrideMode::Kill).then_some(self.mode.as_str()));
        w.uint_opt("not_before_ms", self.not_before.map(|time| time.0));
        w.str("scope", &self.scope.to_string());
        w.str("source", self.source.as_str());
        w.uint_opt("waiting", Some(self.waiting).filter(|waiting| *waiting > 0));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let scope = r.parsed("scope", KillScope::parse)?;
        let mode = r.parsed_opt("mode", OverrideMode::parse)?.unwrap_or(OverrideMode::Kill);
        if !scope.takes(mode) {
            return Err(EntryError::new("an override in a way that its scope does not have"));
        }
        Ok(Self {
            scope,
            mode,
            source: r.parsed("source", KillSource::parse)?,
            by: r.parsed_opt("by", ActorRef::parse)?,
            not_before: r.uint_opt("not_before_ms")?.map(TimeMs),
            waiting: r.uint_opt("waiting")?.unwrap_or(0),
        })
    }
}

/// Scopes of a decision as its entry lists them: in the order of their texts, each once.
pub(super) fn read_scopes(
    r: &mut Reader,
    member: &'static str,
) -> Result<Vec<KillScope>, EntryError> {
    if !r.has(member) {
        return Ok(Vec::new());
    }
    let scopes: Option<Vec<KillScope>> =
        r.strings(member)?.iter().map(|text| KillScope::parse(text)).collect();
    let scopes = scopes.ok_or_else(|| EntryError::new("a list of scopes holds something else"))?;
    let rising = scopes.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if scopes.is_empty() || !rising {
        return Err(EntryError::new("a list of scopes is empty, out of order, or names one twice"));
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_scopes_read_back_in_their_order() {
        let exe = alloc::format!("execution:exe_{}", "0".repeat(32));
        let job = alloc::format!("job:{}", "a".repeat(64));
        let texts = [
            "actor:agent:bot",
            "alias:main",
            "branch:b-1",
            "capability:crm-writer",
            "everything",
            &exe,
            &job,
            "model:acme/large",
            "role:owner",
            "surface:pay.out",
            "workspace",
        ];
        let scopes: Vec<KillScope> =
            texts.iter().map(|text| KillScope::parse(text).expect("a scope")).collect();
        for ((scope, text), kind) in scopes.iter().zip(texts).zip(KillScope::KINDS) {
            assert_eq!(scope.to_string(), *text);
            assert_eq!(scope.kind(), kind);
        }
        assert!(scopes.is_sorted());
        for bad in
            ["", "all", "workspace:x", "capability", "capability:", "execution:nightly", "actor:x"]
        {
            assert_eq!(KillScope::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_scope_is_stopped_in_the_ways_it_has_and_no_other() {
        let table = "actor kill freeze\nalias kill freeze disable\nbranch kill freeze disable\n\
                     capability kill freeze disable\neverything kill freeze\nexecution kill\n\
                     job kill\nmodel kill freeze disable\nrole revoke\n\
                     surface kill freeze disable\nworkspace kill freeze";
        let run = "0".repeat(64);
        for row in table.lines() {
            let words: Vec<&str> = row.split(' ').collect();
            let value = match words[0] {
                "everything" | "workspace" => None,
                "actor" => Some("agent:a"),
                "execution" | "job" => Some(&*run),
                _ => Some("x"),
            };
            let scope = KillScope::of(words[0], value).expect("a scope");
            for mode in OverrideMode::ALL {
                let expected = words[1..].contains(&mode.as_str());
                assert_eq!(scope.takes(mode), expected, "{scope} {}", mode.as_str());
            }
        }
    }
}
