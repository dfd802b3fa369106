//! Making a connection: TCP, TLS, then `Hello` and `Welcome`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::net::{Reader, Stream, Writer, split};
use dunlin_base::{Env, Error, Kind, ProcessId, Result};
use dunlin_proto::wire::{Decoder, Hello, Limits, Message, Terms, VERSION, Welcome};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::options::{TcpOptions, Tls};

/// A connection to the worker that was meant.
pub(super) struct Established {
    pub(super) receiver: Receiver,
    pub(super) writer: Writer,
    pub(super) terms: Terms,
}

/// Where a worker is.
pub(super) struct At {
    /// `host:port`.
    pub(super) address: String,
    /// Where it lets processes of this machine in, if it is on this machine.
    pub(super) on_machine: Option<PathBuf>,
}

/// Connects to `worker`, within the limit for that. `Retry`: nobody answers there. `Lost`: another
/// process does. `Invalid`: another version, or TLS does not come about.
pub(super) async fn establish(
    env: &Env,
    options: &TcpOptions,
    worker: ProcessId,
    at: &At,
) -> Result<Established> {
    let limit = options.connect_max;
    let made = env.timeout(limit, connect(env, options, worker, at)).await;
    made.unwrap_or_else(|| {
        let (limit, address) = (limit.as_millis(), &at.address);
        Err(Error::retry(format!("no connection to {address} within {limit} ms")))
    })
}

async fn connect(
    env: &Env,
    options: &TcpOptions,
    worker: ProcessId,
    at: &At,
) -> Result<Established> {
    if let Some(path) = &at.on_machine
        && let Some(made) = connect_on_machine(env, options, worker, path).await
    {
        return Ok(made);
    }
    let address = at.address.as_str();
    let stream = env.connect(address, options.connect_max).await?;
    let stream = match &options.tls {
        Some(tls) => secure(tls, address, stream).await?,
        None => stream,
    };
    greet(env, options, worker, (stream, address)).await
}

/// `None`: the path is not what it was for the worker, which may be in a container of its own.
async fn connect_on_machine(
    env: &Env,
    options: &TcpOptions,
    worker: ProcessId,
    path: &Path,
) -> Option<Established> {
    let made = async {
        let stream = env.connect_on_machine(path, options.connect_max / 4).await?;
        greet(env, options, worker, (stream, &path.display().to_string())).await
    };
    let made = env.timeout(options.connect_max / 2, made).await;
    let made = made.unwrap_or_else(|| Err(Error::retry("no answer in time")));
    made.inspect_err(|error| tracing::debug!(%worker, %error, "going by TCP instead")).ok()
}

async fn greet(
    env: &Env,
    options: &TcpOptions,
    worker: ProcessId,
    (stream, address): (Stream, &str),
) -> Result<Established> {
    let (reader, mut writer) = split(env, stream, options.silence_max, options.stall_max);
    let build = options.build.clone();
    let hello = Hello { version: VERSION, build, worker, token_hash: Default::default() };
    writer.write(Message::Hello(hello).encode(&Limits::HANDSHAKE)?).await?;
    let mut receiver = Receiver::new(env.clone(), reader, options.frame_wait);
    let terms = welcome(&mut receiver, worker, address).await?;
    receiver.decoder.set_limits(Limits::with_bodies(options.body_max));
    Ok(Established { receiver, writer, terms })
}

async fn secure(tls: &Tls, address: &str, stream: Stream) -> Result<Stream> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = tls.name.as_deref().unwrap_or_else(|| host.trim_matches(['[', ']']));
    let name = ServerName::try_from(host.to_owned()).map_err(|e| {
        Error::invalid(format!("'{host}' is no name for a certificate")).with_source(e)
    })?;
    let secured = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream).await;
    let secured = secured.map_err(|e| {
        Error::invalid(format!("TLS with {address} does not come about: {e}"))
            .with_source(e)
            .with_hint("both ends need TLS, certificates of one authority, and the right name")
    })?;
    Ok(Box::new(secured))
}

/// What the peer may send, if it is the worker that was meant.
async fn welcome(receiver: &mut Receiver, worker: ProcessId, address: &str) -> Result<Terms> {
    let stranger = |what: String| {
        Error::lost(format!("shuffle worker {worker} is gone: at {address} {what}"))
            .with_hint("if the worker lives, see whether both ends have TLS or none has")
    };
    let message = loop {
        let piece = receiver.piece().await?;
        // These bytes were no accident of an old connection: something else is there.
        let fed = receiver.decoder.feed(piece);
        let fed = fed.map_err(|e| stranger(format!("is no shuffle worker ({e})")))?;
        if let Some(message) = fed {
            break message;
        }
    };
    match message {
        Message::Welcome(Welcome { version: VERSION, worker: here, terms, .. }) => {
            if here == worker { Ok(terms) } else { Err(stranger(format!("is {here}"))) }
        }
        Message::Welcome(Welcome { version, .. }) => Err(Error::invalid(format!(
            "the worker at {address} speaks version {version} of the shuffle protocol, not {VERSION}"
        ))),
        Message::Goodbye(error) if error.kind() == Kind::Lost => Err(error),
        Message::Goodbye(error) => Err(error.context(format!("the worker at {address}"))),
        other => Err(stranger(format!("begins with {:?}", other.frame_type()))),
    }
}

/// The receiving end of one connection.
pub(super) struct Receiver {
    reader: Reader,
    decoder: Decoder,
    env: Env,
    frame_wait: Duration,
    /// When the frame under way must be whole.
    deadline: Duration,
}

impl Receiver {
    fn new(env: Env, reader: Reader, frame_wait: Duration) -> Self {
        let decoder = Decoder::new(Limits::HANDSHAKE);
        Self { reader, decoder, env, frame_wait, deadline: Duration::MAX }
    }

    /// The next message. `Invalid`: not a frame of this protocol. `Retry`: the peer is gone, silent
    /// or too slow.
    pub(super) async fn next(&mut self) -> Result<Message> {
        loop {
            let piece = self.piece().await?;
            if let Some(message) = self.decoder.feed(piece)? {
                return Ok(message);
            }
        }
    }

    async fn piece(&mut self) -> Result<bytes::Bytes> {
        let (at_start, wants) = (self.decoder.at_start(), self.decoder.wants());
        let at_hand = self.reader.at_hand(wants);
        if at_start {
            let piece = match at_hand {
                Some(piece) => piece,
                None => self.reader.exactly(wants).await?,
            };
            self.deadline = self.env.now() + self.frame_wait;
            return Ok(piece);
        }
        if let Some(piece) = at_hand {
            return Ok(piece);
        }
        let left = self.deadline.saturating_sub(self.env.now());
        let late = || Err(Error::retry("the peer does not finish a frame"));
        self.env.timeout(left, self.reader.exactly(wants)).await.unwrap_or_else(late)
    }
}
