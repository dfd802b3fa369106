//! Everything that was handed over is there again.

use dunlin_base::Kind;

use super::*;

#[tokio::test]
async fn blocks_seals_and_tombstones_come_back() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a place to write"));
    let paths = folders.each_ref().map(|folder| folder.path().to_owned());
    let worker = worker_in(&paths);
    worker.answers_for(process(5));
    worker.answers_for(process(6));
    for partition in 0..20 {
        worker.push(blocks_of(partition)).await.expect("fits");
        if partition == 9 {
            worker.flush().await.expect("the disks work");
        }
    }
    // An attempt that did not win, and a query that has ended.
    worker.push(vec![block(3, attempt(7, 0), 0, 100)]).await.expect("fits");
    worker.discard(shuffle(1), attempt(7, 0)).await.expect("known");
    let mut other = block(1, attempt(0, 0), 0, 100);
    other.id.shuffle = shuffle(2);
    let other = Block::new(other.id, other.rows, other.codec, other.body);
    worker.push(vec![other.clone()]).await.expect("fits");
    worker.delete_query(shuffle(2).query).await.expect("works");
    worker.seal(shuffle(1)).await.expect("known");
    let before = worker.stats();
    let done = handed_over(worker).await;
    assert_eq!(done, HandOver { tables: 2, blocks: 120, left: 0 });

    let worker = worker_in(&paths);
    let taken = worker.taken_over();
    assert_eq!((taken.blocks, taken.refused), (120, 0));
    assert_eq!(taken.processes, [process(5), process(6)]);
    let after = worker.stats();
    assert_eq!((after.blocks, after.memory_bytes), (before.blocks, 120 * 128));
    assert_eq!((after.disk_bytes, after.disks.len()), (taken.bytes, 2));
    for partition in 0..20 {
        assert_whole(&worker, partition).await;
    }
    let followed = read(&worker, 3, None).await.expect("nothing is missing");
    assert_eq!(followed.len(), 6, "sealed, so the stream ends");
    // The same push again is the same; another one is too late.
    worker.push(blocks_of(3)).await.expect("is there");
    assert_eq!(worker.stats().duplicates, 6);
    for late in [block(3, attempt(0, 1), 9, 10), block(3, attempt(7, 0), 0, 100), other] {
        assert_eq!(error(worker.push(vec![late]).await).kind(), Kind::Fenced);
    }
    worker.delete_query(shuffle(1).query).await.expect("works");
    let stats = worker.stats();
    assert_eq!((stats.blocks, stats.memory_bytes, stats.disk_bytes), (0, 0, 0));
    assert!(paths.iter().all(|path| extents(path).is_empty() && !table(path).exists()));
}

#[tokio::test]
async fn a_worker_goes_on_with_what_it_took_over_and_hands_over_again() {
    let folder = tempfile::tempdir().expect("a place to write");
    let paths = [folder.path().to_owned()];
    let own = |life: u32| (0..6).map(|n| block(0, attempt(life, 0), n, 77)).collect::<Vec<_>>();
    for life in 0..4_u32 {
        let worker = worker_in(&paths);
        let taken = worker.taken_over();
        assert_eq!(taken.blocks, u64::from(life) * 12, "life {life}");
        assert_eq!(taken.processes.len(), life as usize);
        worker.answers_for(process(u128::from(life)));
        for before in 0..life {
            let blocks = read(&worker, 0, Some(&[attempt(before, 0)])).await.expect("all there");
            assert!(same(&blocks, &own(before)), "of life {before} in life {life}");
            assert_whole(&worker, 100 + before).await;
        }
        // Into a partition that is there, and into a new one.
        worker.push(own(life)).await.expect("fits");
        worker.push(blocks_of(100 + life)).await.expect("fits");
        let done = handed_over(worker).await;
        assert_eq!((done.blocks, done.left), (u64::from(life) * 12 + 12, 0));
    }
    assert_eq!(extents(folder.path()).len(), 4 + 4, "no file is written to by two lives");
}

#[tokio::test]
async fn a_process_that_is_killed_after_it_took_over_leaves_nothing_to_the_next() {
    let folder = kept_folder(0..3).await;
    let paths = [folder.path().to_owned()];
    let worker = worker_in(&paths);
    assert_eq!(worker.taken_over().blocks, 18);
    assert!(!table(folder.path()).exists(), "it would bring back what is removed from now on");
    drop(worker);
    let worker = worker_in(&paths);
    assert_eq!(worker.taken_over(), &Default::default());
    assert!(extents(folder.path()).is_empty());
    let error = error(worker.read(request(0, Some(&MAPS))).await);
    assert_eq!(error.kind(), Kind::Lost);
}

#[tokio::test]
async fn a_worker_without_a_folder_hands_nothing_over_and_drains_all_the_same() {
    let worker = in_memory(ROOMY);
    worker.push(blocks_of(1)).await.expect("fits");
    assert_eq!(worker.hand_over(LIMIT).await.expect("no disk to fail"), HandOver::default());
    let refused = worker.store(Push::plain(blocks_of(2))).await.expect("no error");
    assert!(matches!(refused, Pushed::Refused(..)));
    assert_whole(&worker, 1).await;
}
