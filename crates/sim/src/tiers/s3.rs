//! A server of S3's protocol that is not ours: moto, as `./dev compat` has it.

use std::path::Path;
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::processes::{Child, etcd::free_port, variables};

/// The bucket that it gets.
const BUCKET: &str = "dunlin";

/// How long it may take to answer.
const START_MAX: Duration = Duration::from_secs(60);

/// Between questions whether it does.
const AGAIN: Duration = Duration::from_millis(100);

/// The server. Dropping it kills it.
pub(super) struct Moto {
    address: String,
    _child: Child,
}

impl Moto {
    /// Starts `program` with its log in `folder`, and makes the bucket. `Retry`: it does not answer.
    pub(super) async fn start(env: &Env, program: &Path, folder: &Path) -> Result<Self> {
        let port = free_port("127.0.0.1")?;
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let child = Child::start(env, "moto", command, folder.join("moto.log"))?;
        let until = env.now() + START_MAX;
        while let Err(error) = bucket(env, &address).await {
            if env.now() >= until {
                return Err(error);
            }
            env.sleep(AGAIN).await;
        }
        Ok(Self { address, _child: child })
    }

    /// Where shuffled data go.
    pub(super) fn url() -> String {
        format!("s3://{BUCKET}/")
    }

    /// What processes have in their environment to reach it.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        variables(&self.address)
    }
}

async fn bucket(env: &Env, address: &str) -> Result<()> {
    let broken = |e| Error::retry("the S3 server does not answer").with_source(e);
    let mut stream = env.connect(address, START_MAX).await?;
    let ask = format!(
        "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.map_err(broken)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(broken)?;
    match answer.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(Error::retry(format!("the S3 server makes no bucket: {answer}"))),
    }
}
