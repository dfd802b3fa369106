//! The client half: one connection to any of several gateways, and results that survive the one
//! they came from. The shell's `--connect` uses it.

mod answer;
mod link;
mod options;

use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, CancelFlightInfoRequest, FlightDescriptor, FlightEndpoint, FlightInfo};
use bytes::Bytes;
use dunlin_base::{Env, Error, Result};
use futures::future::BoxFuture;
use prost::Message;

pub use answer::Answer;
use link::{Link, Twice};
pub use options::{ClientOptions, ClientTls, Credentials};

/// A client of a cluster. Cheap to clone; clones share connection, login and session.
#[derive(Clone)]
pub struct Client {
    link: Link,
}

impl Client {
    /// Connects to the first of the gateways that answers, and logs in. `Invalid`: wrong
    /// credentials, a malformed address or certificate. `Retry`: none answers.
    pub async fn connect(env: Env, options: ClientOptions) -> Result<Self> {
        let link = Link::new(env, options)?;
        link.connect().await?;
        Ok(Self { link })
    }

    /// The address of the gateway that it talks to.
    pub fn address(&self) -> String {
        self.link.address()
    }

    /// Starts one statement. Returns when a query is durable, before its rows are there; other
    /// statements are done then. Errors are the gateway's, with kind and hint. A query whose
    /// gateway dies before it answers is started again at another (the first one is removed
    /// unread); a change is not: `Retry` then means that it has happened or not.
    pub fn sql<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
            let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
            let info = self.link.flight_info(descriptor, twice(sql)).await?;
            Answer::new(self.link.clone(), info)
        })
    }

    /// How far the query of an answer has come, 0 to 1; `None` when it has ended. Waits a while for
    /// a change. What it ended with, the answer's rows say.
    pub async fn progress(&self, ticket: &Bytes) -> Result<Option<f64>> {
        let poll = self.link.poll(FlightDescriptor::new_cmd(ticket.clone())).await?;
        Ok(poll.flight_descriptor.and(poll.progress))
    }

    /// Returns when the gateways know of all results that were read or dropped so far. For the end
    /// of a program: what is not told is left to the sweeper.
    pub async fn closed(&self) {
        self.link.closed().await;
    }

    /// Cancels the query of a ticket, and has what it left removed.
    pub async fn cancel(&self, ticket: &Bytes) -> Result<()> {
        done(&self.link, ticket.clone()).await
    }
}

/// By its first word: a statement that only reads may be started twice.
fn twice(sql: &str) -> Twice {
    let word: String = sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    match word.to_ascii_lowercase().as_str() {
        "select" | "with" | "values" | "show" | "describe" | "explain" | "set" | "reset" => {
            Twice::Harmless
        }
        _ => Twice::Harmful,
    }
}

/// Tells the gateway that nobody wants the result any more.
async fn done(link: &Link, ticket: Bytes) -> Result<()> {
    let endpoint = FlightEndpoint::new().with_ticket(arrow_flight::Ticket::new(ticket));
    let info = FlightInfo::new().with_endpoint(endpoint);
    let request = CancelFlightInfoRequest::new(info);
    link.act(Action::new("CancelFlightInfo", request.encode_to_vec())).await.map(|_| ())
}

/// What a gateway must not send.
fn broken(what: &str) -> Error {
    Error::bug(format!("the gateway sent {what}"))
}
