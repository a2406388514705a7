//! The witness policy, a text in the form of C2SP tlog-policy: which logs and witnesses are known,
//! and which witnesses together are a quorum. Owns the text and the rule; refuses to fetch anything.

use crate::cosignature::CosignerKey;
use crate::note::{NoteError, VerifierKey};
use crate::text::decimal;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::hash::Hasher;

#[cfg(feature = "portable")]
mod evaluate;

#[cfg(feature = "portable")]
pub use evaluate::{BadCosignature, Cosigned, Witnessing};

/// Largest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Most logs, witnesses and groups, each, that a policy may have.
pub const POLICY_ITEMS_MAX: usize = 256;
/// The quorum of nobody.
const NONE: &[u8] = b"none";

/// What is wrong with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// The text exceeds [`POLICY_BYTES_MAX`], or a list [`POLICY_ITEMS_MAX`].
    TooLarge,
    /// The last line has no newline: something may have been cut off.
    Unterminated,
    /// A control character other than tab and newline.
    ControlCharacter,
    /// The line is none of `log`, `witness`, `group` and `quorum`.
    Keyword,
    /// The line has too few or too many fields.
    Fields,
    /// The vkey is refused.
    Key(NoteError),
    /// The same public key is on an earlier line of the same kind.
    KeyTwice,
    /// The name is defined already, or is `none`.
    NameTaken,
    /// The name is not defined on an earlier line.
    NameUnknown,
    /// The name is a member of a group already.
    MemberTwice,
    /// The threshold is not `all`, `any` or a number from 1 to the number of members.
    Threshold,
    /// There is a second quorum line.
    QuorumTwice,
    /// There is no quorum line.
    QuorumMissing,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the policy is too large",
            Self::Unterminated => "the line has no newline at its end",
            Self::ControlCharacter => "the line has a control character",
            Self::Keyword => "the line is none of log, witness, group and quorum",
            Self::Fields => "the line has too few or too many fields",
            Self::Key(_) => "the vkey is refused",
            Self::KeyTwice => "the key is listed already",
            Self::NameTaken => "the name is taken",
            Self::NameUnknown => "the name is not defined above",
            Self::MemberTwice => "the name is a member of a group already",
            Self::Threshold => "the threshold does not fit the members",
            Self::QuorumTwice => "there is a second quorum",
            Self::QuorumMissing => "there is no quorum line",
        })
    }
}

/// Why a policy is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyError {
    line: usize,
    fault: PolicyFault,
}

impl PolicyError {
    /// The line, from 1; for what is missing, the line after the last.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong there.
    #[must_use]
    pub fn fault(&self) -> PolicyFault {
        self.fault
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy line {}: {}", self.line, self.fault)
    }
}

impl core::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.fault {
            PolicyFault::Key(error) => Some(error),
            _ => None,
        }
    }
}

/// A log of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

impl PolicyLog {
    /// Its key, whose name is the origin.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Its address, if the policy gives one in UTF-8.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        url_text(self.url.as_ref())
    }
}

/// A witness of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    name: Vec<u8>,
    key: CosignerKey,
    url: Option<Vec<u8>>,
}

impl Witness {
    /// Its name within the policy, for people: octets that are no UTF-8 are replaced.
    #[must_use]
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).to_string()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// Its submission prefix, if the policy gives one in UTF-8.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        url_text(self.url.as_ref())
    }
}

fn url_text(url: Option<&Vec<u8>>) -> Option<&str> {
    core::str::from_utf8(url?).ok()
}

/// A witness or group, by its place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

/// A parsed policy.
///
/// INVARIANT: a group's members stand before it, and nothing is a member twice; so each witness
/// counts in one way, and one pass in order decides every group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

