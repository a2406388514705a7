//! Letters of the crash test: whatever is held is told to a receiver, across all kills. Owns the channel and what has
//! to have arrived; knows neither processes nor rounds.

use crate::http::Client;
use crate::receiver::Receiver;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the last letters may take: failed ones wait for some seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Signs what is sent.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The channel and what waited in it.
pub(crate) struct Letters {
    receiver: Receiver,
    /// Restarts after which letters waited.
    waited: u64,
}

impl Letters {
    /// Starts the receiver, and writes the channel beside the rules and its secret.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn start(bundle: &Path, secrets: &Path) -> Result<Self> {
        let receiver = Receiver::start()?;
        std::fs::create_dir_all(secrets)?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        std::io::Write::write_all(&mut file.open(secrets.join("siem"))?, KEY.as_bytes())?;
        let text = format!(
            "version: v1\nchannels:\n  - {{ id: siem, kind: webhook, to: \"{}\", secret: siem }}\n\
             notify:\n  - {{ id: ask, on: [approval.opened], channels: [siem] }}\n",
            receiver.url()
        );
        std::fs::write(bundle.join("channels.yaml"), text)?;
        Ok(Self { receiver, waited: 0 })
    }

    /// Looks at what waits after a restart.
    ///
    /// # Errors
    /// When a letter was given up.
    pub(crate) fn look(&mut self, client: &mut Client) -> Result<()> {
        self.waited += u64::from(waiting(client)? > 0);
        Ok(())
    }

    /// Waits until everything was delivered, and compares: each of `approvals` was told at least once, and always under
    /// the same id, so that whoever takes letters knows one that comes twice.
    ///
    /// # Errors
    /// What was lost, or is two letters.
    pub(crate) fn finish(&self, client: &mut Client, approvals: &[&str]) -> Result<String> {
        self.receiver.hurry();
        let began = Instant::now();
        let taken = loop {
            let left = waiting(client)?;
            let taken = self.receiver.taken();
            let missing = approvals.iter().find(|it| !taken.contains_key(&letter(it)));
            match missing {
                None if left == 0 => break taken,
                _ if began.elapsed() > PATIENCE => {
                    bail!("{left} letters wait after {PATIENCE:?}; never told: {missing:?}")
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        let took = began.elapsed().as_secs_f64();
        let mut twice = 0;
        for approval in approvals {
            let ids = taken.get(&letter(approval)).context("it was told a moment ago")?;
            if ids.len() != 1 {
                bail!("{approval} was told under several ids: {ids:?}");
            }
            twice += u64::from(ids.values().any(|count| *count > 1));
        }
        let (all, waited) = (approvals.len(), self.waited);
        Ok(format!(
            "{all} letters arrived, {twice} of them twice, the last {took:.1} s after the last kill; some waited \
             after {waited} kills"
        ))
    }

    /// Whether letters ever waited after a kill: without that nothing is shown.
    pub(crate) fn met(&self) -> bool {
        self.waited > 0
    }
}

/// Under which the letter about a held action was taken.
fn letter(approval: &str) -> (String, String) {
    ("placet.approval.opened.v1".to_owned(), approval.to_owned())
}

/// How many letters wait.
fn waiting(client: &mut Client) -> Result<usize> {
    let response = client.request("GET", "/api/v1/outbox", None)?;
    let value: Value = serde_json::from_slice(&response.body)
        .with_context(|| format!("no outbox: {}", response.text()))?;
    let letters = value["deliveries"].as_array().with_context(|| format!("no outbox: {value}"))?;
    if let Some(dead) = letters.iter().find(|it| it["state"] == "dead") {
        bail!("a letter was given up: {dead}");
    }
    Ok(letters.len())
}
