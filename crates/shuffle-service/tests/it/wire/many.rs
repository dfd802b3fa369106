//! Reads of several partitions, from doors that know them and from one of an older build.

use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::DoorOptions;
use futures::TryStreamExt;

use crate::bed::{local, me, open, soon, workers_at};
use crate::*;

#[tokio::test]
async fn partitions_come_one_after_the_other_whatever_the_door_knows() {
    for reads_many in [true, false] {
        let worker = in_memory(1 << 20);
        let options = DoorOptions { reads_many, ..local() };
        let door = open(Arc::clone(&worker) as _, options).await;
        let workers = workers_at(&door.address().to_string(), TcpOptions::default());
        let api = workers.connect(me()).expect("known");
        let (one, two) = (attempt(1, 1), attempt(2, 1));
        let mut expected = Vec::new();
        let mut requests = Vec::new();
        for partition in [5, 2, 9] {
            let blocks: Vec<_> = [(one, 0), (one, 1), (two, 0)]
                .map(|(of, batch)| block(partition, of, batch, 100 + partition as usize))
                .into();
            api.push(blocks.clone()).await.expect("stored");
            requests.push(request(partition, Some(&[one, two])));
            expected.extend(blocks);
        }
        // One that nobody wrote is empty.
        requests.insert(1, request(77, Some(&[one])));
        let before = door.stats().asked;
        let blocks = async { api.read_many(requests).await?.try_collect::<Vec<_>>().await };
        let blocks = soon("a read", blocks).await.expect("whole");
        assert!(same(&blocks, &expected), "{blocks:?}");
        let asked = door.stats().asked - before;
        assert_eq!(asked, if reads_many { 1 } else { 4 });
    }
}
