//! Tables that say something else than is there, with a checksum that fits.

use dunlin_fuzz::fuzz;
use dunlin_proto::table::{FileTable, HEAD_LEN};

use super::*;

#[test]
fn whatever_a_table_says_no_other_bytes_are_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let folder = runtime.block_on(kept_folder(0..3));
    let place = tempfile::tempdir().expect("a place to write");
    let whole = std::fs::read(table(folder.path())).expect("was written");
    let mut taken = 0;
    fuzz("folders", &[whole[HEAD_LEN..].to_vec()], 300, |body| {
        let root = place.path().join("dunlin-shuffle");
        drop(std::fs::remove_dir_all(&root));
        copy(folder.path(), place.path());
        std::fs::write(table(place.path()), FileTable::framed(body)).expect("written");
        runtime.block_on(async {
            let worker = worker_in(&[place.path().to_owned()]);
            for partition in 0..3 {
                taken += assert_nothing_wrong(&worker, partition).await;
            }
            let stats = worker.stats();
            assert_eq!(stats.blocks, worker.taken_over().blocks);
            assert!(stats.disk_bytes <= worker.taken_over().bytes);
        });
    });
    assert!(taken > 300, "most of them are cleared at once: {taken}");
}
