//! Files and objects that end too early, and those that are another's.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::faults::only_file;
use super::odd::Odd;
use super::*;

fn stored(odd: &Odd) -> Arc<ShuffleWorker> {
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount(64 << 20)) };
    ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail")
}

/// A block of 92 bytes of each of two maps, in one extent.
async fn two_maps(worker: &Arc<ShuffleWorker>) -> [Vec<MapAttempt>; 3] {
    let (one, two) = (attempt(0, 0), attempt(1, 0));
    worker.push(vec![block(7, one, 0, 20), block(7, two, 0, 20)]).await.expect("fits");
    worker.flush().await.expect("it is taken");
    [vec![one], vec![two], vec![one, two]]
}

/// What a reader of these maps sees when so much of the extent is left: its blocks, or `Lost` that
/// says what is missing, and where.
async fn assert_cut(
    worker: &Arc<ShuffleWorker>,
    maps: &[MapAttempt],
    length: usize,
    words: &[&str],
) {
    let due = maps.iter().map(|map| 92 * (map.map as usize + 1)).max().expect("some");
    let read = read(worker, 7, Some(maps)).await;
    if due <= length {
        assert_eq!(read.expect("is there").len(), maps.len(), "{length} bytes");
        return;
    }
    let lost = error(read);
    assert_eq!(lost.kind(), Kind::Lost, "{length} bytes: {lost}");
    let shuffle = shuffle(1).to_string();
    for word in words.iter().chain(&[shuffle.as_str(), "partition 7", "offset"]) {
        assert!(lost.message().contains(word), "{length} bytes, {word}: {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_of_any_length_that_is_too_short_is_lost_by_name() {
    let odd = Odd::default();
    let worker = stored(&odd);
    let reads = two_maps(&worker).await;
    let (name, whole) = odd.objects().await.remove(0);
    let path = Path::from(name.as_str());
    for length in 0..=whole.len() {
        odd.0.store.put(&path, whole.slice(..length).into()).await.expect("in memory");
        for maps in &reads {
            // The first block that is not there.
            let first = maps.iter().find(|map| 92 * (map.map as usize + 1) > length);
            let offset = format!("offset {}", first.map_or(0, |map| map.map * 92));
            assert_cut(&worker, maps, length, &[&name, &offset]).await;
        }
    }
    worker.delete_query(shuffle(1).query).await.expect("works");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_cut_between_its_requests_is_lost_by_name() {
    let odd = Odd::default();
    let worker = stored(&odd);
    // Read in three requests.
    worker.push(vec![block(7, attempt(0, 0), 0, 9 << 20)]).await.expect("fits");
    worker.flush().await.expect("the store works");
    let (name, whole) = odd.objects().await.remove(0);
    let path = Path::from(name.as_str());
    // The last byte of the block: what comes behind it is the index, which nobody here reads.
    for length in [1, 4 << 20, (4 << 20) + 1, 8 << 20, (9 << 20) + 71] {
        odd.0.store.put(&path, whole.slice(..length).into()).await.expect("in memory");
        assert_cut(&worker, &[attempt(0, 0)], 0, &[&name, "offset 0"]).await;
    }
    odd.0.store.put(&path, whole.into()).await.expect("in memory");
    let back = read(&worker, 7, Some(&[attempt(0, 0)])).await.expect("whole");
    assert!(same(&back, &[block(7, attempt(0, 0), 0, 9 << 20)]));
}

#[tokio::test]
async fn a_file_of_any_length_that_is_too_short_is_lost_by_name() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(1 << 20, directory.path());
    let reads = two_maps(&worker).await;
    let path = only_file(directory.path());
    let whole = std::fs::read(&path).expect("written");
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).expect("writable");
        for maps in &reads {
            assert_cut(&worker, maps, length, &[path.to_str().expect("plain name")]).await;
        }
    }
    std::fs::remove_file(&path).expect("is there");
    let blocks = read(&worker, 7, Some(&reads[2])).await.expect("the file is open");
    assert_eq!(blocks.len(), 2);
}

#[tokio::test]
async fn objects_under_each_others_names_are_lost_by_name() {
    let odd = Odd::default();
    let worker = stored(&odd);
    let map = attempt(0, 0);
    for partition in [1, 2] {
        worker.push(vec![block(partition, map, 0, 1000)]).await.expect("fits");
    }
    worker.flush().await.expect("the store works");
    let objects = odd.objects().await;
    let [(one, first), (two, second)] = &objects[..] else { panic!("{}", objects.len()) };
    let put = async |name: &str, bytes: &Bytes| {
        odd.0.store.put(&Path::from(name), bytes.clone().into()).await.expect("in memory");
    };
    put(one, second).await;
    put(two, first).await;
    for (partition, name) in [(1, one), (2, two)] {
        let lost = error(read(&worker, partition, Some(&[map])).await);
        assert_eq!(lost.kind(), Kind::Lost);
        let place = format!("partition {partition} ");
        for word in [name.as_str(), place.as_str(), "offset 0", "corrupt"] {
            assert!(lost.message().contains(word), "{lost}");
        }
    }
    put(one, first).await;
    put(two, second).await;
    for partition in [1, 2] {
        let blocks = read(&worker, partition, Some(&[map])).await.expect("nothing was removed");
        assert!(same(&blocks, &[block(partition, map, 0, 1000)]));
    }
    assert_eq!(odd.0.deletes.fired() + odd.0.uploads.load(SeqCst), 0);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_lost_by_name() {
    let odd = Odd::default();
    let worker = stored(&odd);
    let reads = two_maps(&worker).await;
    let name = odd.objects().await.remove(0).0;
    odd.0.store.delete(&Path::from(name.as_str())).await.expect("in memory");
    for maps in &reads {
        assert_cut(&worker, maps, 0, &[&name]).await;
    }
}
