//! Extents that are objects go from one life to the next under the names that they have.

use super::super::odd::Odd;
use super::*;

fn stored(folder: &Path, odd: &Odd, life: &str) -> Arc<ShuffleWorker> {
    let mut objects = odd.options();
    objects.worker = life.to_owned();
    let tiers = vec![dunlin_shuffle_service::Tier::Objects];
    let options = Options { objects: Some(objects), tiers, ..options(&[folder.to_owned()]) };
    ShuffleWorker::new(options, Env::seeded(1)).expect("the folder is usable")
}

#[tokio::test]
async fn objects_of_former_lives_are_read_and_go_with_their_query() {
    let folder = tempfile::tempdir().expect("a place to write");
    let odd = Odd::default();
    for (life, name) in (0..).zip(["one", "a life/with odd?name", "three"]) {
        let worker = stored(folder.path(), &odd, name);
        assert_eq!(worker.taken_over().blocks, u64::from(life) * 6);
        for before in 0..life {
            assert_whole(&worker, before).await;
        }
        worker.push(blocks_of(life)).await.expect("fits");
        assert_eq!(handed_over(worker).await.left, 0);
        assert_eq!(odd.objects().await.len(), life as usize + 1);
    }
    let worker = stored(folder.path(), &odd, "four");
    assert_eq!(worker.stats().objects.expect("a store").used, worker.taken_over().bytes);
    for partition in 0..3 {
        assert_whole(&worker, partition).await;
    }
    odd.0.deletes.fail(100);
    worker.delete_query(shuffle(1).query).await.expect_err("the store does not answer");
    odd.heal();
    worker.delete_query(shuffle(1).query).await.expect("works");
    assert!(odd.objects().await.is_empty(), "objects are left");
    assert_eq!(worker.stats().objects.expect("a store").used, 0);
}

#[tokio::test]
async fn without_their_store_objects_are_not_taken_over() {
    let folder = tempfile::tempdir().expect("a place to write");
    let odd = Odd::default();
    let worker = stored(folder.path(), &odd, "one");
    worker.push(blocks_of(1)).await.expect("fits");
    assert_eq!(handed_over(worker).await.blocks, 6);
    let worker = worker_in(&[folder.path().to_owned()]);
    assert_eq!((worker.taken_over().blocks, worker.taken_over().refused), (0, 1));
    assert_eq!(assert_nothing_wrong(&worker, 1).await, 0);
}
