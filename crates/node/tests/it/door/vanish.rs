//! Clients that go, and results that nobody reads, leave nothing.

use std::time::Duration;

use futures::TryStreamExt;

use super::lab::{Doors, ticket};

/// Runs for a long time and yields nothing before its end.
const LONG: &str = "select count(*) from lineitem a, lineitem b where a.l_comment < b.l_comment";

async fn until_running(doors: &Doors) {
    while doors.cluster.engine.queue().running().await.expect("a list").is_empty() {
        doors.env().sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_plain_client_that_vanishes_while_it_waits_cancels_its_query() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(1, "ann").await;
        let info = client.execute(LONG.to_owned(), None).await.expect("started");
        let stream = client.do_get(ticket(&info)).await.expect("a stream");
        until_running(&doors).await;
        drop((stream, client));
    });
    doors.assert_nothing_left();
}

#[test]
fn a_plain_client_that_vanishes_in_mid_result_leaves_nothing() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(1, "ann").await;
        let sql = "select * from lineitem".to_owned();
        let info = client.execute(sql, None).await.expect("started");
        let mut stream = client.do_get(ticket(&info)).await.expect("a stream");
        stream.try_next().await.expect("rows").expect("some");
        drop((stream, client));
    });
    doors.assert_nothing_left();
}

#[test]
fn an_answer_that_is_dropped_cancels_its_query() {
    let doors = Doors::open();
    doors.run(async {
        let client = doors.client("ann").await;
        let answer = client.sql(LONG).await.expect("started");
        until_running(&doors).await;
        drop(answer);
    });
    doors.assert_nothing_left();
}

#[test]
fn a_cancelled_query_says_so_to_its_reader() {
    let doors = Doors::open();
    doors.run(async {
        let client = doors.client("ann").await;
        let answer = client.sql(LONG).await.expect("started");
        let held = answer.ticket.clone().expect("a query");
        let other = doors.client("ann").await;
        assert!(other.progress(&held).await.expect("known").is_some(), "it runs");
        let reading = answer.try_collect::<Vec<_>>();
        let (read, cancelled) = futures::join!(reading, other.cancel(&held));
        cancelled.expect("cancelled");
        let error = read.expect_err("no rows");
        assert!(error.message().contains("the query was cancelled"), "{error}");
        let bob = doors.client("bob").await;
        let error = bob.cancel(&held).await.expect_err("not his");
        assert!(error.message().contains("another user's"), "{error}");
    });
    doors.assert_nothing_left();
}

#[test]
fn a_result_that_nobody_reads_is_swept_away() {
    let doors = Doors::with(|options| options.tuning.hold = Duration::from_millis(1), |_| {});
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let sql = "select * from nation".to_owned();
        let info = client.execute(sql, None).await.expect("started");
        let queue = doors.cluster.engine.queue();
        while queue.running().await.expect("a list").iter().any(|query| query.ended_unix_ms == 0) {
            doors.env().sleep(Duration::from_millis(2)).await;
        }
        while !queue.running().await.expect("a list").is_empty() {
            doors.gateways[1].sweep().await.expect("swept");
        }
        let error = super::lab::rows(&mut client, ticket(&info)).await.expect_err("swept");
        assert!(error.contains("run the query again"), "{error}");
    });
    doors.assert_nothing_left();
}
