//! The beginning of a connection: TLS, then `Hello` and `Welcome`.

use std::sync::Arc;

use dunlin_base::net::{Stream, Writer, split};
use dunlin_base::{Error, Result};
use dunlin_proto::wire::{Hello, Limits, Message, VERSION, Welcome};
use tokio_rustls::TlsAcceptor;

use super::accept::From;
use super::connection::GOODBYE_WAIT;
use super::receive::Receiver;
use super::shared::Shared;

/// A connection whose client means this worker.
pub(super) struct Greeted {
    pub(super) receiver: Receiver,
    pub(super) writer: Writer,
    pub(super) hello: Hello,
}

/// Greets a client within the limit for that. `Lost`: it means another process. `Invalid`: it
/// speaks something else, or its certificate was refused. Whatever the protocol allows to say was
/// said to it.
pub(super) async fn greet(shared: &Arc<Shared>, stream: Stream, from: From) -> Result<Greeted> {
    let limit = shared.options.handshake_max;
    let greeted = shared.env.timeout(limit, exchange(shared, stream, from)).await;
    greeted.unwrap_or_else(|| {
        Err(Error::retry(format!("a client did not say hello within {} s", limit.as_secs())))
    })
}

async fn exchange(shared: &Arc<Shared>, stream: Stream, from: From) -> Result<Greeted> {
    let options = &shared.options;
    let stream = match from {
        From::Network(_) => secure(shared, stream).await?,
        // The system says who it is, and nobody else sees the bytes.
        From::Machine => stream,
    };
    let (reader, mut writer) = split(&shared.env, stream, options.silence_max, options.stall_max);
    let mut receiver = Receiver::new(shared.env.clone(), reader, options.frame_wait);
    let heard = hear(shared, &mut receiver).await;
    let reply = match &heard {
        Ok(hello) => Message::Welcome(Welcome {
            version: VERSION,
            build: options.build.clone(),
            worker: hello.worker,
            terms: shared.terms(),
        }),
        Err(error) => Message::Goodbye(error.clone()),
    };
    let written = writer.write(reply.encode(&Limits::HANDSHAKE)?).await;
    match heard {
        Ok(hello) => {
            written?;
            receiver.set_limits(shared.limits());
            Ok(Greeted { receiver, writer, hello })
        }
        Err(error) => {
            writer.shutdown().await;
            shared.env.timeout(GOODBYE_WAIT, receiver.drain()).await;
            Err(error)
        }
    }
}

async fn secure(shared: &Shared, stream: Stream) -> Result<Stream> {
    let Some(config) = &shared.options.tls else { return Ok(stream) };
    let secured = TlsAcceptor::from(Arc::clone(config)).accept(stream).await;
    let secured = secured.map_err(|e| {
        Error::invalid(format!("a client's TLS handshake failed: {e}")).with_source(e)
    })?;
    Ok(Box::new(secured))
}

async fn hear(shared: &Shared, receiver: &mut Receiver) -> Result<Hello> {
    let message = loop {
        // Who speaks something else will not understand the reply; to a client of ours the
        // greeting was damaged on the way, and the next may not be.
        let step = receiver.step().await;
        let step = step.map_err(|e| Error::retry(format!("no greeting: {e}")).with_source(e))?;
        if let Some(message) = step {
            break message;
        }
    };
    let Message::Hello(hello) = message else {
        let kind = message.frame_type();
        return Err(Error::invalid(format!("a connection began with a {kind:?} frame")));
    };
    if hello.version != VERSION {
        let theirs = hello.version;
        let text =
            format!("a client speaks version {theirs} of the shuffle protocol, not {VERSION}");
        return Err(Error::invalid(text).with_hint("run builds of one release, or the next one"));
    }
    let lives = shared.lives.read();
    if !lives.contains(&hello.worker) {
        let here = lives.last().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        let wanted = hello.worker;
        return Err(Error::lost(format!("shuffle worker {wanted} is gone: {here} is here")));
    }
    Ok(hello)
}
