//! PollFlightInfo: for queries that take longer than a client likes to wait in one call.

use std::time::Duration;

use arrow_flight::sql::Command;
use arrow_flight::{FlightDescriptor, FlightInfo, PollInfo};
use dunlin_base::{Error, Kind};
use dunlin_proto::door::ticket;
use dunlin_queue::{Phase, QueryStatus};

use super::caller::Caller;
use super::fault::{Outcome, unsupported};
use super::info::{self, Handle, open_query, sent_schema};
use super::service::Door;
use super::statements::{Asked, Started};

/// Longest time that a poll gives to planning.
const START_MAX: Duration = Duration::from_secs(10);

impl Door {
    /// Starts a statement, or says how far one has come: at once if it has ended, else after a
    /// change, and never later than the bound.
    pub(super) async fn poll(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
    ) -> Outcome<PollInfo> {
        match info::command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => {
                self.poll_start(caller, &Asked::text(query.query), descriptor).await
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                let asked = self.bound(caller, prepared.prepared_statement_handle).await?;
                self.poll_start(caller, &asked, descriptor).await
            }
            Command::TicketStatementQuery(statement) => {
                let Some(ticket::Result::Query(sealed)) = info::ticket(statement)?.result else {
                    return Err(Error::invalid("only queries are polled").into());
                };
                let handle = open_query(&sealed, &caller.user, &self.signer).await?;
                self.poll_on(handle, descriptor).await
            }
            other => Err(unsupported(&format!("a poll of {}", other.type_url()))),
        }
    }

    async fn poll_start(
        &self,
        caller: &Caller,
        asked: &Asked,
        descriptor: FlightDescriptor,
    ) -> Outcome<PollInfo> {
        let started = self.env.timeout(START_MAX, self.run(caller, asked)).await;
        let started = started.ok_or_else(|| {
            Error::invalid("the statement takes longer to start than a poll may")
                .with_hint("ask for its flight info: EXPLAIN ANALYZE runs before it answers")
        })??;
        let info = self.info_of(caller, &started, descriptor, true)?;
        match started {
            Started::Rows { .. } => Ok(complete(info)),
            Started::Query { .. } => Ok(running(info, 0.0)),
        }
    }

    async fn poll_on(&self, handle: Handle, descriptor: FlightDescriptor) -> Outcome<PollInfo> {
        let queue = self.gateway.queue();
        let mut watch = queue.watch_query(handle.id).await?;
        let mut status = watch.next().await?;
        if status.as_ref().is_some_and(is_running) {
            // Nothing new within the bound: what is known.
            let changed = self.env.timeout(self.options.poll_wait_max, watch.next()).await;
            status = changed.transpose()?.unwrap_or(status);
        }
        let schema = sent_schema(&handle.schema, &self.options);
        let ticket = descriptor.cmd.clone();
        let mut info = info::info(&schema, descriptor, ticket, &self.options)?;
        if let Some(status) = status.filter(is_running) {
            return Ok(running(info, share_done(&status)));
        }
        let ended = queue.wait_ended(handle.id).await?;
        info.total_records = i64::try_from(ended.rows).unwrap_or(-1);
        match (ended.phase, ended.failure) {
            (Phase::Done, _) => Ok(complete(info)),
            (_, Some(error)) => Err(error.into()),
            (_, None) => Err(Error::new(Kind::Fenced, "the query was cancelled").into()),
        }
    }
}

fn is_running(status: &QueryStatus) -> bool {
    matches!(status.phase, Phase::Running | Phase::Queued)
}

/// Slices done among those known: new stages may make it smaller.
fn share_done(status: &QueryStatus) -> f64 {
    let total: u32 = status.stages.iter().map(|s| s.slices_total).sum();
    let done: u32 = status.stages.iter().map(|s| s.slices_done).sum();
    f64::from(done) / f64::from(total.max(1))
}

fn complete(info: FlightInfo) -> PollInfo {
    PollInfo {
        info: Some(info),
        flight_descriptor: None,
        progress: Some(1.0),
        expiration_time: None,
    }
}

/// The ticket is the descriptor of the next poll.
fn running(info: FlightInfo, progress: f64) -> PollInfo {
    let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).unwrap_or_default();
    let next = FlightDescriptor::new_cmd(ticket.ticket);
    PollInfo {
        info: Some(info),
        flight_descriptor: Some(next),
        progress: Some(progress.clamp(0.0, 1.0)),
        expiration_time: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_poll_is_asked_with_the_ticket() -> dunlin_base::Result<()> {
        let options = super::super::DoorOptions::new(super::super::Auth::Off { user: "a".into() });
        let schema = arrow::datatypes::Schema::empty();
        let asked = FlightDescriptor::new_cmd("asked");
        let info = info::info(&schema, asked, "ticket".into(), &options)?;
        let poll = running(info, 7.0);
        assert_eq!(poll.flight_descriptor.expect("goes on").cmd.as_ref(), b"ticket");
        assert_eq!(poll.progress, Some(1.0));
        Ok(())
    }
}
