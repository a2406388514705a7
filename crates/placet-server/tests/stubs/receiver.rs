//! A receiver of webhooks that keeps what it got and answers as it is told.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// One attempt as it arrived, and what it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Inner {
    got: Vec<Got>,
    answers: VecDeque<(u16, Option<u64>)>,
    down: bool,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    inner: Arc<Mutex<Inner>>,
    pub(crate) address: SocketAddr,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let router = Router::new().route("/in", post(called)).with_state(inner.clone());
        Self { inner, address: super::serve(router).await }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// The next attempt is answered so; with `Retry-After` in seconds.
    pub(crate) fn answer(&self, status: u16, after: Option<u64>) {
        self.inner().answers.push_back((status, after));
    }

    /// All attempts.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.inner().got.clone()
    }

    /// Attempts that were taken, as events.
    pub(crate) fn taken(&self) -> Vec<Value> {
        let taken = self.got().into_iter().filter(|it| it.status == 200);
        taken.map(|it| it.json()).collect()
    }
}

async fn called(
    State(inner): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = inner.lock().unwrap();
    let (status, after) = match inner.down {
        true => (503, None),
        false => inner.answers.pop_front().unwrap_or((200, None)),
    };
    inner.got.push(Got { headers, body, status });
    let mut response = StatusCode::from_u16(status).unwrap().into_response();
    if let Some(after) = after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    if (300..400).contains(&status) {
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/in"));
    }
    response
}
