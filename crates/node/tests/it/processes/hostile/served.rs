//! `dunlin serve` as a child of the test: where it listens, and whether it is well.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use dunlin_base::{ByteCount, Env, ProcessId};
use dunlin_celeborn::frame::{Frame, RequestId};
use dunlin_celeborn::rpc::{self, Content, Envelope, endpoint};
use dunlin_node::Listener;
use dunlin_proto::wire::{Decoder, Hello, Limits, Message, VERSION};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::cli::lab::{Lab, finish};
use crate::door::lab::{Plain, rows, ticket};
use crate::processes::frames::answered;
use crate::processes::lab::page;

/// How long anything may take that works.
const SOON: Duration = Duration::from_secs(180);

/// Memory that hostile clients may make a process keep, allocator's leftovers included.
const GROWTH_MAX: u64 = 256 << 20;

/// A running process with all roles. Dropping it ends it.
pub(super) struct Served {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    ready: String,
    runtime: Runtime,
    token: String,
    memory_at_start: u64,
    _lab: Lab,
}

impl Served {
    pub(super) fn start() -> Self {
        let lab = Lab::new();
        let mut set = lab.command(&["users", "--metadata", "state", "set", "ann"]);
        set.env("DUNLIN_PASSWORD", "sesame");
        finish(set, "").ok();
        let places = ["serve", "--metadata", "state", "--blobs", "blobs", "--data", "data"];
        let ports = ["--flight-port", "0", "--admin-port", "0", "--users", "--threads", "2"];
        let roles = "gateway,executor,shuffle,celeborn-master,celeborn-worker";
        let roles = ["--roles", roles, "--celeborn-port", "0"];
        let mut command = lab.command(&[&places[..], &ports, &roles, &["--with-parent"]].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let (said, lines) = listen(child.stderr.take().expect("piped"));
        let begins = |line: &String| line.starts_with("dunlin: ready ");
        let ready = std::iter::from_fn(|| lines.recv_timeout(SOON).ok()).find(begins);
        let ready = ready.unwrap_or_else(|| panic!("not ready: {:#?}", said.lock()));
        let runtime = Runtime::new().expect("a runtime");
        let token = String::new();
        let mut served = Self { child, said, ready, runtime, token, memory_at_start: 0, _lab: lab };
        served.token = served.run(async {
            let mut client = Plain::new(served.channel().await);
            client.handshake("ann", "sesame").await.expect("a login");
            client.token().expect("a token").clone()
        });
        Listener::ALL.into_iter().for_each(|listener| served.assert_answers(listener));
        served.memory_at_start = served.memory();
        served
    }

    /// Where a listener is. All of them are open: the process has all roles.
    pub(super) fn address(&self, listener: Listener) -> SocketAddr {
        let address = listener.announced(&self.ready);
        address.unwrap_or_else(|| panic!("no {listener:?} in '{}'", self.ready))
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let env = Env::real(Some(self.runtime.handle().clone()));
        self.runtime.block_on(env.timeout(SOON, work)).expect("in time")
    }

    /// A new connection to the Flight SQL door.
    pub(super) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address(Listener::Flight));
        let endpoint = Endpoint::from_shared(address).expect("an address");
        endpoint.connect().await.expect("a connection")
    }

    /// What a user who has logged in has.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A client that has logged in, on a connection of its own.
    pub(super) async fn client(&self) -> Plain {
        let mut client = Plain::new(self.channel().await);
        client.set_token(self.token.clone());
        client
    }

    /// The process lives, serves at all of its listeners, and has not grown.
    pub(super) fn assert_well(&mut self, after: &str) {
        let ended = self.child.try_wait().expect("a status");
        let said = || self.said.lock().expect("no panic").join("\n");
        assert!(ended.is_none(), "after {after} it ended with {ended:?}: {}", said());
        Listener::ALL.into_iter().for_each(|listener| self.assert_answers(listener));
        // Libraries panic at some bytes, and that is caught; ours do not.
        assert!(!said().contains("panicked at crates/"), "after {after}: {}", said());
        let (before, now) = (self.memory_at_start, self.memory());
        assert!(now < before + GROWTH_MAX, "after {after}: {before} became {now} bytes");
    }

    fn assert_answers(&self, listener: Listener) {
        let address = self.address(listener);
        match listener {
            Listener::Flight => self.run(async {
                let mut client = self.client().await;
                let sql = "SELECT count(*), sum(id), min(what) FROM items".to_owned();
                let info = client.execute(sql, None).await.expect("a query");
                let rows = rows(&mut client, ticket(&info)).await.expect("rows");
                let text = |column: usize| array_value_to_string(rows[0].column(column), 0);
                let row = [0, 1, 2].map(|column| text(column).expect("a value"));
                assert_eq!(row, ["3", "5", "pot, blue"]);
            }),
            Listener::Shuffle => greet(address),
            Listener::CelebornMaster => exists(address, endpoint::MASTER),
            Listener::CelebornWorker => exists(address, endpoint::WORKER),
            Listener::CelebornPush | Listener::CelebornReplicate => refuses(address, b"x"),
            // No message has this number.
            Listener::CelebornFetch => refuses(address, b"\0\0\x10\0\0\0\0\0"),
            Listener::Admin => {
                assert_eq!(page(&address.to_string(), "/livez"), (200, "ok\n".to_owned()));
            }
        }
    }

    /// Resident bytes, where the system tells.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or_default() << 10
    }

    /// Ports on which the process takes connections, as the system has it; `None` where it does
    /// not tell.
    pub(super) fn listening(&self) -> Option<BTreeSet<u16>> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?;
        let link = |entry: std::io::Result<std::fs::DirEntry>| {
            let target = std::fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        };
        let own: BTreeSet<String> = folder.filter_map(link).collect();
        let tables =
            ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/net/{table}")));
        let lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
        let port = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // State 0A is that of a listener; the tenth word is the socket's inode.
            let listens = words.get(3) == Some(&"0A") && own.contains(*words.get(9)?);
            let (_, port) = words.get(1)?.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok().filter(|_| listens)
        };
        Some(lines.filter_map(port).collect())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends when its standard input does, and is not waited for longer than it takes.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps and passes on what the process says.
