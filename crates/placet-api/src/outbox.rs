//! What is still to be told to channels, on the wire. Holds no text of a message.

use serde::Serialize;
use utoipa::ToSchema;

/// A delivery that waits, or that was given up.
#[derive(Serialize, ToSchema)]
pub struct DeliveryDocument {
    /// Its number.
    pub id: u64,
    /// Id of the channel.
    pub channel: String,
    /// What is told, a word of `on:`.
    pub event: String,
    /// Index of the log entry that it tells of.
    pub index: u64,
    /// The approval that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// `pending` or `dead`.
    pub state: &'static str,
    /// When it was found in the log.
    pub since: String,
    /// Attempts that failed.
    pub attempts: u32,
    /// Not before this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    /// What the last attempt came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A channel and how it is.
#[derive(Serialize, ToSchema)]
pub struct ChannelDocument {
    /// Its id.
    pub id: String,
    /// `telegram`, `slack`, `webhook`, or `unknown` where the policy in force has no such channel.
    pub kind: &'static str,
    /// `ready` or `down`.
    pub state: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Deliveries that wait.
    pub pending: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// Since when the oldest that waits does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
}

/// A page of deliveries, oldest first, and all channels.
#[derive(Serialize, ToSchema)]
pub struct OutboxDocument {
    /// The deliveries.
    pub deliveries: Vec<DeliveryDocument>,
    /// The channels of the workspace.
    pub channels: Vec<ChannelDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
