//! Passages: effects that a gate let happen without a decision, reported afterwards.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::Digest;
use crate::ids::{KeyId, TimeMs, is_dotted_name, is_label};
use crate::json::Writer;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

/// `passage.reported`: something was done and nothing permits it. The reason stands in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassageReported {
    /// The surface.
    pub surface: String,
    /// Whether the bundle knows it.
    pub surface_known: bool,
    /// Action on it.
    pub action: String,
    /// Verified environment of who reports.
    pub environment: String,
    /// The gate that reports it.
    pub by: ActorRef,
    /// With which key; absent in development mode.
    pub key: Option<KeyId>,
    /// When it happened, as the gate says.
    pub at: TimeMs,
    /// Whether the surface fails open in this environment, so that the gate might let it happen.
    pub open: bool,
    /// The bundle that says so.
    pub policy: Option<Digest>,
}

impl PassageReported {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("action", &self.action);
        w.uint("at_ms", self.at.0);
        w.str("by", self.by.as_str());
        w.str("environment", &self.environment);
        w.str_opt("key", self.key.map(|key| key.to_string()).as_deref());
        w.flag("open", self.open);
        w.digest_opt("policy", self.policy.as_ref());
        w.str("surface", &self.surface);
        w.flag("surface_unknown", !self.surface_known);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let dotted = |text: &str| is_dotted_name(text).then(|| text.to_owned());
        Ok(Self {
            surface: r.parsed("surface", dotted)?,
            surface_known: !r.flag("surface_unknown")?,
            action: r.parsed("action", dotted)?,
            environment: r.parsed("environment", |text| is_label(text).then(|| text.to_owned()))?,
            by: r.parsed("by", ActorRef::parse)?,
            key: r.parsed_opt("key", KeyId::parse)?,
            at: TimeMs(r.uint("at_ms")?),
            open: r.flag("open")?,
            policy: r.digest_opt("policy")?,
        })
    }
}
