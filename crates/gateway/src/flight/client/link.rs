//! One connection that moves from gateway to gateway; login and session go with it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo, Ticket,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dunlin_base::{Env, Error, Kind, Result};
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::options::{ClientOptions, Credentials};
use crate::flight::RESUMABLE;
use crate::flight::fault::{from_status, is_for_another};

type Service = FlightServiceClient<Channel>;

/// A connection and what is to be said on it. Clones are one.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) env: Env,
    pub(super) options: Arc<ClientOptions>,
    endpoints: Arc<Vec<Endpoint>>,
    state: Arc<Mutex<State>>,
    /// Results whose gateway is being told that they were read.
    closing: watch::Sender<usize>,
}

/// One of the results that are being closed.
pub(super) struct Closing(watch::Sender<usize>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A call that failed.
pub(super) struct Failed {
    pub(super) error: Error,
    /// Another gateway may do it.
    pub(super) elsewhere: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let elsewhere = error.kind() == Kind::Retry;
        Self { error, elsewhere }
    }
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self { error: from_status(&status), elsewhere: is_for_another(&status) }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// What a call does that reaches two gateways, the first of which died on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twice {
    Harmless,
    /// Or its caller looks after it.
    Harmful,
}

#[derive(Default)]
struct State {
    /// The gateway that is talked to.
    at: usize,
    service: Option<Service>,
    token: Option<String>,
    cookie: Option<String>,
}

impl Link {
    pub(super) fn new(env: Env, options: ClientOptions) -> Result<Self> {
        if options.addresses.is_empty() {
            return Err(Error::invalid("there is no gateway to connect to"));
        }
        let endpoints: Result<Vec<_>> =
            options.addresses.iter().map(|address| endpoint(address, &options)).collect();
        let token = match &options.credentials {
            Credentials::Token(token) => Some(token.clone()),
            _ => None,
        };
        let state = State { token, ..State::default() };
        Ok(Self {
            env,
            endpoints: Arc::new(endpoints?),
            options: Arc::new(options),
            state: Arc::new(Mutex::new(state)),
            closing: watch::Sender::new(0),
        })
    }

    /// Counts a result that is being closed, until this is dropped.
    pub(super) fn closing(&self) -> Closing {
        self.closing.send_modify(|count| *count += 1);
        Closing(self.closing.clone())
    }

