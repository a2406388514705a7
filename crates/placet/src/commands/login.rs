//! `login`, `logout`, `whoami`: a token of an issuer becomes a session key that other commands use. Owns
//! the device flow (RFC 8628) as its client; refuses to know how tokens are checked.

use crate::client::{Client, succeeded};
use crate::commands::ask::Ask;
use crate::credentials;
use crate::exit::{Done, Fault};
use crate::output;
use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use hyper::{Method, Request};
use placet_outbound::{Bounds, Outbound};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What an answer of the issuer may cost.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(30), answer_max: 256 << 10 };
/// Bytes of a token.
const TOKEN_BYTES_MAX: u64 = 16 << 10;
/// How long a code is waited for, whatever the issuer says.
const CODE_SECONDS_MAX: u64 = 1800;
/// How often to ask where the issuer does not say (RFC 8628, section 3.5), and what `slow_down` adds.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often at most.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Sign in: exchange a token of your organisation's issuer for a session key that other commands use
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet login --issuer https://login.example.com --client-id placet-cli
  get-token | placet login --token -")]
pub(crate) struct LoginArgs {
    /// URL of the issuer, as the policy names it; you confirm a code in a browser
    #[arg(
        long,
        env = "PLACET_ISSUER",
        value_name = "URL",
        required_unless_present = "token",
        requires = "client_id"
    )]
    issuer: Option<String>,
    /// Name of this program at the issuer
    #[arg(long, env = "PLACET_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// What is asked of the issuer
    #[arg(long, default_value = "openid profile", value_name = "WORDS")]
    scope: String,
    /// Use the access token where the issuer gives an id token as well
    #[arg(long)]
    access_token: bool,
    /// Trust anchors of the issuer besides those of the system, in PEM
    #[arg(long, value_name = "FILE")]
    trust_roots: Option<PathBuf>,
    /// Take a token from standard input instead: `-`
    #[arg(long, value_name = "-", conflicts_with_all = ["client_id", "access_token", "trust_roots"])]
    token: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Sign out: close the session and forget its key
#[derive(Args, Debug)]
#[command(after_help = "Example:
  placet logout")]
pub(crate) struct LogoutArgs {
    #[command(flatten)]
    ask: Ask,
}

/// Show who you are for the server, what you may do, and until when
#[derive(Args, Debug)]
#[command(after_help = "Example:
  placet whoami --json")]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    ask: Ask,
}

/// Runs `login`.
pub(crate) async fn login(args: LoginArgs) -> Done {
    let token = match &args.token {
        Some(from) if from == "-" => from_stdin()?,
        Some(_) => {
            let fault =
                Fault::usage("--token takes `-`: a token on the command line is for all to see");
            return Err(fault.next("write it to standard input").into());
        }
        None => device(&args).await?,
    };
    let remote = &args.ask.remote;
    let client = Client::anonymous(remote)?.with_key(&token);
    let session = client.post("/api/v1/sessions", &Value::Object(serde_json::Map::new())).await?;
    let file = credentials::keep(&remote.url, &session)?;
    let mut shown = session;
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("key");
    }
    args.ask.show(&shown, |session| {
        output::line(&format!(
            "signed in to {} as {}",
            remote.url,
            output::plain(&session["actor"])
        ));
        describe(session);
        output::field("kept in", &file.display().to_string());
    })
}

