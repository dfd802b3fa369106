//! A folder that an earlier build handed over stays readable: `tests/fixtures/restart-1` was written
//! by the first one that could. Set `DUNLIN_WRITE_FIXTURES` to write it anew, which is right only
//! after a change of the version in the table.

use super::*;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/restart-1")
}

async fn write() {
    let (folder, place) = (kept_folder(0..3).await, kept());
    if place.exists() {
        std::fs::remove_dir_all(&place).expect("ours");
    }
    copy(folder.path(), &place);
}

#[tokio::test]
async fn a_folder_of_the_first_build_that_handed_over_is_taken_over() {
    if std::env::var_os("DUNLIN_WRITE_FIXTURES").is_some() {
        write().await;
    }
    let place = tempfile::tempdir().expect("a place to write");
    copy(&kept(), place.path());
    let worker = worker_in(&[place.path().to_owned()]);
    let taken = worker.taken_over();
    assert_eq!((taken.blocks, taken.refused), (18, 0));
    assert_eq!(taken.processes, [process(5)]);
    for partition in 0..3 {
        assert_whole(&worker, partition).await;
    }
}
