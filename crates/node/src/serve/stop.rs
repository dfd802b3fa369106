//! How a process is told to end.

use std::io::Read;

use dunlin_base::{Env, Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Returns when a signal comes or, `with_parent`, standard input ends. Says why.
pub(super) async fn requested(env: &Env, with_parent: bool) -> Result<&'static str> {
    let failed = |e| Error::bug("cannot wait for signals").with_source(e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let parent = async {
        if !with_parent {
            std::future::pending::<()>().await;
        }
        // On a thread of its own: it waits for as long as the process lives.
        let ended = env.blocking(|| {
            let mut ignored = [0; 64];
            while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
        });
        let _ = ended.await;
    };
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        () = parent => "its starter has gone",
    })
}
