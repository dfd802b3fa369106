//! The calls of Flight, each checked, counted and answered. What they do is in the other files.

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
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
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
        let sessions = Sessions::new(gateway.clone(), planner);
        let recent = Recent::default();
        Ok(Self { env, gateway, options, signer, sessions, recent, leave, guard, calls })
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
#[derive(Clone)]
pub(super) struct Service {
    door: Arc<Door>,
}

impl Service {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// Checks who calls, does the work, answers with what the session needs.
    async fn serve<I, O, F>(
        &self,
        name: &'static str,
        request: Request<I>,
        work: impl FnOnce(Call, I) -> F,
    ) -> Result<Response<O>, Status>
    where
        F: Future<Output = Outcome<O>>,
    {
        let (metadata, _, message) = request.into_parts();
        let answer = async {
            let permit = self.door.permit()?;
            let caller = Arc::new(self.door.caller(&metadata).await?);
            let door = Arc::clone(&self.door);
            let call = Call { door, caller: Arc::clone(&caller), permit };
            let mut response = Response::new(work(call, message).await?);
            if let Some(cookie) = caller.cookie(&self.door.signer)? {
                response.metadata_mut().insert("set-cookie", cookie);
            }
            Ok(response)
        };
        answer.await.map_err(|fault: Fault| logged(name, fault))
    }
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
        let log_in = async {
            let _permit = self.door.permit()?;
            let token = self.door.guard.log_in(request.metadata()).await?;
            let header = MetadataValue::try_from(format!("Bearer {token}"))
                .map_err(|e| Error::bug("a token is no header").with_source(e))?;
            let payload = token.into_bytes().into();
            let answer = HandshakeResponse { protocol_version: 0, payload };
            let mut response = Response::new(all(vec![answer]));
            response.metadata_mut().insert("authorization", header);
            Ok(response)
        };
        log_in.await.map_err(|fault: Fault| logged("handshake", fault))
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.serve("list_flights", request, |_, _| async { Err(unsupported("a list of flights")) })
            .await
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.serve("get_flight_info", request, |call, descriptor| async move {
            call.door.flight_info(&call.caller, descriptor).await
        })
        .await
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        self.serve("poll_flight_info", request, |call, descriptor| async move {
            call.door.poll(&call.caller, descriptor).await
        })
        .await
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        self.serve("get_schema", request, |call, descriptor| async move {
            let schema = call.door.schema(&call.caller, descriptor).await?;
            Ok(SchemaResult { schema: schema_bytes(&schema)? })
        })
        .await
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        self.serve("do_get", request, |call, ticket| async move {
            match info::command(&ticket.ticket)? {
                Command::TicketStatementQuery(statement) => results::result(call, statement).await,
                list => {
                    let rows = call.door.metadata(&call.caller, list).await?;
                    Ok(results::batches_out(call, rows.schema(), vec![rows]))
                }
            }
        })
        .await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        self.serve("do_put", request, |call, data| async move {
            Ok(all(vec![call.door.put(&call.caller, data).await?]))
        })
        .await
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        self.serve("do_action", request, |call, action| async move {
            let answer = call.door.act(&call.caller, action).await?;
            Ok(all(answer.map(arrow_flight::Result::new).into_iter().collect()))
        })
        .await
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        self.serve("list_actions", request, |_, _| async { Ok(all(actions::list())) }).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.serve("do_exchange", request, |_, _| async { Err(unsupported("an exchange")) }).await
    }
}
