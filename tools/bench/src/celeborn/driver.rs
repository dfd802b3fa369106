//! The part of an application's driver: slots from a master, reservations at workers, and the end.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dunlin_base::Env;
use dunlin_celeborn::frame::{Frame, Mode};
use dunlin_celeborn::location::{Location, pack, unpack};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::rpc::{Content, Envelope, Form, endpoint};
use dunlin_celeborn::status::StatusCode;
use dunlin_celeborn_service::Client;

/// For a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// For the workers' wait for second copies.
const PUSH_MAX_MS: i64 = 120_000;

/// Locations are not left for their size: the load stays where it is.
const SPLIT: i64 = 1 << 50;

/// An application with one shuffle.
pub(super) struct Driver {
    env: Env,
    master: Client,
    pub(super) app: String,
}

impl Driver {
    /// Registers with a master, under a name of its own.
    pub(super) async fn new(env: &Env, master: &str) -> Result<Self> {
        let app = format!("bench-{:016x}", env.random());
        let master = connect(env, master).await?;
        let driver = Self { env: env.clone(), master, app };
        let beat = pb::HeartbeatFromApplication {
            app_id: driver.app.clone(),
            should_response: true,
            ..Default::default()
        };
        driver.ask(beat).await.context("the master does not take an application")?;
        Ok(driver)
    }

    /// What pushes call the shuffle.
    pub(super) fn key(&self) -> String {
        format!("{}-0", self.app)
    }

    /// Slots for so many partitions, reserved at their workers: the locations that are pushed to.
    pub(super) async fn reserve(&self, partitions: i32, copies: bool) -> Result<Vec<Location>> {
        let asked = pb::RequestSlots {
            application_id: self.app.clone(),
            partition_id_list: (0..partitions).collect(),
            hostname: "127.0.0.1".to_owned(),
            should_replicate: copies,
            request_id: format!("{}#1", self.app),
            user_identifier: Some(user()),
            max_workers: 10_000,
            packed: true,
            ..Default::default()
        };
        let Message::RequestSlotsResponse(got) = self.ask(asked).await? else {
            bail!("no slots in the answer")
        };
        ensure!(got.status == StatusCode::Success.number(), "no slots: status {}", got.status);
        let mut primaries = Vec::new();
        for resource in got.packed_worker_resource.into_values() {
            let all = unpack(resource.location_pairs.unwrap_or_default())?;
            if !all.is_empty() {
                self.reserve_at_worker(&all).await?;
            }
            primaries.extend(all.into_iter().filter(|one| one.copy.mode == Mode::Primary));
        }
        ensure!(primaries.len() == partitions.unsigned_abs() as usize, "too few locations");
        primaries.sort_by_key(|location| location.copy.partition.id);
        Ok(primaries)
    }

    async fn reserve_at_worker(&self, locations: &[Location]) -> Result<()> {
        let worker = &locations[0].copy.worker;
        let client = connect(&self.env, &format!("{}:{}", worker.host, worker.rpc_port)).await?;
        let asked = pb::ReserveSlots {
            application_id: self.app.clone(),
            split_threshold: SPLIT,
            user_identifier: Some(user()),
            push_data_timeout: PUSH_MAX_MS,
            partition_split_enabled: true,
            partition_locations_pair: Some(pack(locations)),
            ..Default::default()
        };
        let Message::ReserveSlotsResponse(got) = ask(&client, endpoint::WORKER, asked).await?
        else {
            bail!("no reservation in the answer")
        };
        ensure!(got.status == StatusCode::Success.number(), "not reserved: {}", got.reason);
        Ok(())
    }

    /// The application has ended: servers may remove what it pushed.
    pub(super) async fn end(&self) -> Result<()> {
        let (app_id, request_id) = (self.app.clone(), format!("{}#2", self.app));
        self.ask(pb::UnregisterShuffle {
            app_id: app_id.clone(),
            request_id: request_id.clone(),
            ..Default::default()
        })
        .await?;
        self.ask(pb::ApplicationLost { app_id, request_id }).await.map(drop)
    }

    async fn ask(&self, message: impl Into<Message>) -> Result<Message> {
        ask(&self.master, endpoint::MASTER, message).await
    }
}

/// A connection to a port.
pub(super) async fn connect(env: &Env, address: &str) -> Result<Client> {
    Ok(Client::connect(env, address, (CONNECT_MAX, None)).await?)
}

fn user() -> pb::UserIdentifier {
    pb::UserIdentifier { tenant_id: "default".to_owned(), name: "default".to_owned() }
}

/// Asks a control port, in the form that Spark's client writes.
async fn ask(client: &Client, name: &str, message: impl Into<Message>) -> Result<Message> {
    let content = Content::Message(message.into().encode(), Form::Java).encode()?;
    let envelope = Envelope { sender: None, receiver: None, endpoint: name.to_owned(), content };
    let body = envelope.encode()?;
    match client.ask(|id| Frame::RpcRequest(id, body)).await? {
        Frame::RpcResponse(_, body) => match Content::decode(body)? {
            Content::Message(message, _) => {
                Message::decode(message).map_err(|undecoded| anyhow::anyhow!("{undecoded:?}"))
            }
            other => bail!("an answer of another sort: {other:?}"),
        },
        Frame::RpcFailure(_, text) => bail!("{text}"),
        other => bail!("a request was answered with a {:?} frame", other.kind()),
    }
}