impl Policy {
    /// Parses the whole of `text`. Names and addresses are octets, as the format has it; keys are
    /// Ed25519 (logs: plain, witnesses: cosignatures), others are refused rather than never heard.
    ///
    /// # Errors
    /// The first [`PolicyError`].
    pub fn parse<H: Hasher>(text: &[u8]) -> Result<Self, PolicyError> {
        let fail = |line, fault| Err(PolicyError { line, fault });
        if text.len() > POLICY_BYTES_MAX {
            return fail(1, PolicyFault::TooLarge);
        }
        let mut draft = Draft::default();
        let mut number = 0_usize;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            number = number.saturating_add(1);
            let Some(line) = line.strip_suffix(b"\n") else {
                return fail(number, PolicyFault::Unterminated);
            };
            if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
                return fail(number, PolicyFault::ControlCharacter);
            }
            draft.line::<H>(line).map_err(|fault| PolicyError { line: number, fault })?;
        }
        let Draft { logs, witnesses, groups, quorum, .. } = draft;
        match quorum {
            Some(quorum) => Ok(Self { logs, witnesses, groups, quorum }),
            None => fail(number.saturating_add(1), PolicyFault::QuorumMissing),
        }
    }

    /// The policy's text: logs, witnesses, groups, quorum, thresholds as numbers.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = |fields: &[&[u8]]| {
            out.extend_from_slice(&fields.join(&b' '));
            out.push(b'\n');
        };
        for log in &self.logs {
            let key = log.key.to_string();
            let fields = [b"log", key.as_bytes()];
            line(&fields.into_iter().chain(log.url.as_deref()).collect::<Vec<_>>());
        }
        for witness in &self.witnesses {
            let key = witness.key.to_string();
            let fields = [b"witness", witness.name.as_slice(), key.as_bytes()];
            line(&fields.into_iter().chain(witness.url.as_deref()).collect::<Vec<_>>());
        }
        for group in &self.groups {
            let threshold = group.threshold.to_string();
            let fields = [b"group", group.name.as_slice(), threshold.as_bytes()];
            let members = group.members.iter().map(|member| self.name(*member));
            line(&fields.into_iter().chain(members).collect::<Vec<_>>());
        }
        line(&[b"quorum", self.quorum.map_or(NONE, |member| self.name(member))]);
        out
    }

    fn name(&self, member: Member) -> &[u8] {
        let name = match member {
            Member::Witness(at) => self.witnesses.get(at).map(|witness| &witness.name),
            Member::Group(at) => self.groups.get(at).map(|group| &group.name),
        };
        name.map_or(NONE, Vec::as_slice)
    }

    /// The logs, in the order of their lines.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of their lines.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether the quorum is `none`.
    #[must_use]
    pub fn asks_nobody(&self) -> bool {
        self.quorum.is_none()
    }

    /// Whether the witnesses for which `cosigned` answers yes are a quorum.
    pub fn holds(&self, cosigned: impl FnMut(&Witness) -> bool) -> bool {
        let witnesses: Vec<bool> = self.witnesses.iter().map(cosigned).collect();
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let met = |member: &Member, groups: &[bool]| match member {
            Member::Witness(at) => witnesses.get(*at) == Some(&true),
            Member::Group(at) => groups.get(*at) == Some(&true),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| met(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        self.quorum.is_none_or(|member| met(&member, &groups))
    }
}

/// A policy while its lines are read.
#[derive(Default)]
struct Draft {
    logs: Vec<PolicyLog>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// The quorum, once its line was read.
    quorum: Option<Option<Member>>,
    /// Everything that is a member of some group.
    used: Vec<Member>,
}

impl Draft {
    fn line<H: Hasher>(&mut self, line: &[u8]) -> Result<(), PolicyFault> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let fields: Vec<&[u8]> = line.split(blank).filter(|field| !field.is_empty()).collect();
        let Some((keyword, fields)) = fields.split_first() else {
            return Ok(());
        };
        match *keyword {
            comment if comment.starts_with(b"#") => Ok(()),
            b"log" => self.log::<H>(fields),
            b"witness" => self.witness::<H>(fields),
            b"group" => self.group(fields),
            b"quorum" => self.quorum(fields),
            _ => Err(PolicyFault::Keyword),
        }
    }

    fn log<H: Hasher>(&mut self, fields: &[&[u8]]) -> Result<(), PolicyFault> {
        let (key, url) = match fields {
            [key] => (key, None),
            [key, url] => (key, Some(url.to_vec())),
            _ => return Err(PolicyFault::Fields),
        };
        let key = VerifierKey::parse::<H>(key_text(key)?).map_err(PolicyFault::Key)?;
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err(PolicyFault::KeyTwice);
        }
        push(&mut self.logs, PolicyLog { key, url })
    }

    fn witness<H: Hasher>(&mut self, fields: &[&[u8]]) -> Result<(), PolicyFault> {
        let (name, key, url) = match fields {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url.to_vec())),
            _ => return Err(PolicyFault::Fields),
        };
        self.check_free(name)?;
        let key = CosignerKey::parse::<H>(key_text(key)?).map_err(PolicyFault::Key)?;
        if self.witnesses.iter().any(|known| known.key.public_key() == key.public_key()) {
            return Err(PolicyFault::KeyTwice);
        }
        push(&mut self.witnesses, Witness { name: name.to_vec(), key, url })
    }

    fn group(&mut self, fields: &[&[u8]]) -> Result<(), PolicyFault> {
        let [name, threshold, names @ ..] = fields else {
            return Err(PolicyFault::Fields);
        };
        if names.is_empty() {
            return Err(PolicyFault::Fields);
        }
        self.check_free(name)?;
        let threshold = match *threshold {
            b"all" => names.len(),
            b"any" => 1,
            digits => core::str::from_utf8(digits)
                .ok()
                .and_then(|digits| decimal(digits).ok())
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=names.len()).contains(number))
                .ok_or(PolicyFault::Threshold)?,
        };
        let mut members = Vec::new();
        for member in names {
            let member = self.find(member).ok_or(PolicyFault::NameUnknown)?;
            if self.used.contains(&member) {
                return Err(PolicyFault::MemberTwice);
            }
            self.used.push(member);
            members.push(member);
        }
        push(&mut self.groups, Group { name: name.to_vec(), threshold, members })
    }

    fn quorum(&mut self, fields: &[&[u8]]) -> Result<(), PolicyFault> {
        let [name] = fields else {
            return Err(PolicyFault::Fields);
        };
        if self.quorum.is_some() {
            return Err(PolicyFault::QuorumTwice);
        }
        self.quorum = Some(match *name {
            NONE => None,
            name => Some(self.find(name).ok_or(PolicyFault::NameUnknown)?),
        });
        Ok(())
    }

    fn check_free(&self, name: &[u8]) -> Result<(), PolicyFault> {
        let taken = name == NONE || self.find(name).is_some();
        if taken { Err(PolicyFault::NameTaken) } else { Ok(()) }
    }

    fn find(&self, name: &[u8]) -> Option<Member> {
        let witness = self.witnesses.iter().position(|witness| witness.name == name);
        let group = || self.groups.iter().position(|group| group.name == name);
        witness.map(Member::Witness).or_else(|| group().map(Member::Group))
    }
}

fn key_text(bytes: &[u8]) -> Result<&str, PolicyFault> {
    core::str::from_utf8(bytes).map_err(|_| PolicyFault::Key(NoteError::VerifierKey))
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), PolicyFault> {
    if list.len() >= POLICY_ITEMS_MAX {
        return Err(PolicyFault::TooLarge);
    }
    list.push(item);
    Ok(())
}
