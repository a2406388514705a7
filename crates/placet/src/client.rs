//! A small HTTP client for the API: one base URL, one key or client certificate, JSON in and out. Owns how a problem
//! document becomes a failure; refuses to know what the endpoints mean.

use crate::credentials;
use crate::exit::Fault;
use crate::loud;
use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use placet_outbound::{ClientTls, Connector};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than the longest wait the server grants.
const PATIENCE: Duration = Duration::from_secs(90);
/// What is asked for at a time of a list.
const PAGE: usize = 200;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the server is and who asks.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remote {
    /// Base URL of the server.
    #[arg(long, env = "PLACET_URL", default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub(crate) url: String,
    /// API key; without it the session of `placet login` is used. A server started with --dev needs none.
    #[arg(long, env = "PLACET_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Workspace, where the server does not take it from the key (--dev).
    #[arg(long, env = "PLACET_WORKSPACE", value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    #[command(flatten)]
    pub(crate) tls: Tls,
}

/// How an https:// server is known, and how it knows who asks.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Authority that the server's certificate comes from, in PEM; none of the system's counts then.
    #[arg(long, env = "PLACET_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Client certificate in PEM, in place of an API key.
    #[arg(long, env = "PLACET_CERT", value_name = "FILE", requires = "cert_key")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the client certificate, in PEM.
    #[arg(long, env = "PLACET_CERT_KEY", value_name = "FILE", requires = "cert")]
    pub(crate) cert_key: Option<PathBuf>,
}

impl Tls {
    fn connector(&self, https: bool) -> Result<Connector> {
        let read = |file: &Option<PathBuf>| {
            let read = |file: &PathBuf| {
                std::fs::read(file).with_context(|| format!("read {}", file.display()))
            };
            file.as_ref().map(read).transpose()
        };
        let given = self.ca.is_some() || self.cert.is_some();
        if !https {
            if given {
                let fault = Fault::usage("--ca and --cert are for an https:// server".to_owned());
                return Err(fault.next("name it with --url or PLACET_URL").into());
            }
            return Ok(ClientTls::plain()?);
        }
        let identity = read(&self.cert)?.zip(read(&self.cert_key)?);
        let tls = ClientTls { authorities: read(&self.ca)?, identity };
        let connector = tls.connector().map_err(|error| Fault::usage(error.to_string()));
        Ok(connector.map_err(|fault| fault.next("name files in PEM"))?)
    }
}

/// An answer as it came.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("the server's answer is not JSON")
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server did what was asked.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The stable code of a problem document.
    pub(crate) fn problem(&self) -> Option<String> {
        let document: Value = serde_json::from_slice(&self.body).ok()?;
        Some(document.get("code")?.as_str()?.to_owned())
    }
}

/// A connection to one server under one key.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    base: String,
    key: Option<String>,
    workspace: Option<String>,
}

impl Client {
    /// For the server at a base URL, under a key or without one.
    ///
    /// # Errors
    /// When the URL is none, or what TLS needs cannot be read.
    pub(crate) fn new(base: &str, key: Option<String>) -> Result<Self> {
        Self::over(base, key, &Tls::default())
    }

