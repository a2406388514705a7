//! Calls from Telegram and Slack. Owns what proves them and how soon they are answered; what is pressed
//! goes the way of every vote.

use super::votes::{Press, Unheard, cast, recognise, verdict};
use super::{Channels, Down, slack, telegram};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use crate::server::Server;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use placet_notify::slack::Done;
use placet_notify::telegram::Update;
use placet_notify::{Attempt, Verb, slack as forms};
use placet_policy::{Channel, ChannelKind};
use placet_runtime::crypto::Fast;
use placet_runtime::{PlaneError, Workspace};
use placet_types::event::VoteChannel;
use placet_types::hash::Hasher;
use placet_types::ids::{TimeMs, WorkspaceName};
use placet_types::json::{Object, Value};
use std::future::Future;
use std::sync::Arc;

/// How long a call that was dealt with is remembered: longer than anybody repeats one.
const REMEMBERED_MS: u64 = 7 * 86_400_000;

/// The calls of channels. They are no operations of the API: their form is the peers'.
pub(crate) fn routes(router: Router<Arc<Server>>) -> Router<Arc<Server>> {
    router
        .route("/channels/telegram/{workspace}/{channel}", post(telegram_call))
        .route("/channels/slack/{workspace}/{channel}", post(slack_call))
}

async fn telegram_call(State(server): State<Arc<Server>>, request: Request) -> Response {
    let work = from_telegram(Call::new(server.clone(), request));
    finished(server, work).await
}

async fn slack_call(State(server): State<Arc<Server>>, request: Request) -> Response {
    let work = from_slack(Call::new(server.clone(), request));
    finished(server, work).await
}

/// In a task of its own: a vote that has begun comes to its end, whether or not its caller waits.
async fn finished(
    server: Arc<Server>,
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Response {
    let Ok(place) = server.working.clone().try_acquire_owned() else {
        return Problem::overloaded("too many calls at once; come back later").into_response();
    };
    let task = tokio::spawn(async move {
        let done = work.await;
        drop(place);
        done
    });
    match task.await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => {
            server.counters.refused(&problem.document().code);
            problem.into_response()
        }
        Err(error) => Problem::internal(&error.to_string()).into_response(),
    }
}

/// What a call is about.
struct Called {
    server: Arc<Server>,
    channels: Arc<Channels>,
    workspace: Arc<Workspace>,
    channel: Channel,
}

/// The one answer to whoever proves nothing: which workspaces and channels there are, and how they are, is
/// nobody's business out there.
fn nothing_proven() -> Problem {
    Problem::new("channel_unproven", "nothing proves that this call comes from the service")
}

/// The channel of a path.
fn called(call: &Call, kind: &str) -> Result<Called, Problem> {
    let server = call.server.clone();
    let channels = server.channels.clone().ok_or_else(nothing_proven)?;
    let unproven = || {
        channels.count(&channels.refused);
        nothing_proven()
    };
    let name = call.segment(2).ok().and_then(|name| WorkspaceName::parse(&name));
    let workspace = name.and_then(|name| server.plane.workspace(&name)).ok_or_else(unproven)?;
    let id = call.segment(3).map_err(|_| unproven())?;
    let bundle = workspace.bundle().ok_or_else(unproven)?;
    let channel = bundle.notify().channel(&id).filter(|it| it.kind.as_str() == kind).cloned();
    let channel = channel.ok_or_else(unproven)?;
    Ok(Called { server, channels, workspace, channel })
}

impl Called {
    /// The secret that would prove the call; without it nothing does.
    fn secret(&self, name: &str) -> Result<zeroize::Zeroizing<String>, Problem> {
        self.channels.secret(&self.server.plane, &self.workspace, name).map_err(|why| {
            let why = format!("secret {name}: {why}");
            self.channels.set_down(
                &self.workspace,
                &self.channel.id,
                Some(Down { why, public: false }),
            );
            self.unproven()
        })
    }

    fn unproven(&self) -> Problem {
        self.channels.count(&self.channels.refused);
        nothing_proven()
    }

    /// Whatever does nothing is counted.
    fn count<T>(&self, done: &Result<T, Unheard>) {
        if matches!(done, Err(Unheard::Refused(_))) {
            self.channels.count(&self.channels.refused);
        }
    }

