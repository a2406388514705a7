//! What every command that asks the server takes, and what those that the constitution governs take
//! besides: where there are two admins, the first attempt waits for the other one and is repeated under
//! the same idempotency key. Refuses to know what they ask for.

use crate::client::{Client, Remote, Reply, succeeded};
use crate::commands::decide;
use crate::exit::Done;
use crate::output;
use anyhow::Result;
use clap::Args;
use hyper::Method;
use placet_runtime::crypto::SystemEntropy;
use placet_runtime::ports::Entropy;
use placet_types::hash::hex_encode;
use serde_json::Value;
use std::process::ExitCode;

/// Whom to ask, and for whom the answer is printed.
#[derive(Args, Debug)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// Print one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

impl Ask {
    pub(super) fn client(&self) -> Result<Client> {
        Client::of(&self.remote)
    }

    /// Prints the document, or what `text` prints of it.
    pub(super) fn show(&self, document: &Value, text: impl FnOnce(&Value)) -> Done {
        show(document, self.json, text)
    }

    /// Gets a document and shows it.
    pub(super) async fn get(&self, path: &str, text: impl FnOnce(&Value)) -> Done {
        self.show(&self.client()?.get(path).await?, text)
    }

    /// Posts a document and shows the answer.
    pub(super) async fn post(&self, path: &str, body: &Value, text: impl FnOnce(&Value)) -> Done {
        self.show(&self.client()?.post(path, body).await?, text)
    }
}

/// Prints a document for programs, or what `text` prints of it for people.
pub(super) fn show(document: &Value, json: bool, text: impl FnOnce(&Value)) -> Done {
    if json {
        output::document(document);
    } else {
        text(document);
    }
    Ok(ExitCode::SUCCESS)
}

/// A text that nobody guesses: an idempotency key, a nonce.
pub(super) fn fresh() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    hex_encode(&bytes)
}

/// Asks for what the constitution governs.
#[derive(Args, Debug)]
pub(crate) struct Governed {
    /// Repeat with the same one after the approval, or after a lost answer.
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    pub(super) ask: Ask,
}

impl Governed {
    /// The key that was given, or a fresh one: whoever has to repeat the command must know it.
    pub(super) fn key(&self) -> String {
        self.idempotency_key.clone().unwrap_or_else(fresh)
    }

    /// Posts under the key and shows what came of it.
    pub(super) async fn post(
        &self,
        path: &str,
        mut body: Value,
        text: impl FnOnce(&Value),
    ) -> Done {
        let key = self.key();
        body["idempotency_key"] = key.as_str().into();
        let sent = self.ask.client()?.send(Method::POST, path, &[], Some(&body)).await?;
        self.answered(&succeeded(sent)?, &key, text)
    }

    /// Deletes under the key and shows what came of it.
    pub(super) async fn delete(&self, path: &str, text: impl FnOnce(&Value)) -> Done {
        let key = self.key();
        let headers = [("idempotency-key", key.as_str())];
        let sent = self.ask.client()?.send(Method::DELETE, path, &headers, None).await?;
        self.answered(&succeeded(sent)?, &key, text)
    }

    /// Prints what came of it: the document, that it waits and how to go on, or what `text` prints.
    fn answered(&self, reply: &Reply, key: &str, text: impl FnOnce(&Value)) -> Done {
        let mut document = reply.json()?;
        if reply.status == 202 {
            return self.waits(&mut document, key, "");
        }
        self.ask.show(&document, text)
    }

    /// Prints that others have to approve it; `options` are those that have to be given besides.
    pub(super) fn waits(&self, document: &mut Value, key: &str, options: &str) -> Done {
        document["idempotency_key"] = key.into();
        if self.ask.json {
            output::document(document);
        } else {
            decide::print(&document["decision"]);
            output::line("It has to be approved first; then run the same command with");
            output::line(&format!("  {options}--idempotency-key {}", output::safe(key)));
        }
        Ok(ExitCode::from(10))
    }
}
