//! A worker that outlives its runtime.

use super::*;

#[test]
fn a_runtime_that_has_ended_is_no_reason_to_hang() {
    let directory = tempfile::tempdir().expect("a place to write");
    let inner = tokio::runtime::Builder::new_multi_thread().enable_time().build();
    let inner = inner.expect("a runtime");
    let env = Env::real(Some(inner.handle().clone()));
    let options = Options::in_folder(ByteCount(100_000), directory.path());
    let worker = ShuffleWorker::new(options, env).expect("the directory is usable");
    inner.shutdown_background();
    let (ended, end) = std::sync::mpsc::channel();
    let worker_of_thread = Arc::clone(&worker);
    // On a thread of its own: a lock that is taken twice would hold up the test for ever.
    let thread = Env::seeded(1).thread("pushes", move || {
        let outer = tokio::runtime::Builder::new_current_thread().enable_time().build();
        outer.expect("a runtime").block_on(async {
            // Over the mark, so that it is to be flushed.
            let pushed = worker_of_thread.push(vec![block(1, attempt(0, 0), 0, 90_000)]).await;
            ended.send(pushed.is_ok()).expect("the test waits");
        });
    });
    let pushed = end.recv_timeout(bed::LONG).expect("the push hangs");
    assert!(pushed, "memory has room");
    thread.expect("a thread").join().expect("no panic");
}
