//! Who may write, what a body may be, and how a refusal looks: `{"success": false, "message": ...}`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use dunlin_base::{Error, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Rest;
use super::json::Handled;
use crate::serve::crowd::Crowd;

/// A body is a list of workers or shuffles at most.
const BODY_MAX: usize = 256 << 10;

/// It comes within this.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Who may change something by REST.
#[derive(Clone, Default)]
pub(crate) struct Guard {
    /// Whoever knows this, from wherever. Empty: nobody is asked.
    pub(crate) token: String,
    /// Without a token: not only this machine.
    pub(crate) anybody: bool,
}

impl Guard {
    /// Whether a write of this caller with these headers is taken.
    fn admits(&self, from: Option<SocketAddr>, headers: &HeaderMap) -> Answer<()> {
        if !self.token.is_empty() {
            let said = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
            let wanted = format!("Bearer {}", self.token);
            return match same(said, wanted.as_bytes()) {
                true => Ok(()),
                false => Err(Refusal(
                    StatusCode::UNAUTHORIZED,
                    "this needs the token of the process: Authorization: Bearer TOKEN".to_owned(),
                )),
            };
        }
        let near = from.is_some_and(|from| from.ip().to_canonical().is_loopback());
        match near || self.anybody {
            true => Ok(()),
            false => Err(Refusal(
                StatusCode::FORBIDDEN,
                "only this machine may change something: start the process with --admin-token-file"
                    .to_owned(),
            )),
        }
    }
}

/// Takes the same time for all texts of one length.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b));
    one.len() == other.len() && differ == 0
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct Caller(SocketAddr);

impl Connected<IncomingStream<'_, Crowd>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Crowd>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// The body of a write that is admitted.
pub(super) struct Write<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Rest>> for Write<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, rest: &Arc<Rest>) -> Answer<Self> {
        let from = request.extensions().get::<ConnectInfo<Caller>>().map(|caller| caller.0.0);
        rest.guard.admits(from, request.headers())?;
        // A page in a browser of this machine cannot say so without asking first.
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.trim_start().starts_with("application/json")) {
            let text = "the body has to be application/json";
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.to_owned()));
        }
        let body = rest.env.timeout(BODY_WAIT, to_bytes(request.into_body(), BODY_MAX)).await;
        let late = || Refusal(StatusCode::REQUEST_TIMEOUT, "the body does not come".to_owned());
        let body = body.ok_or_else(late)?.map_err(|_| {
            let text = format!("the body is cut off, or larger than {BODY_MAX} bytes");
            Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
        })?;
        let parsed = serde_json::from_slice(&body);
        parsed.map(Self).map_err(|error| Refusal::bad(format!("the body: {error}")))
    }
}

pub(super) type Answer<T> = Result<T, Refusal>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, why.into())
    }

    pub(super) fn method(why: impl Into<String>) -> Self {
        Self(StatusCode::METHOD_NOT_ALLOWED, why.into())
    }

    pub(super) fn gone(why: impl Into<String>) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, why.into())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Retry | Kind::Fenced | Kind::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Lost | Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, json(&Handled { success: false, message })).into_response()
    }
}

/// A value as the body of an answer.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => ([(CONTENT_TYPE, "application/json")], Body::from(bytes)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// It is done.
pub(super) fn done(message: impl Into<String>) -> Response {
    json(&Handled { success: true, message: message.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, from: &str, header: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().expect("a header"));
        }
        let from = from.parse().expect("an address");
        guard.admits(Some(from), &headers).map_or_else(|refusal| refusal.0.as_u16(), |()| 200)
    }

    #[test]
    fn without_a_token_only_the_machine_itself_may_write() {
        let guard = Guard::default();
        assert_eq!(status(&guard, "127.0.0.9:5", None), 200);
        assert_eq!(status(&guard, "[::1]:5", None), 200);
        assert_eq!(status(&guard, "[::ffff:127.0.0.1]:5", None), 200);
        assert_eq!(status(&guard, "10.0.0.1:5", None), 403);
        assert_eq!(status(&guard, "10.0.0.1:5", Some("Bearer x")), 403);
        let open = Guard { anybody: true, ..Guard::default() };
        assert_eq!(status(&open, "10.0.0.1:5", None), 200);
    }

    #[test]
    fn with_a_token_everybody_has_to_know_it() {
        for anybody in [false, true] {
            let guard = Guard { token: "sesame".to_owned(), anybody };
            assert_eq!(status(&guard, "10.0.0.1:5", Some("Bearer sesame")), 200);
            for wrong in [None, Some("Bearer sesam"), Some("Bearer sesame2"), Some("sesame")] {
                assert_eq!(status(&guard, "127.0.0.1:5", wrong), 401, "{wrong:?}");
            }
        }
    }
}