    async fn is_taken(&self, key: &[u8]) -> Result<bool, String> {
        let (no, id, key) = (self.workspace.no, self.channel.id.clone(), key.to_vec());
        self.channels.on_outbox(move |outbox| outbox.is_taken(no, &id, &key)).await
    }

    /// Whether this is the first time.
    async fn take(&self, key: &[u8]) -> Result<bool, String> {
        let (no, id, key) = (self.workspace.no, self.channel.id.clone(), key.to_vec());
        let now = self.server.plane.now();
        let since = TimeMs(now.0.saturating_sub(REMEMBERED_MS));
        self.channels.on_outbox(move |outbox| outbox.take(no, &id, &key, now, since)).await
    }
}

async fn from_telegram(mut call: Call) -> Result<Response, Problem> {
    let about = called(&call, "telegram")?;
    let ChannelKind::Telegram { webhook: Some(secret) } = &about.channel.kind else {
        return Err(about.unproven());
    };
    let secret = about.secret(secret)?;
    let header = call.header("x-telegram-bot-api-secret-token")?.map(str::to_owned);
    // Before the body is read: who proves nothing costs nothing.
    if !placet_notify::telegram::is_proven(header.as_deref(), secret.as_bytes()) {
        return Err(about.unproven());
    }
    let body = call.raw(placet_notify::telegram::UPDATE_BYTES_MAX).await?;
    let malformed = || Problem::new("json_malformed", "this is no update of the Bot API");
    let update = placet_notify::telegram::update(&body).ok_or_else(malformed)?;
    heard(&about.server, &about.channels, &about.workspace, &about.channel, &update)
        .await
        .map_err(Problem::from)?;
    Ok(document::json(StatusCode::OK, b"{}".to_vec()))
}

/// Deals with one update of Telegram. An error says that it has to come again.
pub(super) async fn heard(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    channel: &Channel,
    update: &Update,
) -> Result<(), PlaneError> {
    let Some(press) = &update.press else { return Ok(()) };
    let about = Called {
        server: server.clone(),
        channels: channels.clone(),
        workspace: workspace.clone(),
        channel: channel.clone(),
    };
    // By the press, not the update: a press that was dealt with once is.
    let key = [b"press:", press.query.as_bytes()].concat();
    let store = PlaneError::StoreFailed;
    if about.is_taken(&key).await.map_err(store)? {
        channels.count(&channels.refused);
        return Ok(());
    }
    let here = press.chat.as_ref().is_none_or(|chat| *chat == channel.to);
    let done = if here {
        let (user, data) = (press.user.as_str(), press.data.as_deref());
        match recognise(server, workspace, channel, user, data).await {
            Err(unheard) => Err(unheard),
            Ok(recognised) => vote(&about, &recognised).await,
        }
    } else {
        Err(Unheard::Refused("This button belongs to another chat".to_owned()))
    };
    about.count(&done);
    let text = match done {
        Ok(text) | Err(Unheard::Refused(text)) => text,
        Err(Unheard::Later(error)) => return Err(error),
    };
    // Remembered before it is answered: an answer may be given once only.
    if about.take(&key).await.map_err(store)? {
        let token = channels.secret(&server.plane, workspace, &channel.secret);
        let (channels, query) = (channels.clone(), press.query.clone());
        if let Ok(token) = token {
            tokio::spawn(async move { telegram::answer(&channels, &token, &query, &text).await });
        }
    }
    Ok(())
}

async fn vote(about: &Called, press: &Press) -> Result<String, Unheard> {
    let Some(approve) = verdict(press.token.verb) else {
        return Err(Unheard::Refused("This button is not valid any more".to_owned()));
    };
    cast(&about.server, &about.workspace, VoteChannel::Telegram, press, approve, None).await
}

