//! The calls of Flight, each checked, counted and answered. What they do is in the other files.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::Command;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use async_trait::async_trait;
use dunlin_base::{Env, Error, Kind, Result};
use dunlin_planner::Planner;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryFutureExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

use super::actions;
use super::caller::Caller;
use super::fault::{Fault, Outcome, unsupported};
use super::info::{self, schema_bytes};
use super::login::Guard;
use super::options::DoorOptions;
use super::recent::Recent;
use super::results::{self, Messages};
use super::seal::Signer;
use super::sessions::Sessions;
use super::statements::Asked;
use crate::gateway::Gateway;

/// What all calls share.
pub(super) struct Door {
    pub(super) env: Env,
    pub(super) gateway: Gateway,
    pub(super) options: DoorOptions,
    pub(super) signer: Arc<Signer>,
    pub(super) sessions: Sessions,
    pub(super) recent: Recent,
    /// Cancelled when streams must end.
    pub(super) leave: CancellationToken,
    /// Uploads that may begin.
    pub(super) uploads: Arc<Semaphore>,
    guard: Guard,
    calls: Arc<Semaphore>,
}

/// One call of a known caller.
pub(super) struct Call {
    pub(super) door: Arc<Door>,
    pub(super) caller: Arc<Caller>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Door {
    pub(super) async fn new(
        gateway: Gateway,
        planner: Arc<Planner>,
        options: DoorOptions,
        leave: CancellationToken,
    ) -> Result<Self> {
        let env = gateway.parts().env.clone();
        let signer = Arc::new(Signer::open(Arc::clone(&gateway.parts().store), env.clone()).await?);
        let guard = Guard::new(&env, Arc::clone(&signer), &options).await?;
        let calls = Arc::new(Semaphore::new(options.calls_max));
        let uploads = Arc::new(Semaphore::new(options.uploads_max));
        let sessions = Sessions::new(gateway.clone(), planner, &options.auth);
        let recent = Recent::default();
        Ok(Self { env, gateway, options, signer, sessions, recent, leave, uploads, guard, calls })
    }

    fn permit(&self) -> Outcome<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            let most = self.options.calls_max;
            Error::exhausted(format!("this gateway has {most} calls at a time, and no more"))
                .with_hint("try again later, or at another gateway")
                .into()
        })
    }

    async fn caller(&self, metadata: &MetadataMap) -> Outcome<Caller> {
        let user = self.guard.user(metadata).await?;
        Caller::read(user, metadata, &self.signer).await
    }

    /// The info of a statement, or of a list.
    async fn flight_info(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
    ) -> Outcome<FlightInfo> {
        let asked = match info::command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => Asked::text(query.query),
            Command::CommandPreparedStatementQuery(prepared) => {
                self.bound(caller, prepared.prepared_statement_handle).await?
            }
            Command::CommandStatementSubstraitPlan(_) => return Err(unsupported("Substrait")),
            list => {
                // The command is the ticket: the rows are made when they are asked for.
                let rows = self.metadata(caller, list).await?;
                let ticket = descriptor.cmd.clone();
                return Ok(info::info(&rows.schema(), descriptor, ticket, &self.options)?);
            }
        };
        let started = self.run(caller, &asked).await?;
        Ok(self.info_of(caller, &started, descriptor, caller.resumable)?)
    }
}

/// The door as tonic serves it.
///
/// Behind a trait object, and its calls made by functions outside of the trait: that a future may
/// go to another thread is proven by a walk through all that it holds, here all of DataFusion, and
/// inside a trait's method the compiler forgets the answer each time. It took minutes.
#[derive(Clone)]
pub(super) struct Service {
    door: Arc<dyn Doorway>,
}

trait Doorway: Send + Sync {
    fn door(&self) -> Arc<Door>;
}

struct Open(Arc<Door>);

impl Doorway for Open {
    fn door(&self) -> Arc<Door> {
        Arc::clone(&self.0)
    }
}

impl Service {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door: Arc::new(Open(door)) }
    }
}

/// The answer to a call.
type Served<O> = BoxFuture<'static, Result<Response<O>, Status>>;

/// The work of a call whose caller is known.
type Work<O> = BoxFuture<'static, Outcome<O>>;

/// Makes the cookie that a caller's session needs, once its call is done.
type Cookie = Box<dyn FnOnce() -> Outcome<Option<MetadataValue<Ascii>>> + Send>;

/// Checks who calls.
fn admitted(door: Arc<Door>, metadata: MetadataMap) -> Work<(Call, Cookie)> {
    async move {
        let permit = door.permit()?;
        let caller = Arc::new(door.caller(&metadata).await?);
        let (signer, of) = (Arc::clone(&door.signer), Arc::clone(&caller));
        let cookie: Cookie = Box::new(move || Ok(of.cookie(&signer)?));
        Ok((Call { door, caller, permit }, cookie))
    }
    .boxed()
}

