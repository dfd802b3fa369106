//! What a process tells at its admin listener.

use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a page may take.
const PAGE_MAX: Duration = Duration::from_secs(5);

/// The figure with this name on `/metrics`; `None` if the process does not have it.
pub(super) async fn figure(env: &Env, address: &str, name: &str) -> Result<Option<u64>> {
    let page = page(env, address, "/metrics").await?;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Ok(value)
}

/// All figures of `/metrics`: name with labels, and value.
pub(crate) async fn figures(env: &Env, address: &str) -> Result<Vec<(String, u64)>> {
    let page = page(env, address, "/metrics").await?;
    let of_line = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(page.lines().filter(|line| !line.starts_with('#')).filter_map(of_line).collect())
}

/// The body of a page.
async fn page(env: &Env, address: &str, path: &str) -> Result<String> {
    let ask = async {
        let mut stream = env.connect(address, PAGE_MAX).await?;
        let broken = |e| Error::retry(format!("no page from {address}")).with_source(e);
        let ask = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.map_err(broken)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(broken)?;
        Ok(text)
    };
    let asked = env.timeout(PAGE_MAX, ask).await;
    asked.unwrap_or_else(|| Err(Error::retry(format!("no page from {address} in time"))))
}
