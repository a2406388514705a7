//! How callers reach the sequencer: commands, looks at states, and their answers, which come once what
//! they rest on is durable. Refuses to know what any of it means.

use crate::error::PlaneError;
use crate::idle::Summary;
use crate::plane::Plane;
use crate::ports::WorkspaceNo;
use crate::sequencer::{Answer, Done, Glance, Job, Message, Next, Payload, Refusal, Reply};
use placet_engine::{Command, State};
use std::iter::once;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TrySendError;
use std::thread::Builder;
use tokio::sync::oneshot;

impl Plane {
    /// Looks at the state of a workspace; the answer is of what is durable.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn look<T: Send + 'static>(
        &self,
        workspace: WorkspaceNo,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, PlaneError> {
        let (message, answer) = query(workspace, look);
        self.send(message)?;
        self.looked(answer).await
    }

    /// The same, and is not turned away.
    pub(crate) async fn look_urgently<T: Send + 'static>(
        &self,
        workspace: WorkspaceNo,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, PlaneError> {
        let (message, answer) = query(workspace, look);
        self.send_urgent(vec![message]);
        self.looked(answer).await
    }

    async fn looked<T>(&self, answer: Looked<T>) -> Result<T, PlaneError> {
        match answer.await {
            Ok(seen) => self.sealed(seen.map_err(PlaneError::from)),
            Err(_) => Err(self.not_ready().unwrap_or(PlaneError::ShuttingDown)),
        }
    }

    /// What is known of a workspace, as of what is durable; does not bring back the state of an
    /// idle one.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn summary(&self, workspace: WorkspaceNo) -> Result<Summary, PlaneError> {
        let (reply, answer) = oneshot::channel();
        let glance: Glance = Box::new(move |summary| {
            Box::new(move || {
                // Whoever asked may have gone.
                let _ = reply.send(summary);
            })
        });
        self.send(Message::Summary(workspace, glance))?;
        match answer.await {
            Ok(summary) => summary.ok_or(PlaneError::NotFound("workspace")),
            Err(_) => Err(self.not_ready().unwrap_or(PlaneError::ShuttingDown)),
        }
    }

    pub(crate) async fn submit(
        &self,
        workspace: WorkspaceNo,
        command: Command,
        payload: Payload,
    ) -> Result<Done, PlaneError> {
        let (message, answer) = message(workspace, command, payload, Next::None);
        self.send(message)?;
        self.finish(answer).await
    }

    /// Sends commands that may not be turned away, in this order. They wait for places in the inbox, and who
    /// sends them does not: a store that hangs behind a full inbox must not take the threads on which the next
    /// kill arrives. Those that find nobody any more are dropped, which [`Plane::finish`] tells their callers.
    pub(crate) fn send_urgent(&self, messages: Vec<Message>) {
        let mut messages = messages.into_iter();
        while let Some(message) = messages.next() {
            let message = match self.inbox.try_send(message) {
                Ok(()) => continue,
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(message)) => message,
            };
            let inbox = self.inbox.clone();
            let rest =
                move || drop(once(message).chain(messages).try_for_each(|it| inbox.send(it)));
            if let Err(error) = Builder::new().name("placet-urgent".into()).spawn(rest) {
                self.host.say(format_args!("a kill is in effect but not recorded: {error}"));
            }
            return;
        }
    }

    pub(crate) async fn finish(&self, answer: Begun) -> Result<Done, PlaneError> {
        match answer.await {
            Ok(done) => self.sealed(done.map_err(PlaneError::from)),
            Err(_) => Err(self.not_ready().unwrap_or(PlaneError::ShuttingDown)),
        }
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), PlaneError> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(PlaneError::ShuttingDown);
        }
        self.inbox.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => PlaneError::Overloaded { retry_after_ms: 1000 },
            TrySendError::Disconnected(_) => self.not_ready().unwrap_or(PlaneError::ShuttingDown),
        })
    }
}

/// A look on its way: what it saw.
type Looked<T> = oneshot::Receiver<Result<T, Refusal>>;

fn query<T: Send + 'static>(
    workspace: WorkspaceNo,
    look: impl FnOnce(&State) -> T + Send + 'static,
) -> (Message, Looked<T>) {
    let (reply, answer) = oneshot::channel();
    let message = Message::Query(
        workspace,
        Box::new(move |state| {
            let seen = state.map(look);
            Box::new(move || {
                // Whoever asked may have gone.
                let _ = reply.send(seen);
            })
        }),
    );
    (message, answer)
}

/// A command on its way: its answer comes once it is durable.
pub(crate) type Begun = oneshot::Receiver<Answer>;

pub(crate) fn message(
    workspace: WorkspaceNo,
    command: Command,
    payload: Payload,
    next: Next,
) -> (Message, Begun) {
    let (reply, answer) = oneshot::channel();
    let reply = Reply::Caller(reply);
    (Message::Job(Box::new(Job { workspace, command, payload, reply, next })), answer)
}