fn listen(stderr: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, Receiver<String>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let (sender, lines) = channel();
    let kept = Arc::clone(&said);
    std::thread::Builder::new()
        .spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().expect("no panic").push(line.clone());
                // Nobody waits for lines any more after the ready one.
                let _ = sender.send(line);
            }
        })
        .expect("a thread");
    (said, lines)
}

/// A control port for Celeborn's clients says that its endpoint is there.
fn exists(address: SocketAddr, name: &str) {
    let content = Content::CheckExistence(name.to_owned()).encode().expect("short");
    let endpoint = endpoint::VERIFIER.to_owned();
    let envelope = Envelope { sender: None, receiver: None, endpoint, content };
    match celeborn(address, envelope.encode().expect("short")) {
        Frame::RpcResponse(_, body) => assert!(rpc::exists(&body).expect("a Boolean")),
        other => panic!("{other:?}"),
    }
}

/// A data port for them says that it does not answer such a request.
fn refuses(address: SocketAddr, request: &'static [u8]) {
    let answer = celeborn(address, Bytes::from_static(request));
    assert!(matches!(answer, Frame::RpcFailure(RequestId(7), _)), "{answer:?}");
}

fn celeborn(address: SocketAddr, request: Bytes) -> Frame {
    let mut stream = TcpStream::connect_timeout(&address, SOON).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("set");
    answered(&mut stream, &Frame::RpcRequest(RequestId(7), request))
}

/// The shuffle door reads a greeting and answers it: with a welcome, or that it is another worker.
fn greet(address: SocketAddr) {
    let limits = Limits::with_bodies(ByteCount::mib(1));
    let worker = ProcessId::generate(&Env::seeded(1));
    let (build, token_hash) = ("test".to_owned(), Bytes::new());
    let hello = Message::Hello(Hello { version: VERSION, build, worker, token_hash });
    let mut stream = TcpStream::connect_timeout(&address, SOON).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream.write_all(&hello.encode(&limits).expect("short").concat()).expect("sent");
    let mut decoder = Decoder::new(limits);
    loop {
        let mut piece = vec![0; decoder.wants()];
        stream.read_exact(&mut piece).expect("answered");
        match decoder.feed(piece.into()).expect("a frame") {
            None | Some(Message::Ping) => {}
            Some(Message::Welcome(_) | Message::Goodbye(_)) => return,
            Some(other) => panic!("{other:?}"),
        }
    }
}
