//! A worker that ends with a hand-over, and the next one on its folder and ports.

use std::time::Duration;

use dunlin_base::{ByteCount, Error, ProcessId};
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::push::{PushReply, Split};
use dunlin_shuffle_service::{Options, ShuffleWorker};

use super::bed::{Bed, batch};

const ALL: (i32, i32) = (0, i32::MAX);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_read_from_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bed = Bed::new(0, 0).await;
    let core = |env| {
        let options = Options::in_folder(ByteCount(8 << 20), folder.path());
        let core = ShuffleWorker::new(options, env)?;
        core.answers_for(ProcessId::from_u128(7));
        Ok::<_, Error>(core)
    };
    // Not of those that the system gives out: another test could be given one in between.
    let first = 20_000 + 4 * u16::try_from(bed.env.random_below(3_000)).expect("small");
    let id = bed
        .add(
            core(bed.env.clone()).expect("a usable folder"),
            [first, first + 1, first + 2, first + 3],
        )
        .await;
    let driver = bed.driver(2, false).await;
    for partition in 0..2 {
        driver.push(partition, batch(0, 0, 500)).await.expect("stored");
    }
    driver.commit(Mode::Primary, &[0, 1], 1).await;
    let before = driver.read(&id, "0-0-0", ALL).await.expect("here");
    let (worker, old) = bed.workers.remove(0);
    let handed = old.hand_over(Duration::from_secs(5)).await.expect("handed over");
    assert_eq!(handed.left, 0);
    drop((worker, old));
    let ports = [id.rpc_port, id.push_port, id.fetch_port, id.replicate_port];
    bed.seen.0.lock().clear();
    let mut next = None;
    // The system may hold a port for a moment, and a connection that ends the folder.
    for _ in 0..50 {
        let bound = crate::net::Bound::bind(&bed.env, &format!("127.0.0.1:{}", ports[1])).await;
        match bound.and_then(|_| core(bed.env.clone())) {
            Ok(core) => {
                next = Some(bed.add(core, ports).await);
                break;
            }
            Err(_) => bed.env.sleep(Duration::from_millis(100)).await,
        }
    }
    assert_eq!(next.expect("the ports are free"), id, "the same worker to clients");
    assert_eq!(driver.read(&id, "0-0-0", ALL).await.expect("taken over"), before);
    assert!(driver.read(&id, "0-1-0", ALL).await.is_err());
    driver.reserve(&driver.slots(1, false).await, 1 << 30, false).await;
    let late = driver.push(0, batch(1, 0, 10)).await.expect("answered");
    assert_eq!(late, PushReply::Split(Split::Hard), "what was committed takes nothing more");
}
