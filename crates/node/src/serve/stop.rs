//! How a process is told to end.

use dunlin_base::{Error, Result};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Returns when a signal comes or, `with_parent`, standard input ends. Says why.
pub(super) async fn requested(with_parent: bool) -> Result<&'static str> {
    let failed = |e| Error::bug("cannot wait for signals").with_source(e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let parent = async {
        if !with_parent {
            std::future::pending::<()>().await;
        }
        let mut ignored = [0; 64];
        while tokio::io::stdin().read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    };
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        () = parent => "its starter has gone",
    })
}
