//! Bytes that strangers send to a socket, by seed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{ByteCount, Env, ProcessId};
use dunlin_celeborn::Text;
use dunlin_celeborn::frame::{Frame, Mode, PushData, RequestId, Slice, StreamId};
use dunlin_celeborn::rpc::{Content, Envelope};
use dunlin_node::Listener;
use dunlin_proto::wire::{Hello, Limits, Message, Preamble, VERSION};

/// How long a stranger listens for an answer: the process need not give one.
const LISTENS: Duration = Duration::from_millis(20);

/// Longest wait for the process to take bytes; some are more than it ever will.
const WRITES: Duration = Duration::from_millis(500);

/// The greeting of HTTP/2, and the settings that follow it.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Connections that say nothing, or half of a greeting, and stay.
pub(super) const SILENT: usize = 300;

/// Some connections of one kind.
pub(super) struct Batch {
    pub(super) name: &'static str,
    pub(super) messages: Vec<Vec<u8>>,
}

fn batch(name: &'static str, messages: Vec<Vec<u8>>) -> Batch {
    Batch { name, messages }
}

/// What is sent to a listener. A new listener says here what its own bytes are.
pub(super) fn batches(listener: Listener) -> Vec<Batch> {
    let mut all = anywhere();
    all.extend(match listener {
        Listener::Flight => http2(),
        Listener::Shuffle => shuffle(),
        Listener::Admin => http1(),
        Listener::CelebornMaster
        | Listener::CelebornWorker
        | Listener::CelebornPush
        | Listener::CelebornFetch
        | Listener::CelebornReplicate => celeborn(),
    });
    all
}

fn random_bytes(random: &Env, max: u64) -> Vec<u8> {
    (0..random.random_below(max + 1)).map(|_| random.random() as u8).collect()
}

/// Whole, cut at many places, and with bytes changed.
fn spoiled(good: &[u8], seeds: u64) -> Vec<Vec<u8>> {
    let random = Env::seeded(good.len() as u64);
    let spoil = |seed: u64| {
        let at = random.random_below(good.len() as u64) as usize;
        let mut bytes = good.to_vec();
        match seed % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.random_below(8),
            _ => {
                bytes.truncate(at);
                bytes.extend(random_bytes(&random, 400));
            }
        }
        bytes
    };
    (0..seeds).map(spoil).collect()
}

fn anywhere() -> Vec<Batch> {
    let random = Env::seeded(11);
    let long = |start: &[u8], fill: &[u8]| [start, &fill.repeat((2 << 20) / fill.len())].concat();
    let lines = vec![
        long(b"GET /", b"a"),
        long(b"GET / HTTP/1.1\r\nHost: ", b"a"),
        long(b"GET / HTTP/1.1\r\n", b"X-Header: value\r\n"),
        long(b"GET / HTTP/1.1\r\n", b"\r"),
        long(HTTP2, b"\x00"),
        long(b"", b"\xff"),
    ];
    let garbage = |_| [HTTP2, &random_bytes(&random, 2000)].concat();
    let before = b"PRI * HTTP/2.0\r\n\r\n";
    vec![
        batch("random bytes", (0..60).map(|_| random_bytes(&random, 4000)).collect()),
        batch("a TLS greeting", spoiled(&tls_hello(&random), 30)),
        batch("lines without an end", lines),
        batch("HTTP/2, then anything", (0..40).map(garbage).collect()),
        batch("a cut greeting", (0..before.len()).map(|n| before[..n].to_vec()).collect()),
    ]
}

/// A client hello that offers one cipher, in one record.
fn tls_hello(random: &Env) -> Vec<u8> {
    let nonce: Vec<u8> = (0..32).map(|_| random.random() as u8).collect();
    let body = [&[3, 3], &nonce[..], &[0, 0, 2, 0x13, 1, 1, 0, 0, 0]].concat();
    let length = body.len() as u8;
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
}

/// Frames of Celeborn's clients, for whichever port.
fn celeborn() -> Vec<Batch> {
    let random = Env::seeded(12);
    let content = Content::CheckExistence("MasterEndpoint".to_owned()).encode().expect("short");
    let endpoint = "endpoint-verifier".to_owned();
    let envelope = Envelope { sender: None, receiver: None, endpoint, content };
    let (id, mode) = (RequestId(1), Mode::Primary);
    let (shuffle_key, partition) = (Text::from("app-1-0"), Text::from("0-0"));
    let body = Bytes::from(vec![1; 500]);
    let pushed = PushData { id, mode, shuffle_key, partition, body };
    let slice = Slice::whole(StreamId(1), 0);
    let good = [
        Frame::RpcRequest(id, envelope.encode().expect("short")),
        Frame::PushData(pushed),
        Frame::ChunkFetchRequest(slice),
        Frame::OneWay(random_bytes(&random, 300).into()),
        Frame::RpcRequest(id, random_bytes(&random, 300).into()),
        Frame::Heartbeat,
    ];
    let good = good.map(|frame| frame.encode().expect("short").to_bytes().to_vec());
    let absurd = |kind: u8| [&[0xff; 4][..], &[kind], &[0xff; 4]].concat();
    let large = |kind: u8| [&[0, 0, 0, 12][..], &[kind], &[0x0f; 4], &[0; 4096]].concat();
    vec![
        batch("good frames", good.to_vec()),
        batch("spoiled frames", good.iter().flat_map(|frame| spoiled(frame, 20)).collect()),
        batch("absurd lengths", (0..30).map(absurd).collect()),
        batch("long bodies that never come", (0..30).map(large).collect()),
    ]
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

/// The headers of a call without credentials, each as a literal.
fn call_headers() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/arrow.flight.protocol.FlightService/DoGet"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend([0, name.len() as u8]);
        block.extend(name.as_bytes());
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    block
}

