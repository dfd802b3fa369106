//! DoAction: prepared statements, cancel, keep, sessions.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    RenewFlightEndpointRequest,
};
use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_proto::door::ticket;
use dunlin_queue::Phase;
use prost::Message;

use super::caller::Caller;
use super::fault::{Outcome, malformed, unsupported};
use super::info::{self, Handle, open_query};
use super::service::Door;

/// What the door does, and what it is.
const ACTIONS: [(&str, &str); 8] = [
    ("CreatePreparedStatement", "checks a statement and gives a handle for it"),
    ("ClosePreparedStatement", "forgets a handle; there is nothing to forget"),
    ("CancelFlightInfo", "cancels a query, or removes its result when it was read"),
    ("CancelQuery", "the older form of CancelFlightInfo"),
    ("RenewFlightEndpoint", "keeps a result that is still to be read"),
    ("SetSessionOptions", "changes options of the session, as SET does"),
    ("GetSessionOptions", "shows what was changed in the session"),
    ("CloseSession", "forgets what was changed in the session"),
];

/// All actions.
pub(super) fn list() -> Vec<ActionType> {
    let action = |(name, about): &(&str, &str)| ActionType {
        r#type: (*name).to_owned(),
        description: (*about).to_owned(),
    };
    ACTIONS.iter().map(action).collect()
}

impl Door {
    /// One action; `None` if its answer is empty.
    pub(super) async fn act(&self, caller: &Caller, action: Action) -> Outcome<Option<Bytes>> {
        let body = action.body;
        match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                let request: ActionCreatePreparedStatementRequest = unpack(body)?;
                let result = self.prepare(caller, request).await?;
                Ok(Some(result.as_any().encode_to_vec().into()))
            }
            "ClosePreparedStatement" => {
                let _: ActionClosePreparedStatementRequest = unpack(body)?;
                Ok(None)
            }
            "CancelFlightInfo" => {
                let request =
                    CancelFlightInfoRequest::decode(body).map_err(|e| malformed("action", e))?;
                let status = self.cancel(caller, request.info.unwrap_or_default()).await?;
                Ok(Some(CancelFlightInfoResult::new(status).encode_to_vec().into()))
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(body)?;
                let info = FlightInfo::decode(request.info).map_err(|e| malformed("info", e))?;
                let result = self.cancel(caller, info).await? as i32;
                let result = ActionCancelQueryResult { result };
                Ok(Some(result.as_any().encode_to_vec().into()))
            }
            "RenewFlightEndpoint" => {
                let request =
                    RenewFlightEndpointRequest::decode(body).map_err(|e| malformed("action", e))?;
                let endpoint = request.endpoint.unwrap_or_default();
                let ticket = endpoint.ticket.clone().unwrap_or_default().ticket;
                let handle = self.query_of(caller, ticket).await?;
                self.gateway.queue().keep(handle.id).await?;
                Ok(Some(endpoint.encode_to_vec().into()))
            }
            "SetSessionOptions" => self.set_options(caller, body).await.map(Some),
            "GetSessionOptions" => Ok(Some(self.get_options(caller)?)),
            "CloseSession" => self.close_session(caller).map(Some),
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                Err(unsupported("a transaction of several statements"))
            }
            other => Err(unsupported(&format!("action '{other}'"))),
        }
    }

    /// Cancels the query of an info. What it left is removed in the background.
    async fn cancel(&self, caller: &Caller, info: FlightInfo) -> Outcome<CancelStatus> {
        let endpoint = info.endpoint.into_iter().next().unwrap_or_default();
        let ticket = endpoint.ticket.unwrap_or_default().ticket;
        let id = self.query_of(caller, ticket).await?.id;
        let queue = self.gateway.queue();
        let running = !queue.is_settled(id)
            && match queue.status(id).await? {
                None => return Ok(CancelStatus::NotCancellable),
                Some(status) => matches!(status.phase, Phase::Running | Phase::Queued),
            };
        if running {
            self.gateway.cancel(id).await?;
        }
        let gateway = self.gateway.clone();
        self.gateway.in_background(async move { gateway.clean_up(id).await });
        Ok(if running { CancelStatus::Cancelled } else { CancelStatus::NotCancellable })
    }

    async fn query_of(&self, caller: &Caller, ticket: Bytes) -> Outcome<Handle> {
        let Command::TicketStatementQuery(statement) = info::command(&ticket)? else {
            return Err(Error::invalid("the ticket is not of a statement").into());
        };
        match info::ticket(statement)?.result {
            Some(ticket::Result::Query(sealed)) => {
                open_query(&sealed, &caller.user, &self.signer).await
            }
            _ => Err(Error::invalid("the ticket is not of a query").into()),
        }
    }
}

fn unpack<M: ProstMessageExt>(body: Bytes) -> Result<M> {
    let any = Any::decode(body).map_err(|e| malformed("action", e))?;
    let message = any.unpack().map_err(|e| Error::invalid("malformed").with_source(e))?;
    message.ok_or_else(|| Error::invalid(format!("the action does not take a {}", any.type_url)))
}
