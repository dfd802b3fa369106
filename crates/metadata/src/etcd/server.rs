//! A real etcd for tests: on loopback, in a temporary directory, gone with its guard.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dunlin_base::{Env, Result};
use tempfile::TempDir;

use super::EtcdStore;

/// Longest wait for a started server to answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills the process and deletes its data.
pub(super) struct Server {
    env: Env,
    data: TempDir,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts a server and waits until it answers. Another program may take a port that was free
    /// a moment ago: then other ports are tried.
    pub(super) async fn start(env: &Env) -> Self {
        for _ in 0..3 {
            let mut server = Self {
                env: env.clone(),
                data: tempfile::tempdir().expect("a temporary directory"),
                client_port: free_port(),
                peer_port: free_port(),
                process: None,
            };
            if server.restart().await {
                return server;
            }
        }
        panic!("etcd does not start");
    }

    /// Kills the process, leaving its data.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("our own child");
            process.wait().expect("our own child");
        }
    }

    /// Starts the process again on the same data and ports. False if it does not come up.
    pub(super) async fn restart(&mut self) -> bool {
        self.kill();
        let (client, peer) = (url(self.client_port), url(self.peer_port));
        let spawned = Command::new("etcd")
            .args(["--name", "test", "--log-level", "error"])
            .arg("--data-dir")
            .arg(self.data.path().join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(spawned.expect(
            "this test needs the program 'etcd' (Debian: etcd-server); run ./dev test, which \
             installs it",
        ));
        let deadline = self.env.now() + START_TIMEOUT;
        while self.env.now() < deadline {
            if self.connect("/probe/").await.is_ok() {
                return true;
            }
            let process = self.process.as_mut().expect("just started");
            if process.try_wait().expect("our own child").is_some() {
                return false;
            }
            self.env.sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Its address.
    pub(super) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// A store on it.
    pub(super) async fn connect(&self, root: &str) -> Result<EtcdStore> {
        EtcdStore::connect(&[self.endpoint()], root, self.env.clone()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
