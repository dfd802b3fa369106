//! A client that says what it wants, frame by frame or byte by byte.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::net::{Reader, Stream, Writer, split};
use dunlin_base::{ByteCount, Env, ProcessId, Result};
use dunlin_proto::wire::{Decoder, Hello, Limits, Message, VERSION, Welcome};

use crate::bed::{LONG, me};

pub(crate) struct Raw {
    pub(crate) env: Env,
    reader: Reader,
    pub(crate) writer: Writer,
    decoder: Decoder,
}

pub(crate) fn limits() -> Limits {
    Limits::with_bodies(ByteCount::mib(256))
}

pub(crate) fn hello(worker: ProcessId) -> Message {
    let (build, token_hash) = ("test".to_owned(), Bytes::new());
    Message::Hello(Hello { version: VERSION, build, worker, token_hash })
}

/// The bytes of a frame.
pub(crate) fn bytes_of(message: &Message) -> Vec<u8> {
    message.encode(&limits()).expect("within the limits").concat()
}

impl Raw {
    /// Connected, and nothing said.
    pub(crate) async fn connect(address: &str) -> Self {
        let env = Env::seeded(4);
        let stream = env.connect(address, LONG).await.expect("the door listens");
        Self::over(env, stream)
    }

    fn over(env: Env, stream: Stream) -> Self {
        let (reader, writer) = split(&env, stream, LONG, LONG);
        Self { env, reader, writer, decoder: Decoder::new(limits()) }
    }

    /// Greeted by the door.
    pub(crate) async fn greeted(address: &str) -> (Self, Welcome) {
        Self::connect(address).await.greet().await
    }

    /// The same past the network, where sockets hold little.
    pub(crate) async fn greeted_on_machine(path: &Path) -> (Self, Welcome) {
        let env = Env::seeded(4);
        let stream = env.connect_on_machine(path, LONG).await.expect("the door listens");
        Self::over(env, stream).greet().await
    }

    async fn greet(mut self) -> (Self, Welcome) {
        let raw = &mut self;
        raw.say(&hello(me())).await.expect("the door reads");
        match raw.hear().await.expect("the door answers") {
            Message::Welcome(welcome) => (self, welcome),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, message: &Message) -> Result<()> {
        self.writer.write(message.encode(&limits()).expect("within the limits")).await
    }

    pub(crate) async fn say_bytes(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.writer.write(vec![Bytes::from(bytes)]).await
    }

    /// The next message that is no ping; an error if the door closes the connection.
    pub(crate) async fn hear(&mut self) -> Result<Message> {
        loop {
            let piece = self.reader.exactly(self.decoder.wants()).await?;
            match self.decoder.feed(piece)? {
                None | Some(Message::Ping) => {}
                Some(message) => return Ok(message),
            }
        }
    }

    /// True if nothing but pings comes for a while. No use afterwards.
    pub(crate) async fn hears_nothing(&mut self, limit: Duration) -> bool {
        let env = self.env.clone();
        env.timeout(limit, self.hear()).await.is_none()
    }

    /// Hears to the end: what the door says last, if anything.
    pub(crate) async fn last_word(&mut self) -> Option<Message> {
        let mut last = None;
        while let Ok(message) = self.hear().await {
            last = Some(message);
        }
        last
    }
}
