//! Frames from the socket of one connection.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dunlin_base::net::Reader;
use dunlin_base::{Env, Error, Result};
use dunlin_proto::shuffle::Wait;
use dunlin_proto::wire::{Answer, Decoder, Limits, Message};

use super::connection::Connection;
use super::shared::Room;

/// The receiving end of one connection.
pub(super) struct Receiver {
    reader: Reader,
    decoder: Decoder,
    env: Env,
    frame_wait: Duration,
    /// When the frame under way must be whole.
    deadline: Duration,
}

/// A message, what its frame counts for, and the room that its bodies take.
pub(super) struct Received {
    pub(super) message: Message,
    pub(super) frame_len: u64,
    pub(super) room: Option<Room>,
}

impl Receiver {
    /// A receiver that takes the first exchange only: see [`Receiver::set_limits`].
    pub(super) fn new(env: Env, reader: Reader, frame_wait: Duration) -> Self {
        let decoder = Decoder::new(Limits::HANDSHAKE);
        Self { reader, decoder, env, frame_wait, deadline: Duration::MAX }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
    }

    /// After the last word to a client: see [`Reader::drain`].
    pub(super) async fn drain(&mut self) {
        self.reader.drain().await;
    }

    /// One piece of a frame, and the message if that was its last. `Invalid`: not a frame of this
    /// protocol. `Retry`: the peer is gone, silent or too slow.
    pub(super) async fn step(&mut self) -> Result<Option<Message>> {
        let (at_start, wants) = (self.decoder.at_start(), self.decoder.wants());
        if let Some(piece) = self.reader.at_hand(wants) {
            if at_start {
                self.deadline = self.env.now() + self.frame_wait;
            }
            return self.decoder.feed(piece);
        }
        let piece = self.reader.exactly(wants);
        let piece = if at_start {
            let piece = piece.await?;
            self.deadline = self.env.now() + self.frame_wait;
            piece
        } else {
            let left = self.deadline.saturating_sub(self.env.now());
            let late = || Err(Error::retry("the peer does not finish a frame"));
            self.env.timeout(left, piece).await.unwrap_or_else(late)?
        };
        self.decoder.feed(piece)
    }

    /// The next message. Before the bodies of a push are received, they are held against the
    /// limit of the connection (`Invalid`: the client exceeds it) and wait for room: the client is told,
    /// if it understands that.
    pub(super) async fn next(&mut self, connection: &Connection) -> Result<Received> {
        let Connection { shared, requests, .. } = connection;
        let mut room = None;
        loop {
            if room.is_none()
                && let Some((frame_len, bodies)) = self.decoder.bodies_due()
            {
                requests.check_bytes(frame_len as u64)?;
                let told = self.decoder.tells_waiting();
                let say = || {
                    // A connection that has ended does not want it.
                    drop(told.map(|id| connection.post(id, Answer::Waiting(Wait::Room))));
                };
                room = Some(shared.room(bodies, self.decoder.names_peer(), say).await?);
                shared.counters.bytes_received.fetch_add(bodies as u64, Relaxed);
                // The wait was ours, not the peer's.
                self.deadline = self.env.now() + self.frame_wait;
            }
            if let Some(message) = self.step().await? {
                return Ok(Received { message, frame_len: self.decoder.frame_len() as u64, room });
            }
        }
    }
}
