//! Uploads in parts are recorded, so that others can abort them if this process is killed.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;

use dunlin_proto::uploads::{Upload, UploadRecord};
use dunlin_shuffle_service::ObjectOptions;

use super::moody::{ALWAYS, pass};
use super::odd::Odd;
use super::*;

/// A little more than goes in one put.
const LARGE: usize = (8 << 20) + 1000;

fn stored(odd: &Odd) -> Arc<ShuffleWorker> {
    // Nothing leaves memory before the test says so.
    let objects = Some(ObjectOptions { uploads: 2, tries: 2, ..odd.by_ids() });
    let options = Options { objects, ..Options::new(ByteCount(1 << 30)) };
    ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail")
}

/// All have the same body: to make one takes long.
fn large(partition: u32) -> Block {
    static BODY: OnceLock<Bytes> = OnceLock::new();
    let body = BODY.get_or_init(|| Bytes::from(vec![7; LARGE])).clone();
    let id = BlockId { partition: PartitionId(partition), ..block(0, attempt(0, 0), 0, 0).id };
    Block::new(id, 1, Codec::Plain, body)
}

async fn push(worker: &Arc<ShuffleWorker>, partition: u32) {
    worker.push(vec![large(partition)]).await.expect("fits");
}

/// What the records name, by slot.
async fn records(odd: &Odd) -> Vec<(String, Vec<Upload>)> {
    let objects = odd.objects().await.into_iter();
    let of = |(name, bytes): (String, Bytes)| {
        let slot = name.strip_prefix("some/prefix/shuffle/w1/uploads/")?.to_owned();
        Some((slot, UploadRecord::from_bytes(&bytes).expect("a record").uploads))
    };
    objects.filter_map(of).collect()
}

async fn slots(odd: &Odd) -> Vec<String> {
    records(odd).await.into_iter().map(|(slot, _)| slot).collect()
}

/// The ids of uploads that are open, and those of them that no record names.
async fn open(odd: &Odd) -> (Vec<String>, Vec<String>) {
    let named: Vec<_> = records(odd).await.into_iter().flat_map(|(_, uploads)| uploads).collect();
    let open = odd.0.open.lock().clone();
    let is_named = |(id, path): &(&String, &object_store::path::Path)| {
        let at = |upload: &Upload| format!("some/prefix/shuffle/w1/{}", upload.object);
        named.iter().any(|upload| upload.id == **id && at(upload) == path.as_ref())
    };
    let unnamed = open.iter().filter(|one| !is_named(one)).map(|(id, _)| id.clone()).collect();
    (open.keys().cloned().collect(), unnamed)
}

async fn assert_ends_clean(worker: &Arc<ShuffleWorker>, odd: &Odd) {
    worker.delete_query(shuffle(1).query).await.expect("works");
    assert_eq!(odd.objects().await, [], "objects or records are left");
    assert_eq!(open(odd).await.0, Vec::<String>::new(), "uploads are left");
}

