//! The server's stream of log entries (server-sent events), read entry by entry. Owns framing and
//! bounds; refuses to know what entries say, and to connect again by itself.

use crate::client::Client;
use crate::exit::Fault;
use anyhow::Result;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Duration;

/// The server says every 15 seconds that it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(50);
/// Largest event: an entry has at most 16 KiB.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// An open stream.
pub(crate) struct Entries {
    body: Incoming,
    read: Vec<u8>,
}

impl Client {
    /// The entries that follow the one at index `last`.
    ///
    /// # Errors
    /// The server's problem document as a [`Fault`], or that there is no answer.
    pub(crate) async fn entries_after(&self, last: Option<u64>) -> Result<Entries> {
        let last = last.map(|last| last.to_string());
        let mut headers = vec![("accept", "text/event-stream")];
        let path = match &last {
            Some(last) => {
                headers.push(("last-event-id", last));
                "/api/v1/events"
            }
            None => "/api/v1/events?from=0",
        };
        Ok(Entries { body: self.open(path, &headers).await?, read: Vec::new() })
    }
}

impl Entries {
    /// The next entry as its document; `None` when the stream has ended.
    ///
    /// # Errors
    /// When nothing comes any more, or what comes is no stream of entries.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            while let Some(block) = self.block() {
                if let Some(data) = data_of(&block)? {
                    return Ok(Some(data));
                }
            }
            let Some(bytes) = self.frame().await? else { return Ok(None) };
            self.read.extend_from_slice(&bytes);
            if self.read.len() > EVENT_BYTES_MAX && !self.read.windows(2).any(|two| two == b"\n\n")
            {
                let text = "an event is larger than any entry";
                return Err(Fault::new("failed", text).into());
            }
        }
    }

    /// What stands before the next empty line.
    fn block(&mut self) -> Option<Vec<u8>> {
        let end = self.read.windows(2).position(|two| two == b"\n\n")?;
        let rest = self.read.split_off(end + 2);
        Some(std::mem::replace(&mut self.read, rest))
    }

    async fn frame(&mut self) -> Result<Option<Bytes>> {
        let lost = |why: &str| Fault::new("server_unreachable", format!("the stream broke: {why}"));
        loop {
            match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => return Err(lost("the server says nothing any more").into()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(lost(&error.to_string()).into()),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

/// The document of an event; none for a comment.
fn data_of(block: &[u8]) -> Result<Option<Value>> {
    let text = String::from_utf8_lossy(block);
    let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) else {
        return Ok(None);
    };
    let data = serde_json::from_str(data);
    Ok(Some(data.map_err(|_| Fault::new("failed", "the server's stream is not one of entries"))?))
}

#[cfg(test)]
mod tests {
    use super::data_of;

    #[test]
    fn comments_are_skipped_and_entries_read() {
        assert_eq!(data_of(b": still here\n\n").unwrap(), None);
        let event = b"id: 7\nevent: decision\ndata: {\"index\":7}\n\n";
        assert_eq!(data_of(event).unwrap().unwrap()["index"], 7);
        assert!(data_of(b"data: {\n\n").is_err());
    }
}
