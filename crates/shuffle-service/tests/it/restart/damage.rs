//! Folders that are not what was left in them: what was damaged is cleared, and what is read is right.

use dunlin_base::Kind;
use dunlin_shuffle_service::TakenOver;

use super::*;

/// A worker in a copy of a folder that something was done to.
fn after(folder: &Path, damage: impl FnOnce(&Path)) -> (Arc<ShuffleWorker>, tempfile::TempDir) {
    let place = tempfile::tempdir().expect("a place to write");
    copy(folder, place.path());
    damage(place.path());
    (worker_in(&[place.path().to_owned()]), place)
}

fn assert_cleared(worker: &ShuffleWorker, place: &tempfile::TempDir, what: &str) {
    assert_eq!(worker.taken_over(), &TakenOver::default(), "{what}");
    assert!(extents(place.path()).is_empty() && !table(place.path()).exists(), "{what}");
    assert_eq!(worker.stats().disk_bytes, 0, "{what}");
}

#[tokio::test]
async fn a_table_with_one_changed_or_missing_byte_is_no_table() {
    let folder = kept_folder(1..3).await;
    let (worker, _place) = after(folder.path(), |_| {});
    assert_eq!(worker.taken_over().blocks, 12, "a copy with its identity is as good");
    let whole = std::fs::read(table(folder.path())).expect("was written");
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        for bytes in [&changed[..], &whole[..at]].into_iter().take(1 + usize::from(at % 8 == 0)) {
            let (worker, place) = after(folder.path(), |place| {
                std::fs::write(table(place), bytes).expect("written");
            });
            assert_cleared(&worker, &place, &format!("byte {at}"));
        }
    }
    let (worker, place) = after(folder.path(), |place| {
        std::fs::remove_file(table(place)).expect("is there");
    });
    assert_cleared(&worker, &place, "no table");
}

#[tokio::test]
async fn a_table_of_another_folder_is_no_table() {
    let folder = kept_folder(1..3).await;
    let (worker, place) = after(folder.path(), |place| {
        let lock = place.join("dunlin-shuffle.lock");
        std::fs::write(lock, format!("{:032x}", 99)).expect("written");
    });
    assert_cleared(&worker, &place, "the identity of another folder");
}

#[tokio::test]
async fn a_file_that_is_cut_or_gone_costs_its_blocks_and_no_others() {
    let folder = kept_folder(1..4).await;
    let second = |place: &Path| extents(place)[1].clone();
    let length = std::fs::metadata(second(folder.path())).expect("is there").len();
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damages: [Damage<'_>; 3] = [
        ("gone", &|path| std::fs::remove_file(path).expect("is there")),
        ("empty", &|path| std::fs::write(path, []).expect("written")),
        ("cut by a byte", &|path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("is there");
            file.set_len(length - 1).expect("cut");
        }),
    ];
    for (what, damage) in damages {
        let (worker, place) = after(folder.path(), |place| damage(&second(place)));
        let taken = worker.taken_over();
        assert_eq!((taken.blocks, taken.refused), (12, 1), "{what}");
        assert_whole(&worker, 1).await;
        assert_eq!(assert_nothing_wrong(&worker, 2).await, 0, "{what}");
        assert_whole(&worker, 3).await;
        assert_eq!(extents(place.path()).len(), 2, "{what}");
        // Who follows would not notice.
        assert_eq!(error(worker.read(request(1, None)).await).kind(), Kind::Lost, "{what}");
        assert_eq!(taken.processes, [process(5)]);
    }
}

#[tokio::test]
async fn what_lies_behind_the_last_block_is_cut_off() {
    let folder = kept_folder(1..2).await;
    let length = |place: &Path| std::fs::metadata(&extents(place)[0]).expect("is there").len();
    let before = length(folder.path());
    let (worker, place) = after(folder.path(), |place| {
        let path = &extents(place)[0];
        let bytes = std::fs::read(path).expect("is there");
        std::fs::write(path, [&bytes[..], b"half a block"].concat()).expect("written");
    });
    assert_whole(&worker, 1).await;
    assert_eq!(length(place.path()), before);
}