/// Checks who calls, does the work, answers with what the session needs.
fn serve<I: Send + 'static, O: Send + 'static>(
    name: &'static str,
    door: Arc<Door>,
    request: Request<I>,
    work: fn(Call, I) -> Work<O>,
) -> Served<O> {
    let (metadata, _, message) = request.into_parts();
    let admitted = admitted(door, metadata);
    let answer = caught(async move {
        let (call, cookie) = admitted.await?;
        let mut response = Response::new(work(call, message).await?);
        if let Some(cookie) = cookie()? {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    });
    answer.map_err(move |fault: Fault| logged(name, fault)).boxed()
}

/// A panic is the error of one call, not the end of a connection with all its calls.
pub(super) async fn caught<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result.unwrap_or_else(|panic| {
        let text = dunlin_base::env::panic_text(panic.as_ref());
        Err(Error::bug(format!("the call panicked: {text}")).into())
    })
}

fn log_in(door: Arc<Door>, metadata: MetadataMap) -> Served<Answers<HandshakeResponse>> {
    let log_in = caught(async move {
        // No call: it has a queue of its own.
        let token = door.guard.log_in(&metadata).await?;
        let header = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|e| Error::bug("a token is no header").with_source(e))?;
        let payload = token.into_bytes().into();
        let answer = HandshakeResponse { protocol_version: 0, payload };
        let mut response = Response::new(all(vec![answer]));
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    });
    log_in.map_err(|fault: Fault| logged("handshake", fault)).boxed()
}

fn flight_info(call: Call, descriptor: FlightDescriptor) -> Work<FlightInfo> {
    async move { call.door.flight_info(&call.caller, descriptor).await }.boxed()
}

fn poll(call: Call, descriptor: FlightDescriptor) -> Work<PollInfo> {
    async move { call.door.poll(&call.caller, descriptor).await }.boxed()
}

fn schema(call: Call, descriptor: FlightDescriptor) -> Work<SchemaResult> {
    async move {
        let schema = call.door.schema(&call.caller, descriptor).await?;
        Ok(SchemaResult { schema: schema_bytes(&schema)? })
    }
    .boxed()
}

fn rows(call: Call, ticket: Ticket) -> Work<Messages> {
    async move {
        match info::command(&ticket.ticket)? {
            Command::TicketStatementQuery(statement) => results::result(call, statement).await,
            list => {
                let rows = call.door.metadata(&call.caller, list).await?;
                Ok(results::batches_out(call, rows.schema(), vec![rows]))
            }
        }
    }
    .boxed()
}

fn put(call: Call, data: Streaming<FlightData>) -> Work<Answers<PutResult>> {
    async move { Ok(all(vec![call.door.put(&call.caller, data).await?])) }.boxed()
}

fn act(call: Call, action: Action) -> Work<Answers<arrow_flight::Result>> {
    async move {
        let answer = call.door.act(&call.caller, action).await?;
        Ok(all(answer.map(arrow_flight::Result::new).into_iter().collect()))
    }
    .boxed()
}

/// Work that needs nothing.
fn at_once<O: Send + 'static>(answer: Outcome<O>) -> Work<O> {
    std::future::ready(answer).boxed()
}

fn logged(name: &'static str, fault: Fault) -> Status {
    match fault.kind() {
        Kind::Bug | Kind::Lost => tracing::warn!(call = name, error = ?fault, "a call failed"),
        _ => tracing::debug!(call = name, error = ?fault, "a call failed"),
    }
    fault.into()
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// A stream of what is here.
fn all<T: Send + 'static>(answers: Vec<T>) -> Answers<T> {
    stream::iter(answers.into_iter().map(Ok)).boxed()
}

#[async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Messages;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        log_in(self.door.door(), request.into_parts().0).await
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let refused = |_, _| at_once(Err(unsupported("a list of flights")));
        serve("list_flights", self.door.door(), request, refused).await
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        serve("get_flight_info", self.door.door(), request, flight_info).await
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        serve("poll_flight_info", self.door.door(), request, poll).await
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        serve("get_schema", self.door.door(), request, schema).await
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        serve("do_get", self.door.door(), request, rows).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        serve("do_put", self.door.door(), request, put).await
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        serve("do_action", self.door.door(), request, act).await
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        serve("list_actions", self.door.door(), request, |_, _| at_once(Ok(all(actions::list()))))
            .await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let refused = |_, _| at_once(Err(unsupported("an exchange")));
        serve("do_exchange", self.door.door(), request, refused).await
    }
}
