//! Keyed pseudonyms of one workspace: what entries say instead of names, targets and keys.

use crate::crypto::KeyedHasher;
use crate::ports::Secret;
use placet_types::Request;
use placet_types::event::{ActorRef, KillScope, Pseudonym, Tag};
use placet_types::ids::{ActorId, ExecutionId, JobId, is_name};
use placet_types::policy::{Hit, Verdict};
use std::collections::BTreeSet;

/// `HMAC-SHA-256(workspace key, kind ‖ 0x00 ‖ value)` and what is built on it.
pub struct Pseudonyms(KeyedHasher);

impl Pseudonyms {
    /// Under the workspace's key.
    #[must_use]
    pub fn new(key: &Secret) -> Self {
        Self(KeyedHasher::new(key.as_ref()))
    }

    /// The pseudonym of a value of some kind.
    #[must_use]
    pub fn of(&self, kind: &str, value: &str) -> Pseudonym {
        Pseudonym(self.0.tag(&[kind.as_bytes(), &[0], value.as_bytes()]))
    }

    /// An actor as entries show it.
    #[must_use]
    pub fn actor_ref(&self, actor: &ActorId) -> ActorRef {
        ActorRef::new(actor, |name| self.of("actor", name))
    }

    /// A run or job as scopes name it: by an id of ours, or by its pseudonym.
    #[must_use]
    pub fn run_name(&self, kind: &str, name: &str) -> String {
        let ours = ExecutionId::parse(name).is_some() || JobId::parse(name).is_some();
        if ours { name.to_owned() } else { self.of(kind, name).hex() }
    }

    /// What an override can stop a request by, besides its surface and its actors.
    #[must_use]
    pub fn scopes(&self, request: &Request) -> Vec<KillScope> {
        let change = request.surface == "alias.change";
        let target = request.target.as_deref().filter(|name| change && is_name(name));
        let alias = target.map(|name| KillScope::Alias(name.to_owned()));
        // A job is a run that is named after it, or what its label says.
        let run = request.execution.as_deref();
        let is_job = |name: &&str| JobId::parse(name).is_some();
        let label = request.labels.get("job").map(String::as_str);
        let jobs = run.filter(is_job).into_iter().chain(label);
        let execution = run.filter(|name| !is_job(name));
        let mut all: Vec<KillScope> = alias
            .into_iter()
            .chain(request.branch.clone().map(KillScope::Branch))
            .chain(request.capability.clone().map(KillScope::Capability))
            .chain(execution.map(|it| KillScope::Execution(self.run_name("execution", it))))
            .chain(jobs.map(|it| KillScope::Job(self.run_name("job", it))))
            .chain(request.model.clone().map(KillScope::Model))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The tag of a subject: whose personal data a payload holds.
    #[must_use]
    pub fn subject_tag(&self, name: &str) -> Tag {
        first_half(self.of("subject", name).0)
    }

    /// The tags of subjects as an entry lists them: sorted, without repetition.
    #[must_use]
    pub fn subject_tags(&self, names: &BTreeSet<String>) -> Vec<Tag> {
        let tags: BTreeSet<Tag> = names.iter().map(|name| self.subject_tag(name)).collect();
        tags.into_iter().collect()
    }

    /// The tag of an idempotency key, which belongs to its actor.
    #[must_use]
    pub fn idempotency_tag(&self, actor: &ActorId, key: &str) -> Tag {
        let actor = actor.as_str().as_bytes();
        first_half(self.0.tag(&[b"idempotency\0", actor, &[0], key.as_bytes()]))
    }

    /// The window tag of each hit that has one.
    #[must_use]
    pub fn window_tags(&self, verdict: &Verdict) -> Vec<Option<Tag>> {
        verdict.hits.iter().map(|hit| self.window_tag(hit)).collect()
    }

    /// The tag of a sliding window: rule and key values, each with its length, absent ones apart.
    #[must_use]
    pub fn window_tag(&self, hit: &Hit) -> Option<Tag> {
        let values = hit.limit_key.as_ref()?;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(b"velocity\0");
        let mut push = |text: &str| {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        push(&hit.rule.window_name());
        for value in values {
            match value {
                Some(value) => {
                    push("+");
                    push(value);
                }
                None => push("-"),
            }
        }
        Some(first_half(self.0.tag(&[&bytes])))
    }
}

fn first_half(bytes: [u8; 32]) -> Tag {
    let mut out = [0; 16];
    out.copy_from_slice(&bytes[..16]);
    out
}
