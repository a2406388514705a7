//! A receiver of webhooks for the crash test: takes what comes, breaks off now and then, and remembers what it took.
//! Owns what arrived; knows nothing of what should have.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One attempt in so many is broken off without an answer.
const BROKEN_EVERY: u64 = 25;
/// So long is thought about each, so that a kill meets some under way.
const PAUSE: Duration = Duration::from_millis(15);
/// Largest event that is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What arrived: by type and approval, the ids under which it did and how often.
pub(crate) type Taken = BTreeMap<(String, String), BTreeMap<String, u64>>;

/// A receiver; it ends with the process.
pub(crate) struct Receiver {
    address: String,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    taken: Mutex<Taken>,
    /// Whether each is answered at once.
    prompt: AtomicBool,
}

impl Receiver {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("the receiver of webhooks")?;
        let address = listener.local_addr()?.to_string();
        let kept = Arc::new(Kept::default());
        let keeps = Arc::clone(&kept);
        std::thread::spawn(move || {
            for (number, stream) in (1_u64..).zip(listener.incoming().map_while(Result::ok)) {
                let keeps = Arc::clone(&keeps);
                // A connection that fails is the sender's to try again.
                std::thread::spawn(move || drop(serve(&stream, number, &keeps)));
            }
        });
        Ok(Self { address, kept })
    }

    /// Where events are sent to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// From here on each is answered at once: nothing dies any more, and what waits is to arrive soon.
    pub(crate) fn hurry(&self) {
        self.kept.prompt.store(true, Ordering::SeqCst);
    }

    /// What arrived so far.
    pub(crate) fn taken(&self) -> Taken {
        self.kept.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: &TcpStream, number: u64, keeps: &Kept) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream);
    for request in 0_u64.. {
        let Some((id, body)) = read(&mut reader)? else { return Ok(()) };
        if !keeps.prompt.load(Ordering::SeqCst) {
            std::thread::sleep(PAUSE);
            if (number + request).is_multiple_of(BROKEN_EVERY) {
                return Ok(());
            }
        }
        let event: Value = serde_json::from_slice(&body)?;
        let text = |pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let key = (text("/type"), text("/data/approval/id"));
        {
            let mut taken = keeps.taken.lock().unwrap_or_else(PoisonError::into_inner);
            *taken.entry(key).or_default().entry(id).or_default() += 1;
        }
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// The id of an event and its body; `None` where the connection was closed.
fn read(reader: &mut impl BufRead) -> Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let (mut id, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => value.trim().clone_into(&mut id),
            "content-length" => length = value.trim().parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; usize::min(length, BODY_BYTES_MAX)];
    reader.read_exact(&mut body)?;
    Ok(Some((id, body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn an_event_is_kept_under_its_id() {
        let receiver = Receiver::start().unwrap();
        let body = r#"{"type":"placet.approval.opened.v1","data":{"approval":{"id":"apr_1"}}}"#;
        let mut stream = TcpStream::connect(&receiver.address).unwrap();
        for id in ["one", "one", "two"] {
            let text = format!(
                "POST /in HTTP/1.1\r\nWebhook-Id: {id}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = [0; 38];
            stream.read_exact(&mut answer).unwrap();
        }
        let key = ("placet.approval.opened.v1".to_owned(), "apr_1".to_owned());
        let expected: BTreeMap<String, u64> = [("one".to_owned(), 2), ("two".to_owned(), 1)].into();
        assert_eq!(receiver.taken().get(&key), Some(&expected));
    }
}
