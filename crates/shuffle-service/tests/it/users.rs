//! Whom a worker asks to push more slowly when its memory fills: users, not queries.

use dunlin_proto::shuffle::{Push, Pushed};

use crate::bed::{Bed, Over};
use crate::*;

/// Memory of the worker; data are to leave it above three quarters.
const LIMIT: u64 = 1_000_000;

fn of_query(query: u128, batch: u32, length: usize) -> Block {
    let one = block(0, attempt(0, 0), batch, length);
    let id = BlockId { shuffle: shuffle(query), ..one.id };
    Block::new(id, one.rows, Codec::Plain, one.body)
}

/// Pushes and says whether the next push is to be slower.
async fn is_slowed(bed: &Bed, blocks: Vec<Block>, user: Option<&str>) -> bool {
    let push = Push { user: user.map(Into::into), ..Push::plain(blocks) };
    match bed.api.store(push).await.expect("there is room") {
        Pushed::Stored(ack) => ack.slow,
        Pushed::Refused(why, _) => panic!("refused: {why}"),
    }
}

/// One user runs four queries of 150 kB, another one of 200 kB, and the worker is past its mark: is
/// the first one slowed down, and the second one?
async fn who_is_slowed(over: Over, many: Option<&str>, one: Option<&str>) -> (bool, bool) {
    let bed = Bed::in_memory(over, LIMIT).await;
    for query in 1..=4 {
        let slowed = is_slowed(&bed, vec![of_query(query, 0, 150_000)], many).await;
        assert!(!slowed, "memory is far from its mark");
    }
    let second = is_slowed(&bed, vec![of_query(9, 0, 200_000)], one).await;
    (is_slowed(&bed, vec![of_query(1, 1, 1)], many).await, second)
}

#[tokio::test]
async fn who_runs_many_queries_gets_the_share_of_one_user() {
    for over in [Over::Process, Over::Tcp] {
        let slowed = who_is_slowed(over, Some("ada"), Some("bob")).await;
        assert_eq!(slowed, (true, false), "{over:?}: ada holds three quarters");
        let slowed = who_is_slowed(over, None, None).await;
        assert_eq!(slowed, (false, true), "{over:?}: without users the largest query");
        let slowed = who_is_slowed(over, Some("ada"), None).await;
        assert_eq!(slowed, (true, false), "{over:?}: a query without a user is one of its own");
    }
}

#[tokio::test]
async fn a_user_is_forgotten_with_the_query() {
    let bed = Bed::in_memory(Over::Process, LIMIT).await;
    is_slowed(&bed, vec![of_query(1, 0, 400_000)], Some("ada")).await;
    is_slowed(&bed, vec![of_query(2, 0, 300_000)], Some("bob")).await;
    bed.api.delete_query(shuffle(1).query).await.expect("removed");
    let alone = is_slowed(&bed, vec![of_query(3, 0, 460_000)], Some("eve")).await;
    assert!(alone, "eve holds more than the mean of two users");
    let bob = is_slowed(&bed, vec![of_query(2, 1, 1)], Some("bob")).await;
    assert!(!bob, "bob holds less");
}