    /// Returns when no result is being closed.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender is ours, so it does not go.
        let _ = closing.wait_for(|count| *count == 0).await;
    }

    pub(super) fn address(&self) -> String {
        self.options.addresses[self.state.lock().at].clone()
    }

    /// A connection to the present gateway, or to the next that answers.
    pub(super) async fn connect(&self) -> Result<Service> {
        if let Some(service) = self.state.lock().service.clone() {
            return Ok(service);
        }
        let (start, count) = (self.state.lock().at, self.endpoints.len());
        let mut last = None;
        for at in (start..start + count).map(|at| at % count) {
            match self.open(at).await {
                Ok(service) => {
                    let mut state = self.state.lock();
                    (state.at, state.service) = (at, Some(service.clone()));
                    return Ok(service);
                }
                Err(error) if error.kind() == Kind::Retry => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::bug("no gateway was tried")))
    }

    async fn open(&self, at: usize) -> Result<Service> {
        let address = &self.options.addresses[at];
        let connect = self.endpoints[at].connect();
        let unreachable = || Error::retry(format!("cannot reach gateway {address}"));
        let connected = self.env.timeout(self.options.connect_timeout, connect).await;
        let channel = connected.ok_or_else(unreachable)?.map_err(|e| {
            let cause = deepest(&e);
            Error::retry(format!("cannot reach gateway {address}: {cause}")).with_source(e)
        })?;
        let mut service = FlightServiceClient::new(channel)
            .max_decoding_message_size(self.options.message_max.as_usize())
            .max_encoding_message_size(self.options.message_max.as_usize());
        self.log_in(&mut service).await?;
        Ok(service)
    }

    /// A token is good at every gateway: one that there is, is kept.
    async fn log_in(&self, service: &mut Service) -> Result<()> {
        if self.state.lock().token.is_some() {
            return Ok(());
        }
        let mut request = Request::new(stream::iter([HandshakeRequest::default()]));
        if let Credentials::Password { user, password } = &self.options.credentials {
            let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let header = MetadataValue::try_from(basic)
                .map_err(|e| Error::bug("base64 is no header").with_source(e))?;
            request.metadata_mut().insert("authorization", header);
        }
        request.set_timeout(self.options.connect_timeout);
        let response = service.handshake(request).await.map_err(|s| from_status(&s))?;
        let header = response.metadata().get("authorization").and_then(|h| h.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        self.state.lock().token = token.map(str::to_owned);
        Ok(())
    }

    /// Leaves the present gateway for the next: it broke off.
    pub(super) fn move_on(&self) {
        let mut state = self.state.lock();
        state.service = None;
        state.at = (state.at + 1) % self.endpoints.len();
    }

    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(RESUMABLE, MetadataValue::from_static("1"));
        let state = self.state.lock();
        let mut header = |name: &'static str, value: String| {
            let value = MetadataValue::try_from(value)
                .map_err(|e| Error::invalid("the token is no header").with_source(e))?;
            metadata.insert(name, value);
            Ok::<_, Error>(())
        };
        if let Some(token) = &state.token {
            header("authorization", format!("Bearer {token}"))?;
        }
        if let Some(cookie) = &state.cookie {
            header("cookie", cookie.clone())?;
        }
        Ok(request)
    }

    fn take_cookie(&self, metadata: &MetadataMap) {
        let cookie = metadata.get("set-cookie").and_then(|value| value.to_str().ok());
        let cookie = cookie.and_then(|value| value.split(';').next());
        if let Some(cookie) = cookie {
            self.state.lock().cookie = Some(cookie.to_owned());
        }
    }

    /// One call; again at another gateway if this one was never reached or the call does no harm
    /// twice, and once more after a new login if the token has expired.
    async fn call<T, R, F>(
        &self,
        message: T,
        twice: Twice,
        send: impl Fn(Service, Request<T>) -> F,
    ) -> Result<Response<R>, Failed>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut moves = self.endpoints.len();
        let mut logins = 1;
        loop {
            let service = self.connect().await?;
            let status = match send(service, self.request(message.clone())?).await {
                Ok(response) => {
                    self.take_cookie(response.metadata());
                    return Ok(response);
                }
                Err(status) => status,
            };
            let expired = status.code() == Code::Unauthenticated
                && matches!(self.options.credentials, Credentials::Password { .. });
            if expired && logins > 0 {
                logins -= 1;
                let mut state = self.state.lock();
                (state.service, state.token, state.cookie) = (None, None, None);
                continue;
            }
            let again = was_not_sent(&status) || twice == Twice::Harmless;
            let failed = Failed::from(status);
            if failed.elsewhere {
                self.move_on();
            }
            if !(failed.elsewhere && again && moves > 0) {
                return Err(failed);
            }
            moves -= 1;
        }
    }

    pub(super) async fn flight_info(
        &self,
        descriptor: FlightDescriptor,
        twice: Twice,
    ) -> Result<FlightInfo> {
        let send =
            |mut service: Service, request| async move { service.get_flight_info(request).await };
        // The first answer brings the cookie without which SET is refused.
        if self.state.lock().cookie.is_none() {
            let action = Action::new("GetSessionOptions", bytes::Bytes::new());
            self.act(action).await?;
        }
        Ok(self.call(descriptor, twice, send).await?.into_inner())
    }

    pub(super) async fn poll(&self, descriptor: FlightDescriptor) -> Result<PollInfo> {
        let send =
            |mut service: Service, request| async move { service.poll_flight_info(request).await };
        Ok(self.call(descriptor, Twice::Harmless, send).await?.into_inner())
    }

    pub(super) async fn act(&self, action: Action) -> Result<Streaming<arrow_flight::Result>> {
        let send = |mut service: Service, request| async move { service.do_action(request).await };
        Ok(self.call(action, Twice::Harmless, send).await?.into_inner())
    }

    pub(super) async fn rows(&self, ticket: Ticket) -> Result<Streaming<FlightData>, Failed> {
        let send = |mut service: Service, request| async move { service.do_get(request).await };
        self.call(ticket, Twice::Harmful, send).await.map(Response::into_inner)
    }
}

fn endpoint(address: &str, options: &ClientOptions) -> Result<Endpoint> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let bad = |e: tonic::transport::Error| {
        Error::invalid(format!("'{address}' is no HOST:PORT")).with_source(e)
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(bad)?
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10));
    let Some(tls) = &options.tls else { return Ok(endpoint) };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authority));
    if let Some(name) = &tls.name {
        config = config.domain_name(name);
    }
    endpoint
        .tls_config(config)
        .map_err(|e| Error::invalid("the authority's certificate cannot be used").with_source(e))
}

/// True if no gateway has seen the call: the connection could not be made.
fn was_not_sent(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn deepest(error: &dyn StdError) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
