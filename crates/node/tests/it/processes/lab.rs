//! `dunlin cluster` as a child of the test, and what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use dunlin_base::{Env, Error};
use dunlin_gateway::flight::{Client, ClientOptions, Credentials};
use futures::TryStreamExt;
pub(super) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::runtime::Runtime;

use crate::cluster::LIMIT;

/// How long the processes may take to start.
const START_MAX: Duration = Duration::from_secs(90);

/// Looks until it is so.
pub(super) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let clock = Env::real(None);
    let start = clock.now();
    while !is() {
        assert!(clock.now() < start + LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running cluster. Dropping it ends it.
pub(super) struct Processes {
    child: Child,
    said: Arc<Said>,
    runtime: Runtime,
    gateways: Vec<String>,
    store: String,
}

/// Lines of standard error.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Said {
    /// The rest of a line from `from` on that begins so; waits for it.
    fn wait(&self, begins: &str, from: usize) -> String {
        let found = |lines: &Vec<String>| {
            lines.iter().skip(from).find_map(|line| line.strip_prefix(begins).map(str::to_owned))
        };
        let lines = self.lines.lock().expect("no panic");
        let none = |lines: &mut Vec<String>| found(lines).is_none();
        let (lines, _) = self.more.wait_timeout_while(lines, START_MAX, none).expect("no panic");
        found(&lines).unwrap_or_else(|| panic!("no line '{begins}' in {lines:#?}"))
    }
}

impl Processes {
    /// Starts one with these options, over the tables of a folder, and waits until all its
    /// processes are ready.
    pub(super) fn start(data: &Path, options: &[&str]) -> Self {
        Self::start_with(data, options, &[])
    }

    /// The same, with options for each process.
    pub(super) fn start_with(data: &Path, options: &[&str], each: &[&str]) -> Self {
        Self::start_in(data, options, each, &[])
    }

    /// The same, with variables for each process.
    pub(super) fn start_in(
        data: &Path,
        options: &[&str],
        each: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["cluster", "--port", "0", "--data"]).arg(data).args(options);
        command.args(["--", "--threads", "1"]).args(each);
        if !each.contains(&"--lease-ttl") {
            command.args(["--lease-ttl", "2s"]);
        }
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let said = Arc::new(Said::default());
        let (lines, stderr) = (Arc::clone(&said), child.stderr.take().expect("piped"));
        std::thread::Builder::new()
            .spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lines.lines.lock().expect("no panic").push(line);
                    lines.more.notify_all();
                }
            })
            .expect("a thread");
        let gateways = said.wait("cluster: connect with: dunlin sql --connect ", 0);
        let store = said.wait("cluster: metadata is at ", 0);
        let gateways = gateways.split(',').map(str::to_owned).collect();
        let runtime = Runtime::new().expect("a runtime");
        Self { child, said, runtime, gateways, store }
    }

    /// The first gateway's address.
    pub(super) fn gateway(&self) -> &str {
        &self.gateways[0]
    }

    /// URL of the metadata store.
    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// Waits until a process, by its name such as `executor 1`, is ready (again, after `from` lines
    /// of output); what it says of itself.
    pub(super) fn ready(&self, name: &str, from: usize) -> String {
        self.said.wait(&format!("[{name}] dunlin: ready "), from)
    }

    /// What follows on a line of output that begins so; waits for it.
    pub(super) fn line(&self, begins: &str) -> String {
        self.said.wait(begins, 0)
    }

    /// How many lines of output there are.
    pub(super) fn lines(&self) -> usize {
        self.said.lines.lock().expect("no panic").len()
    }

    /// How many lines of output hold these words.
    pub(super) fn count(&self, words: &str) -> usize {
        let lines = self.said.lines.lock().expect("no panic");
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// The process id of a process, as it was last started.
    pub(super) fn id(&self, name: &str) -> String {
        let begins = format!("cluster: {name} is process ");
        let lines = self.said.lines.lock().expect("no panic");
        let mut ids = lines.iter().filter_map(|line| line.strip_prefix(&begins).map(str::to_owned));
        ids.next_back().unwrap_or_else(|| panic!("{name} was not started: {lines:#?}"))
    }

    /// Sends a signal to a process, by its name.
    pub(super) fn signal(&self, name: &str, signal: Signal) {
        let id = self.id(name).parse().expect("a number");
        send(id, signal).unwrap_or_else(|e| panic!("{signal:?} to {name}: {e}"));
    }

    /// A client of all gateways, whose queries are cut into many slices though the data are small.
    pub(super) fn client(&self) -> Client {
        let env = Env::real(Some(self.runtime.handle().clone()));
        let options = ClientOptions::new(self.gateways.clone(), Credentials::None);
        let client = self.runtime.block_on(Client::connect(env, options)).expect("a connection");
        for (name, value) in
            [("collapse_bytes", "0"), ("slice_bytes", "256KiB"), ("broadcast_bytes", "16KiB")]
        {
            let set = format!("SET dunlin.{name} = '{value}'");
            self.rows(&client, &set).unwrap_or_else(|e| panic!("{set}: {e}"));
        }
        client
    }

    /// All rows of a statement, with something done while it runs.
    pub(super) fn rows_while(
        &self,
        client: &Client,
        sql: &str,
        meanwhile: impl FnOnce(),
    ) -> Result<Vec<RecordBatch>, Error> {
        let env = Env::real(Some(self.runtime.handle().clone()));
        let (client, text) = (client.clone(), sql.to_owned());
        let rows = env.spawn("rows", async move {
            let answer = client.sql(&text).await?;
            answer.try_collect().await
        });
        meanwhile();
        let done = self.runtime.block_on(env.timeout(LIMIT, rows.join()));
        done.unwrap_or_else(|| panic!("no answer within {LIMIT:?}: {sql}")).expect("no panic")
    }

    /// All rows of a statement.
    pub(super) fn rows(&self, client: &Client, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        self.rows_while(client, sql, || {})
    }

    /// Ends it and says how.
    pub(super) fn end(mut self) -> Option<i32> {
        send(self.child.id(), Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = send(self.child.id(), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// Status and body of a page.
pub(super) fn page(address: &str, path: &str) -> (u16, String) {
    http(address, &format!("GET {path}"), &[], "")
}

/// Status and body of the answer to a request: method and path, more headers, and a body.
pub(super) fn http(
    address: &str,
    what: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(START_MAX)).expect("set");
    let mut request = format!("{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    // A server that refuses a body may close before it has read it.
    let _ = stream.write_all((request + body).as_bytes());
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

/// Sends a signal without a program: a bare machine has no `kill`.
pub(crate) fn send(id: u32, signal: Signal) -> rustix::io::Result<()> {
    let id = Pid::from_raw(id.cast_signed()).expect("no process has the id 0");
    kill_process(id, signal)
}

/// `dunlin serve` as a child of the test, ready. Dropping it kills it.
pub(super) struct Serve {
    pub(super) child: Child,
    /// What it said of itself.
    pub(super) ready: String,
}

impl Serve {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.arg("serve").args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready =
            lines.by_ref().map_while(Result::ok).find(|line| line.contains("dunlin: ready"));
        let ready = ready.expect("it is ready");
        // It must not wait for a reader of what it says.
        let rest = std::thread::Builder::new().spawn(move || {
            lines.map_while(Result::ok).for_each(|line| eprintln!("{line}"));
        });
        rest.expect("a thread");
        Self { child, ready }
    }

    /// What it said of one thing, such as `flight` for an address.
    pub(super) fn word(&self, name: &str) -> &str {
        word(&self.ready, name)
    }

    pub(super) fn told_to_end(&self) {
        send(self.child.id(), Signal::TERM).expect("it runs");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn word<'a>(ready: &'a str, name: &str) -> &'a str {
    let of = |word: &'a str| word.strip_prefix(name)?.strip_prefix('=');
    ready.split(' ').find_map(of).unwrap_or_else(|| panic!("no {name} in {ready}"))
}

/// The value of a metric of the process that said this of itself when it was ready.
pub(super) fn figure(ready: &str, name: &str) -> u64 {
    let (_, metrics) = page(word(ready, "admin"), "/metrics");
    let line = metrics.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name}: {metrics}"));
    line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}