#[tokio::test(start_paused = true)]
async fn a_record_names_an_upload_before_its_first_part() {
    let odd = Odd::default();
    let worker = stored(&odd);
    odd.0.silent.fail(1);
    push(&worker, 1).await;
    let mut flush = Box::pin(worker.flush());
    while odd.0.silent.fired() == 0 {
        assert!(futures::poll!(&mut flush).is_pending());
        tokio::task::yield_now().await;
    }
    // A process that is killed now leaves this.
    let (open, unnamed) = open(&odd).await;
    assert_eq!((open.len(), unnamed), (1, Vec::new()));
    assert_eq!(slots(&odd).await, ["0"]);
    while futures::poll!(&mut flush).is_pending() {
        pass(Duration::from_secs(1)).await;
    }
    let blocks = read(&worker, 1, Some(&[attempt(0, 0)])).await.expect("all there");
    assert!(same(&blocks, &[large(1)]), "another try succeeded");
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn slots_are_used_again_and_a_worker_at_rest_has_no_record() {
    let odd = Odd::default();
    let worker = stored(&odd);
    for partition in 0..2 {
        push(&worker, partition).await;
        worker.flush().await.expect("the store works");
        assert_eq!(slots(&odd).await, ["0"], "one after the other");
    }
    for partition in 2..6 {
        push(&worker, partition).await;
    }
    worker.flush().await.expect("the store works");
    let slots = slots(&odd).await;
    assert!(slots.len() <= 2, "as many as are under way at once: {slots:?}");
    assert_eq!(odd.0.uploads.load(SeqCst), 6);
    worker.forget_uploads().await;
    assert_eq!(records(&odd).await, []);
    assert_eq!(odd.objects().await.len(), 6, "the objects stay");
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_record_no_part_is_sent() {
    let odd = Odd::default();
    let worker = stored(&odd);
    odd.0.puts.fail(ALWAYS);
    odd.0.parts.fail(ALWAYS);
    push(&worker, 1).await;
    worker.flush().await.expect_err("no record");
    assert_eq!((odd.0.uploads.load(SeqCst), odd.0.parts.fired()), (1, 0));
    assert_eq!(open(&odd).await.0, Vec::<String>::new(), "it is aborted");
    odd.heal();
    pass(Duration::from_secs(2)).await;
    worker.flush().await.expect("it works again");
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_record_may_be_written_late_is_not_used_again() {
    let odd = Odd::default();
    let worker = stored(&odd);
    odd.0.puts.fail(1);
    for partition in 0..2 {
        push(&worker, partition).await;
        worker.flush().await.expect("another try succeeds");
    }
    assert_eq!(odd.0.puts.fired(), 1);
    assert_eq!(slots(&odd).await, ["0", "1"]);
    // The same for one that may be removed late.
    odd.0.deletes.fail(1);
    worker.forget_uploads().await;
    assert_eq!(odd.0.deletes.fired(), 1);
    push(&worker, 3).await;
    worker.flush().await.expect("the store works");
    assert!(slots(&odd).await.contains(&"2".to_owned()));
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn an_upload_that_cannot_be_aborted_stays_named_until_it_is() {
    let odd = Odd::default();
    let worker = stored(&odd);
    odd.0.aborts.fail(ALWAYS);
    odd.0.parts.fail(1);
    push(&worker, 1).await;
    worker.flush().await.expect("another try succeeds");
    let (left, unnamed) = open(&odd).await;
    assert_eq!((left.len(), unnamed), (1, Vec::new()), "the first try is open and named");
    push(&worker, 2).await;
    worker.flush().await.expect("the store works");
    assert_eq!(open(&odd).await, (left, Vec::new()), "also after the slot is used again");
    worker.forget_uploads().await;
    assert_eq!(slots(&odd).await, ["0"], "its record is not removed");
    assert!(odd.0.aborts.fired() >= 4);
    odd.0.aborts.fail(0);
    push(&worker, 3).await;
    worker.flush().await.expect("the store works");
    assert_eq!(open(&odd).await.0, Vec::<String>::new(), "aborted before the next upload");
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn an_upload_whose_last_answer_is_lost_leaves_its_object() {
    let odd = Odd::default();
    let worker = stored(&odd);
    push(&worker, 1).await;
    odd.0.lost.fail(1);
    odd.0.unheard.fail(1);
    worker.flush().await.expect("another try succeeds");
    let fired = (odd.0.lost.fired(), odd.0.unheard.fired());
    assert_eq!((fired, odd.0.uploads.load(SeqCst)), ((1, 1), 2));
    assert_eq!(open(&odd).await.0, Vec::<String>::new());
    let blocks = read(&worker, 1, Some(&[attempt(0, 0)])).await.expect("all there");
    assert!(same(&blocks, &[large(1)]), "an abort does not touch it");
    assert_ends_clean(&worker, &odd).await;
}
