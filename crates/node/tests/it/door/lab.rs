//! Two gateways of one store, each with a door, and clients of both.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use bytes::Bytes;
use dunlin_base::{Env, Error, Result};
use dunlin_gateway::Gateway;
use dunlin_gateway::flight::{
    Auth, Client, ClientOptions, Cost, Credentials, DoorOptions, FlightDoor, MemoryUsers,
    MetadataUsers,
};
use dunlin_node::EngineOptions;
use futures::{StreamExt, TryStreamExt};
use tonic::transport::{Channel, Endpoint};

use crate::cluster::{Cluster, LIMIT, Shape, tpch};

/// A client that knows nothing of ours.
pub(crate) type Plain = FlightSqlServiceClient<Channel>;

/// A cluster with two doors.
pub(super) struct Doors {
    pub(super) cluster: Cluster,
    pub(super) users: Arc<MemoryUsers>,
    pub(super) doors: Vec<FlightDoor>,
    pub(super) gateways: Vec<Gateway>,
}

impl Doors {
    pub(super) fn open() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(super) fn with(
        engine: impl FnOnce(&mut EngineOptions),
        door: impl Fn(&mut DoorOptions),
    ) -> Self {
        let shape = Shape { partitions: 4, executors: 2, fine: false };
        let cluster = Cluster::with(&tpch(), shape, engine);
        let users = Arc::new(MemoryUsers::default());
        let env = cluster.engine.env().clone();
        for user in ["ann", "bob", "cid", "dan"] {
            users.set(user, &format!("{user}'s"), Cost::Trifling, &env).expect("a user");
        }
        // The catalog knows users by the metadata store. Ann and Bob may all, Cid and Dan nothing.
        let known = MetadataUsers::new(Arc::clone(cluster.engine.store()));
        cluster.engine.block_on(async {
            for user in ["ann", "bob", "cid", "dan"] {
                known.set(user, "unused", Cost::Trifling, &env).await.expect("a user");
            }
            for user in ["ann", "bob"] {
                known.set_admin(user, true).await.expect("a user");
            }
        });
        let mut all = Self { cluster, users, doors: Vec::new(), gateways: Vec::new() };
        all.add_door(all.cluster.engine.gateway().expect("a gateway"), &door);
        let another = all.run(all.cluster.engine.another_gateway()).expect("another gateway");
        all.add_door(another, &door);
        all
    }

    fn add_door(&mut self, gateway: Gateway, change: &impl Fn(&mut DoorOptions)) {
        let mut options = DoorOptions::new(Auth::Users(Arc::clone(&self.users) as _));
        options.password_cost = Cost::Trifling;
        change(&mut options);
        let planner = Arc::clone(self.cluster.engine.planner());
        let door = self.run(FlightDoor::start(gateway.clone(), planner, options));
        self.doors.push(door.expect("a door opens"));
        self.gateways.push(gateway);
    }

    pub(super) fn env(&self) -> Env {
        self.cluster.engine.env().clone()
    }

    /// Runs a future on the engine's runtime, within the limit.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let env = self.env();
        let done = self.cluster.engine.block_on(env.timeout(LIMIT, work));
        done.expect("in time")
    }

    pub(super) fn address(&self, door: usize) -> String {
        self.doors[door].local_addr().to_string()
    }

    pub(super) fn options(&self, user: &str) -> ClientOptions {
        let addresses = (0..self.doors.len()).map(|door| self.address(door)).collect();
        let password = format!("{user}'s");
        let credentials = Credentials::Password { user: user.to_owned(), password };
        ClientOptions::new(addresses, credentials)
    }

    /// Our client, with all doors.
    pub(super) async fn client(&self, user: &str) -> Client {
        Client::connect(self.env(), self.options(user)).await.expect("a connection")
    }

    /// Another client, logged in at one door.
    pub(super) async fn plain(&self, door: usize, user: &str) -> Plain {
        let mut client = self.stranger(door).await;
        client.handshake(user, &format!("{user}'s")).await.expect("a login");
        client
    }

    /// Another client, not logged in.
    pub(super) async fn stranger(&self, door: usize) -> Plain {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address(door)));
        let channel = endpoint.expect("an address").connect().await.expect("a connection");
        Plain::new(channel)
    }

    /// Waits until no query has records any more, then looks for anything else that is left.
    pub(super) fn assert_nothing_left(&self) {
        self.run(async {
            while !self.cluster.engine.queue().running().await.expect("a list").is_empty() {
                self.env().sleep(Duration::from_millis(2)).await;
            }
            for gateway in &self.gateways {
                gateway.settle().await;
            }
        });
        self.cluster.assert_nothing_left();
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.doors.clear();
        let engine = &self.cluster.engine;
        for gateway in self.gateways.drain(1..) {
            if let Err(error) = engine.block_on(gateway.leave()) {
                eprintln!("a gateway could not leave: {error}");
            }
        }
    }
}

/// The one ticket of an info.
pub(crate) fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().expect("a ticket")
}

/// All rows of a ticket.
pub(crate) async fn rows(client: &mut Plain, ticket: Ticket) -> Result<Vec<RecordBatch>, String> {
    let stream = client.do_get(ticket).await.map_err(|e| e.to_string())?;
    stream.try_collect().await.map_err(|e| e.to_string())
}

/// All rows of a statement through our client.
pub(super) async fn all(client: &Client, sql: &str) -> Result<Vec<RecordBatch>> {
    client.sql(sql).await?.try_collect().await
}

/// The first rows of an answer.
pub(super) async fn first<S>(answer: &mut S) -> Result<RecordBatch>
where
    S: futures::Stream<Item = Result<RecordBatch>> + Unpin,
{
    answer.next().await.unwrap_or_else(|| Err(Error::invalid("no rows")))
}

/// The error of our client's statement.
pub(super) async fn failure(client: &Client, sql: &str) -> Error {
    match all(client, sql).await {
        Ok(rows) => panic!("{sql} yields {} batches", rows.len()),
        Err(error) => error,
    }
}

/// A request with a plain client's token, for calls that it does not know.
pub(crate) fn signed<T>(client: &Plain, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let token = client.token().expect("logged in");
    let value = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}

/// How many rows.
pub(crate) fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A ticket of ours with another cursor or none; see `door.proto`.
pub(super) fn opened(ticket: &Bytes) -> dunlin_proto::door::Ticket {
    use arrow_flight::sql::{Any, TicketStatementQuery};
    use prost::Message;
    let any = Any::decode(ticket.clone()).expect("a command");
    let statement: TicketStatementQuery = any.unpack().expect("readable").expect("a ticket");
    dunlin_proto::door::Ticket::decode(statement.statement_handle).expect("ours")
}

/// The bytes of a ticket of ours.
pub(super) fn closed(ticket: &dunlin_proto::door::Ticket) -> Ticket {
    use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
    use prost::Message;
    let statement = TicketStatementQuery { statement_handle: ticket.encode_to_vec().into() };
    Ticket::new(statement.as_any().encode_to_vec())
}