/// Runs `logout`.
pub(crate) async fn logout(args: LogoutArgs) -> Done {
    let remote = &args.ask.remote;
    let given = remote.key.is_some();
    let kept = credentials::key(&remote.url)?;
    if !given && kept.is_none() {
        output::line(&format!("nobody is signed in to {}", remote.url));
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::of(remote)?;
    let reply = client.send(Method::DELETE, "/api/v1/sessions/current", &[], None).await?;
    let over = ["session_closed", "session_ended", "key_unknown"];
    if !reply.problem().is_some_and(|code| over.contains(&code.as_str())) {
        succeeded(reply)?;
    }
    if !given {
        credentials::forget(&remote.url)?;
    }
    output::line(&format!("signed out of {}", remote.url));
    Ok(ExitCode::SUCCESS)
}

/// Runs `whoami`.
pub(crate) async fn whoami(args: WhoamiArgs) -> Done {
    args.ask
        .get("/api/v1/sessions/current", |who| {
            output::line(&output::plain(&who["actor"]));
            describe(who);
        })
        .await
}

fn describe(who: &Value) {
    for key in ["workspace", "environment"] {
        output::field(key, &output::plain(&who[key]));
    }
    let list = |key: &str| {
        let items = who[key].as_array().into_iter().flatten().map(output::plain);
        items.collect::<Vec<_>>().join(", ")
    };
    let roles = list("roles");
    output::field("roles", if roles.is_empty() { "none" } else { &roles });
    let chain = list("on_behalf_of");
    if !chain.is_empty() {
        output::field("on behalf of", &chain);
    }
    for (key, label) in [("issuer", "issuer"), ("expires", "until")] {
        if who.get(key).is_some() {
            output::field(label, &output::plain(&who[key]));
        }
    }
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(TOKEN_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .context("read the token from standard input")?;
    let token = text.trim();
    if token.is_empty()
        || token.contains(char::is_whitespace)
        || text.len() as u64 > TOKEN_BYTES_MAX
    {
        let fault = Fault::usage("standard input holds no token");
        return Err(fault.next("write one token there, of at most 16 KiB").into());
    }
    Ok(token.to_owned())
}

fn refused(detail: impl Into<String>) -> anyhow::Error {
    Fault::new("login_failed", detail).next("try again, or bring a token with --token -").into()
}

/// The endpoints of an issuer, by its own word.
struct Endpoints {
    outbound: Outbound,
    device: String,
    token: String,
}

impl Endpoints {
    async fn of(issuer: &str, roots: Option<&[u8]>) -> Result<Self> {
        let outbound = Outbound::new(roots).map_err(|error| Fault::usage(error.to_string()))?;
        let base = issuer.trim_end_matches('/');
        let request = Request::get(format!("{base}/.well-known/openid-configuration"));
        let request = request.body(Bytes::new()).map_err(|_| Fault::usage("--issuer is no URL"))?;
        let answer = outbound.send(request, BOUNDS).await;
        let answer = answer.map_err(|error| refused(format!("no answer from {base}: {error}")))?;
        let document: Value = serde_json::from_slice(answer.body())
            .map_err(|_| refused(format!("{base} has no discovery document")))?;
        if document["issuer"] != issuer {
            let text = format!("the discovery document of {base} is of another issuer");
            return Err(refused(text));
        }
        let endpoint = |name: &str| {
            let url = document[name].as_str();
            let url = url.ok_or_else(|| refused(format!("{base} has no `{name}`")))?;
            if issuer.starts_with("https://") && !url.starts_with("https://") {
                return Err(refused(format!("`{name}` of {base} is plain http")));
            }
            Ok(url.to_owned())
        };
        Ok(Self {
            device: endpoint("device_authorization_endpoint")?,
            token: endpoint("token_endpoint")?,
            outbound,
        })
    }

    async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Value> {
        let pairs =
            form.iter().map(|(key, value)| format!("{key}={}", crate::client::escape(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let request = Request::post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(Bytes::from(body))
            .map_err(|_| refused("the issuer names an endpoint that is no URL"))?;
        let answer = self.outbound.send(request, BOUNDS).await;
        let answer = answer.map_err(|error| refused(format!("no answer from {url}: {error}")))?;
        serde_json::from_slice(answer.body())
            .map_err(|_| refused(format!("the answer of {url} is not JSON")))
    }
}

/// Shows a code and waits until somebody has confirmed it in a browser.
async fn device(args: &LoginArgs) -> Result<String> {
    let issuer = args.issuer.as_deref().unwrap_or_default();
    let client_id = args.client_id.as_deref().unwrap_or_default();
    let roots = match &args.trust_roots {
        None => None,
        Some(file) => {
            Some(std::fs::read(file).with_context(|| format!("read {}", file.display()))?)
        }
    };
    let endpoints = Endpoints::of(issuer, roots.as_deref()).await?;
    let form = [("client_id", client_id), ("scope", args.scope.as_str())];
    let begun = endpoints.post(&endpoints.device, &form).await?;
    let text = |name: &str| {
        let value = begun[name].as_str();
        value.ok_or_else(|| {
            let why = begun["error"].as_str().unwrap_or("no code");
            refused(format!("the issuer gives no code for this client: {why}"))
        })
    };
    let (code, shown, place) =
        (text("device_code")?, text("user_code")?, text("verification_uri")?);
    let whole = begun["verification_uri_complete"].as_str().unwrap_or(place);
    eprintln!("open {} and confirm the code {}", output::safe(whole), output::safe(shown));
    let seconds = begun["expires_in"].as_u64().unwrap_or(CODE_SECONDS_MAX).min(CODE_SECONDS_MAX);
    let interval = begun["interval"].as_u64().map_or(INTERVAL, Duration::from_secs);
    let polling = poll(&endpoints, client_id, code, interval.max(INTERVAL_MIN));
    let given = tokio::time::timeout(Duration::from_secs(seconds), polling).await;
    let given = given.map_err(|_| refused("nobody has confirmed the code in time"))??;
    let names =
        if args.access_token { ["access_token", "id_token"] } else { ["id_token", "access_token"] };
    let token = names.iter().find_map(|name| given[*name].as_str());
    Ok(token.ok_or_else(|| refused("the issuer gives no token"))?.to_owned())
}

async fn poll(
    endpoints: &Endpoints,
    client_id: &str,
    code: &str,
    mut interval: Duration,
) -> Result<Value> {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", code),
        ("client_id", client_id),
    ];
    loop {
        tokio::time::sleep(interval).await;
        let answer = endpoints.post(&endpoints.token, &form).await?;
        match answer["error"].as_str() {
            None => return Ok(answer),
            Some("authorization_pending") => {}
            Some("slow_down") => interval += INTERVAL,
            Some("access_denied") => return Err(refused("the code was refused")),
            Some("expired_token") => return Err(refused("the code has expired")),
            Some(other) => {
                return Err(refused(format!("the issuer refuses: {}", output::safe(other))));
            }
        }
    }
}