    fn over(base: &str, key: Option<String>, tls: &Tls) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let https = base.starts_with("https://");
        if !https && !base.starts_with("http://") {
            let fault = Fault::usage(format!("{base} is no http:// or https:// URL"));
            return Err(fault.next("write http://HOST:PORT or https://HOST:PORT").into());
        }
        let connector = tls.connector(https)?;
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            base: base.to_owned(),
            key,
            workspace: None,
        })
    }

    /// For the server that the command line names.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn of(remote: &Remote) -> Result<Self> {
        let key = match &remote.key {
            Some(key) => Some(key.clone()),
            // Whoever names a certificate means to be known by it.
            None if remote.tls.cert.is_some() => None,
            None => credentials::key(&remote.url)?,
        };
        Ok(Self { key, ..Self::anonymous(remote)? })
    }

    /// The same without a key.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn anonymous(remote: &Remote) -> Result<Self> {
        let client = Self::over(&remote.url, None, &remote.tls)?;
        Ok(Self { workspace: remote.workspace.clone(), ..client })
    }

    /// The same key for a server at another base URL.
    pub(crate) fn at(&self, base: &str) -> Result<Self> {
        Self::new(base, self.key.clone())
    }

    /// The same server under another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// Asks and returns whatever is answered.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply> {
        let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        self.send_bytes(method, path, headers, body.is_some(), bytes).await
    }

    /// [`send`](Self::send) with the bytes as they are: what a person wrote is not rewritten.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        json: bool,
        body: Vec<u8>,
    ) -> Result<Reply> {
        let request = self.request(method, path, headers, json, body)?;
        let answer = tokio::time::timeout(PATIENCE, async {
            let response = self.answer(request).await?;
            let status = response.status().as_u16();
            loud::banner(response.headers());
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(&error.to_string()))?.to_bytes();
            Ok::<_, Fault>(Reply { status, body })
        });
        match answer.await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(self.unreachable(&format!("nothing within {PATIENCE:?}")).into()),
        }
    }

    fn unreachable(&self, why: &str) -> Fault {
        Fault::new("server_unreachable", format!("no answer from {}: {why}", self.base))
            .next("start a server with `placet up`, or name another with --url")
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        json: bool,
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header(ACCEPT, "application/json");
        }
        if json {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(workspace) = &self.workspace {
            request = request.header("Placet-Workspace", workspace);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let fault = |error| Fault::usage(format!("no request can be made of it: {error}"));
        Ok(request.map_err(fault)?)
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Fault> {
        self.pool.request(request).await.map_err(|error| {
            let mut why = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                why = error.to_string();
                cause = error.source();
            }
            self.unreachable(&why)
        })
    }

    /// GET of what has no end; its body, once its head says success.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Result<Incoming> {
        let request = self.request(Method::GET, path, headers, false, Vec::new())?;
        let answer = tokio::time::timeout(PATIENCE, self.answer(request)).await;
        let response =
            answer.map_err(|_| self.unreachable(&format!("nothing within {PATIENCE:?}")))??;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.unreachable(&error.to_string()))?.to_bytes();
        Err(match succeeded(Reply { status, body }) {
            Ok(_) => Fault::new("failed", "the server changed its mind").into(),
            Err(error) => error,
        })
    }

    /// Asks and insists on success.
    ///
    /// # Errors
    /// The server's problem document as a [`Fault`].
    pub(crate) async fn expect(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply> {
        succeeded(self.send(method, path, headers, body).await?)
    }

    /// GET, expecting JSON.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.expect(Method::GET, path, &[], None).await?.json()
    }

    /// All there is of a list, page by page: `member` of the answers to `path`, which may have a query. Up to the
    /// last page, since the server bounds what there is, and a list that is cut looks whole.
    ///
    /// # Errors
    /// As [`expect`](Self::expect), and where the server names a page twice.
    pub(crate) async fn all(&self, path: &str, member: &str) -> Result<Vec<Value>> {
        let (mut found, mut pages) = (Vec::new(), BTreeSet::new());
        let base = format!("{path}{}limit={PAGE}", if path.contains('?') { '&' } else { '?' });
        let mut cursor = String::new();
        loop {
            let mut page = self.get(&format!("{base}{cursor}")).await?;
            let Some(Value::Array(items)) = page.get_mut(member).map(Value::take) else {
                let detail = format!("the server's answer has no list of {member}");
                return Err(Fault::new("failed", detail).into());
            };
            found.extend(items);
            // A word, or the number of an entry.
            let next = match &page["next_cursor"] {
                Value::Null => return Ok(found),
                Value::String(next) => next.clone(),
                next => next.to_string(),
            };
            cursor = format!("&cursor={}", escape(&next));
            if !pages.insert(next) {
                let detail = format!("the server names a page of {member} twice");
                let next = "ask again; nothing was shown of what is incomplete";
                return Err(Fault::new("failed", detail).next(next).into());
            }
        }
    }

    /// GET, expecting text.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub(crate) async fn get_text(&self, path: &str) -> Result<String> {
        Ok(self.expect(Method::GET, path, &[("accept", "text/plain")], None).await?.text())
    }

    /// POST of JSON, expecting JSON.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::POST, path, &[], Some(body)).await?.json()
    }
}

