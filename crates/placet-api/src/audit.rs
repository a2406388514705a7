//! Log entries, receipts and pinned keys on the wire. Entries are passed on byte for byte; refuses
//! to know what they say.

use crate::text::{IdText, Instant};
use placet_types::ids::{Approval, Decision, TimeMs};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use utoipa::ToSchema;

/// An entry of the log.
#[derive(Serialize, ToSchema)]
pub struct LogEntryDocument<'a> {
    /// Its index.
    pub index: u64,
    /// The in-toto statement: the canonical bytes are the leaf.
    #[schema(value_type = Object)]
    pub entry: &'a RawValue,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// When it was sequenced.
    #[schema(value_type = String)]
    pub time: Instant,
    /// Where it leaves the approval that it is about: enough to keep a table of approvals up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalMark>,
}

/// Where an entry leaves an approval. Nothing personal is in it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ApprovalMark {
    /// Id, `apr_…`.
    #[schema(value_type = String)]
    pub id: IdText<Approval>,
    /// The held decision.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
    /// `pending`, `approved`, `consumed`, `rejected`, `expired`, `invalidated` or `withdrawn`.
    pub state: &'static str,
}

/// Bytes that are no entry.
#[derive(Debug)]
pub struct EntryFault;

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a log entry are no json")
    }
}

impl std::error::Error for EntryFault {}

impl<'a> LogEntryDocument<'a> {
    /// The document of the entry with these canonical bytes.
    ///
    /// # Errors
    /// [`EntryFault`] when they are no JSON, which no entry of a sound log is.
    pub fn build(
        index: u64,
        kind: &'a str,
        time: TimeMs,
        bytes: &'a [u8],
        approval: Option<ApprovalMark>,
    ) -> Result<Self, EntryFault> {
        let entry = serde_json::from_slice(bytes).map_err(|_| EntryFault)?;
        Ok(Self { index, entry, kind, time: Instant(time), approval })
    }
}

/// Answer to an audit query.
#[derive(Serialize, ToSchema)]
pub struct AuditDocument<'a> {
    /// The entries that match.
    pub entries: Vec<LogEntryDocument<'a>>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Everything below this index can be found.
    pub indexed: u64,
    /// Size of the log.
    pub size: u64,
}

/// Everything that happened under a trace id, in the order of the log.
#[derive(Serialize, ToSchema)]
pub struct TraceDocument<'a> {
    /// The trace id.
    pub trace_id: &'a str,
    /// Its entries.
    pub entries: Vec<LogEntryDocument<'a>>,
}

/// A receipt with what it says of itself.
#[derive(Serialize, ToSchema)]
pub struct ReceiptDocument<'a> {
    /// The receipt (C2SP tlog-proof).
    pub receipt: &'a str,
    /// Index of the entry that it proves.
    pub index: u64,
    /// Origin of the log.
    pub origin: &'a str,
    /// Size of the tree that was signed.
    pub size: u64,
}

/// A trust file for offline verifiers.
#[derive(Serialize, ToSchema)]
pub struct TrustDocument {
    /// Version of the format.
    pub v: u32,
    /// The keys.
    pub keys: Vec<TrustKeyDocument>,
}

/// A pinned key.
#[derive(Serialize, ToSchema)]
pub struct TrustKeyDocument {
    /// Verifier key (C2SP signed note).
    pub vkey: String,
    /// Smallest tree size it may sign.
    pub from_size: u64,
    /// Largest tree size it may sign; none means no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_size: Option<u64>,
    /// `active`, `retired` or `revoked`: whether it counts.
    pub status: &'static str,
}