fn http2() -> Vec<Batch> {
    const END: u8 = 4;
    let many = |count: u32, one: &dyn Fn(u32) -> Vec<u8>| {
        let frames: Vec<u8> = (0..count).flat_map(one).collect();
        [HTTP2, &frames].concat()
    };
    let headers = call_headers();
    let opened = [HTTP2, &frame(1, END, 1, &headers)].concat();
    let says = |length: u32| [&opened[..], &frame(0, 0, 1, &prefixed(length))].concat();
    let call = [&opened[..], &frame(0, 1, 1, &[0, 0, 0, 0, 3, 0x0a, 1, 7])].concat();
    let floods = vec![
        // Calls that are taken back at once.
        many(2000, &|n| {
            [frame(1, END, 2 * n + 1, &headers), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
        }),
        many(5000, &|_| frame(6, 0, 0, &[7; 8])),
        many(5000, &|_| frame(4, 0, 0, &[])),
        many(5000, &|_| frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        // Headers that never end.
        [&many(1, &|_| frame(1, 0, 1, &headers))[..], &frame(9, 0, 1, &[0x40; 16000]).repeat(200)]
            .concat(),
        many(200, &|n| frame(1, END, 2 * n + 1, &headers)),
        // A name and a value in the table of headers, and thousands of references to it.
        many(1, &|_| {
            let entry = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e], &[b'b'; 4000][..]].concat();
            frame(1, END, 1, &[entry, vec![0xbe; 12000]].concat())
        }),
    ];
    vec![
        batch("floods of frames", floods),
        batch("lengths of messages", [0, 5, 1 << 24, u32::MAX].map(says).to_vec()),
        batch(
            "frames that are too long",
            vec![[HTTP2, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat()],
        ),
        batch("a call with changed bytes", spoiled(&call, 90)),
    ]
}

/// The head of a message of gRPC, and a little of it.
fn prefixed(length: u32) -> Vec<u8> {
    [&[0], &length.to_be_bytes()[..], b"few"].concat()
}

fn shuffle() -> Vec<Batch> {
    let worker = ProcessId::generate(&Env::seeded(1));
    let (build, token_hash) = ("test".to_owned(), Bytes::new());
    let hello = Message::Hello(Hello { version: VERSION, build, worker, token_hash });
    let hello = hello.encode(&Limits::with_bodies(ByteCount::mib(1))).expect("short").concat();
    let random = Env::seeded(13);
    let head = |_| {
        let (header_len, body_len) = (random.random() as u32, random.random() as u32);
        let kind = random.random() as u8;
        let head = Preamble { header_len, kind, body_len }.encode();
        [&head[..], &random_bytes(&random, 300)].concat()
    };
    vec![
        batch("a greeting with changed bytes", spoiled(&hello, 60)),
        batch("heads that promise", (0..60).map(head).collect()),
    ]
}

fn http1() -> Vec<Batch> {
    let good = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
    let with = |lines: &str, body: &str| {
        format!("POST /livez HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{body}").into_bytes()
    };
    let bodies = vec![
        with("Content-Length: 18446744073709551615", "few"),
        with("Content-Length: -1", "few"),
        with("Content-Length: 3\r\nContent-Length: 4", "few"),
        with("Transfer-Encoding: chunked", "ffffffffffffffff\r\nfew"),
        with("Transfer-Encoding: chunked", "fffffffffffffffff\r\nfew"),
        with("Transfer-Encoding: chunked", &"1\r\nx\r\n".repeat(20_000)),
        with("Expect: 100-continue\r\nContent-Length: 9", ""),
        with("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA", ""),
    ];
    vec![
        batch("a request with changed bytes", spoiled(good, 90)),
        batch("bodies that lie", bodies),
        // Nobody reads the answers.
        batch("requests without an end", vec![good.repeat(5000)]),
    ]
}

/// Sends each message on a connection of its own, and leaves in one of three ways.
pub(super) fn send(address: SocketAddr, batch: &Batch) {
    for (number, message) in batch.messages.iter().enumerate() {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(LISTENS)).expect("set");
        stream.set_write_timeout(Some(WRITES)).expect("set");
        // The process may close in the middle of it.
        let _ = stream.write_all(message);
        if number % 3 == 1 {
            let _ = stream.shutdown(Shutdown::Write);
        }
        if number % 3 != 0 {
            let _ = stream.read(&mut [0; 4000]);
        }
    }
}

/// Connections that stay as long as they are held.
pub(super) fn silent(address: SocketAddr) -> Vec<TcpStream> {
    let connect = |number: usize| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let _ = stream.write_all(&HTTP2[..number % 24]);
        stream
    };
    (0..SILENT).map(connect).collect()
}