/// The reply, if it is a success.
///
/// # Errors
/// The problem document as a [`Fault`].
pub(crate) fn succeeded(reply: Reply) -> Result<Reply> {
    if reply.is_success() {
        return Ok(reply);
    }
    let Ok(problem) = reply.json() else {
        let text: String = reply.text().chars().take(200).collect();
        let detail =
            format!("the server answered {} without a problem document: {text}", reply.status);
        return Err(Fault::new("failed", detail).into());
    };
    let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let code = text("code");
    let mut detail = format!("the server refused with {} {code}", reply.status);
    for part in [text("detail"), text("title")] {
        if !part.is_empty() {
            detail = format!("{detail}: {part}");
            break;
        }
    }
    let field = text("field");
    if !field.is_empty() && !detail.contains(&field) {
        detail = format!("{detail} (field {field})");
    }
    if let Some(why) = refusal(&problem["decision"]) {
        detail = format!("{detail}: {why}");
    }
    let fault = Fault::new(code.clone(), detail).document(problem);
    Err(match hint(&code) {
        Some(next) => fault.next(next),
        None => fault,
    }
    .into())
}

/// Which decision refused it, and for which reasons.
fn refusal(decision: &Value) -> Option<String> {
    let id = decision["id"].as_str()?;
    let outcome = decision["outcome"].as_str().unwrap_or("?");
    let reasons = decision["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<String> = reasons
        .map(|reason| match (reason["code"].as_str(), reason["text"].as_str()) {
            (Some(code), Some(text)) => format!("{code} ({text})"),
            (code, text) => code.or(text).unwrap_or("?").to_owned(),
        })
        .collect();
    Some(format!("{id} {outcome} {}", reasons.join(", ")))
}

/// What to do about the commonest refusals.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "key_missing" => "sign in with `placet login`, or pass a key with --key or PLACET_KEY",
        "session_closed" | "session_ended" => {
            "sign in again with `placet login`; `placet logout` forgets the session"
        }
        "workspace_unclear" => "name the workspace with --workspace",
        "certificate_unknown" => "an admin runs `placet key create ACTOR --certificate FILE`",
        "certificate_expired" => {
            "get a new certificate, and have an admin add it if its key is new"
        }
        "certificate_taken" => "make a new key pair; one stands for one principal, for good",
        "token_unmapped" => "have your group added to `identity:` of the policy",
        "token_used" => "get a new token",
        "key_unknown" | "key_revoked" => "ask an admin of the workspace for a new key",
        "stale_approval_digest" => "look at it again with `placet approvals show`, then decide",
        "own_approval" => "somebody else with the role has to decide it",
        "role_missing" => "use the key of somebody who has the role",
        "second_person_needed" => "a second person runs the same command",
        "not_found" => {
            "check the id, and that the key is of the workspace it belongs to (`placet audit query`)"
        }
        "workspace_not_found" => {
            "check --workspace; `placet workspace list` shows those that the key may see"
        }
        "field_invalid" | "field_missing" | "field_unknown" => {
            "correct the field and send it again"
        }
        "signer_in_force" => "rotate first with `placet key rotate`",
        "legal_hold" => "`placet hold list` shows the holds; two admins release one",
        "retention_running" => "wait, or name a reason that the policy lists as lawful",
        "killed" => "two people lift it with `placet lift`",
        "stop_unrecorded" => {
            "mend the disk and restart, then stop it again where it is not stopped"
        }
        "lift_unfinished" => "mend the disk, then two people lift it again",
        "overloaded" | "store_failed" | "clock_unsure" | "shutting_down" => {
            "nothing was decided; try again with the same idempotency key"
        }
        _ => return None,
    })
}

/// `text` as one segment of a URL or one value of its query (RFC 3986).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_segment_has_no_reserved_characters() {
        assert_eq!(escape("human:a b/ü"), "human%3Aa%20b%2F%C3%BC");
    }
}