#[tokio::test]
async fn files_under_each_others_names_are_noticed() {
    let folder = kept_folder(1..3).await;
    let (worker, _place) = after(folder.path(), |place| {
        let files = extents(place);
        let [one, two] = [0, 1].map(|at| std::fs::read(&files[at]).expect("is there"));
        let longest = one.len().max(two.len());
        for (file, mut bytes) in [(&files[0], two), (&files[1], one)] {
            bytes.resize(longest, 0);
            std::fs::write(file, bytes).expect("written");
        }
    });
    assert_eq!((worker.taken_over().blocks, worker.taken_over().refused), (0, 2));
}

#[tokio::test]
async fn any_changed_byte_of_an_extent_is_an_error_for_its_reader() {
    let folder = kept_folder(1..2).await;
    let length = std::fs::read(&extents(folder.path())[0]).expect("is there").len();
    for at in 0..length {
        let (worker, _place) = after(folder.path(), |place| {
            let path = &extents(place)[0];
            let mut bytes = std::fs::read(path).expect("is there");
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(path, bytes).expect("written");
        });
        assert!(assert_nothing_wrong(&worker, 1).await < 6, "byte {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_folder_costs_its_extents_and_is_out_of_date_when_it_comes_back() {
    let env = Env::seeded(1);
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a place to write"));
    let paths = folders.each_ref().map(|folder| folder.path().to_owned());
    let open = |paths: &[PathBuf]| {
        ShuffleWorker::new(options(paths), env.clone()).expect("the folders are usable")
    };
    let worker = open(&paths);
    for partition in 0..20 {
        worker.push(blocks_of(partition)).await.expect("fits");
    }
    assert_eq!(worker.hand_over(LIMIT).await.expect("works").tables, 2);
    drop(worker);
    let there = extents(&paths[0]).len() as u64;
    assert!((1..20).contains(&there), "both have some");

    let worker = open(&paths[..1]);
    assert_eq!((worker.taken_over().blocks, worker.taken_over().refused), (there * 6, 0));
    let mut whole = 0;
    for partition in 0..20 {
        let count = assert_nothing_wrong(&worker, partition).await;
        assert!(count == 0 || count == 6);
        whole += count as u64 / 6;
        let followed = worker.read(request(partition, None)).await;
        assert_eq!(error(followed).kind(), Kind::Lost, "nobody knows what is missing");
    }
    assert_eq!(whole, there);
    env.sleep(Duration::from_secs(1)).await;
    assert_eq!(worker.hand_over(LIMIT).await.expect("works").blocks, there * 6);
    drop(worker);
    let worker = open(&paths);
    assert_eq!(worker.taken_over().blocks, there * 6, "the other table is an earlier one");
    assert!(extents(&paths[1]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_no_older_table_the_newer_one() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a place to write"));
    let paths = folders.each_ref().map(|folder| folder.path().to_owned());
    let open = |paths: &[PathBuf], env: &Env| {
        ShuffleWorker::new(options(paths), env.clone()).expect("the folders are usable")
    };
    let late = Env::seeded(1);
    late.sleep(Duration::from_secs(3600)).await;
    let worker = open(&paths, &late);
    for partition in 0..20 {
        worker.push(blocks_of(partition)).await.expect("fits");
    }
    assert_eq!(worker.hand_over(LIMIT).await.expect("works").tables, 2);
    drop(worker);
    let there = extents(&paths[0]).len() as u64;
    assert!((1..20).contains(&there), "both have some");

    // An hour earlier, and one of the folders is not there for a while.
    let early = Env::seeded(2);
    assert!(early.unix_ms() < late.unix_ms());
    let worker = open(&paths[..1], &early);
    assert_eq!(worker.taken_over().blocks, there * 6);
    assert_eq!(worker.hand_over(LIMIT).await.expect("works").blocks, there * 6);
    drop(worker);
    let worker = open(&paths, &early);
    assert_eq!(worker.taken_over().blocks, there * 6, "the other table is the earlier one");
    assert!(extents(&paths[1]).is_empty());
}

#[tokio::test]
async fn what_has_no_room_in_memory_is_not_taken_over() {
    let folder = kept_folder(0..4).await;
    let small = Options { memory_limit: ByteCount(15 * 128), ..options(&[folder.path().into()]) };
    let worker = ShuffleWorker::new(small, Env::seeded(1)).expect("usable");
    assert_eq!((worker.taken_over().blocks, worker.taken_over().refused), (12, 2));
    assert_eq!(extents(folder.path()).len(), 2);
    assert_whole(&worker, 0).await;
}