async fn from_slack(mut call: Call) -> Result<Response, Problem> {
    let about = called(&call, "slack")?;
    let ChannelKind::Slack { signing_secret } = &about.channel.kind else {
        return Err(about.unproven());
    };
    let secret = about.secret(signing_secret)?;
    let header = |name: &str| call.header(name).map(|it| it.map(str::to_owned));
    let (signature, time) = (header("x-slack-signature")?, header("x-slack-request-timestamp")?);
    let (now, secret) = (about.server.plane.now(), secret.as_bytes());
    // The signature is over the body; what cannot be one costs no reading of it.
    if !forms::may_be_proven(signature.as_deref(), time.as_deref(), now) {
        return Err(about.unproven());
    }
    let body = call.raw(forms::CALL_BYTES_MAX).await?;
    if !forms::is_proven::<Fast>(signature.as_deref(), time.as_deref(), &body, secret, now) {
        return Err(about.unproven());
    }
    let malformed = || Problem::new("json_malformed", "this is no interaction of Slack");
    let called = forms::call(&body).ok_or_else(malformed)?;
    let unavailable = |why: String| Problem::from(PlaneError::StoreFailed(why));
    // A call that comes again, by itself or by somebody who kept it, has the same body.
    let key = [b"call:".as_slice(), &Fast::sha256(&[&body])].concat();
    let empty = || document::respond(StatusCode::OK, "text/plain", Body::empty());
    if about.is_taken(&key).await.map_err(unavailable)? {
        about.channels.count(&about.channels.refused);
        return Ok(empty());
    }
    match called.done {
        Done::Other => Ok(empty()),
        Done::Review { token, trigger } => {
            if !about.take(&key).await.map_err(unavailable)? {
                return Ok(empty());
            }
            // Answered now; the form follows.
            tokio::spawn(review(about, called.user, token, trigger));
            Ok(empty())
        }
        Done::Decided { token, approve, note, view: id } => {
            // A place of its own: who stops the server waits for it, though this call is answered.
            let Ok(place) = about.server.working.clone().try_acquire_owned() else {
                return Err(Problem::overloaded("too many calls at once; come back later"));
            };
            let user = called.user;
            tokio::spawn(async move {
                decide(&about, &user, &token, approve, note.as_deref(), &id, &key).await;
                drop(place);
            });
            let view = forms::told("Recording your decision…");
            let answer = Object::new().with("response_action", "update").with("view", view);
            Ok(document::json(StatusCode::OK, Value::Object(answer).to_canonical()))
        }
    }
}

async fn review(about: Called, user: String, data: String, trigger: String) {
    let Called { server, channels, workspace, channel } = &about;
    let seen = recognise(server, workspace, channel, &user, Some(&data)).await;
    about.count(&seen);
    let view = match seen {
        Ok(press) if press.token.verb == Verb::Review => {
            let key = Channels::button_key(workspace, channel);
            forms::form::<Fast>(&press.brief, &channel.id, &key)
        }
        Ok(_) => forms::told("This button is not valid any more"),
        Err(Unheard::Refused(text)) => forms::told(&text),
        Err(Unheard::Later(error)) => forms::told(&error.to_string()),
    };
    let Ok(token) = channels.secret(&server.plane, workspace, &channel.secret) else { return };
    said(slack::open_form(channels, &token, &trigger, view).await);
}

/// The call is dealt with once its vote is recorded, or never will be: until then a repetition of it is
/// heard, and a vote that comes twice counts once.
async fn decide(
    about: &Called,
    user: &str,
    data: &str,
    approve: bool,
    note: Option<&str>,
    view: &str,
    key: &[u8],
) {
    let Called { server, channels, workspace, channel } = about;
    // Whoever submits is looked at anew: a form may be open for hours.
    let seen = recognise(server, workspace, channel, user, Some(data)).await;
    let done = match seen {
        Ok(press) if press.token.verb == Verb::Review => {
            let via = VoteChannel::Slack;
            cast(server, workspace, via, &press, approve, note).await
        }
        Ok(_) => Err(Unheard::Refused("This form is not valid any more".to_owned())),
        Err(unheard) => Err(unheard),
    };
    about.count(&done);
    if !matches!(done, Err(Unheard::Later(_)))
        && let Err(why) = about.take(key).await
    {
        eprintln!("placet: a call of Slack is not remembered: {why}");
    }
    let text = match done {
        Ok(text) | Err(Unheard::Refused(text)) => text,
        Err(Unheard::Later(error)) => format!("Nothing was recorded: {error}. Try again"),
    };
    let Ok(token) = channels.secret(&server.plane, workspace, &channel.secret) else { return };
    said(slack::change_form(channels, &token, view, forms::told(&text)).await);
}

fn said(attempt: Attempt<Value>) {
    if let Attempt::Again(_, why) | Attempt::Never(why) = attempt {
        eprintln!("placet: a form of Slack does not say how it went: {why}");
    }
}
