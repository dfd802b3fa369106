//! A gateway that goes costs a reconnect, never rows and never the query.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use dunlin_corpus::compare;
use dunlin_proto::door::Cursor;
use futures::TryStreamExt;
use prost::Message;

use super::lab::{Doors, Plain, closed, count, first, opened, signed, ticket};

const SQL: &str = "select l_orderkey, l_linenumber, l_comment from lineitem";

#[test]
fn a_gateway_that_dies_in_mid_result_costs_no_row() {
    let doors = Doors::open();
    let expected = doors.cluster.rows(SQL).expect("rows");
    let actual = doors.run(async {
        let client = doors.client("ann").await;
        let mut answer = client.sql(SQL).await.expect("started");
        let mut batches = vec![first(&mut answer).await.expect("rows")];
        let before = client.address();
        doors.doors[0].kill();
        while let Some(batch) = answer.try_next().await.expect("rows go on") {
            batches.push(batch);
        }
        assert_ne!(client.address(), before);
        batches
    });
    assert_eq!(count(&actual), count(&expected));
    compare::same_rows(&expected, &actual).expect("each row once");
    doors.assert_nothing_left();
}

#[test]
fn a_gateway_that_leaves_sends_its_readers_on() {
    let doors = Doors::open();
    let expected = doors.cluster.rows(SQL).expect("rows");
    let actual = doors.run(async {
        let client = doors.client("ann").await;
        let mut answer = client.sql(SQL).await.expect("started");
        let mut batches = vec![first(&mut answer).await.expect("rows")];
        doors.doors[0].shutdown(Duration::from_millis(10)).await;
        batches.extend(answer.try_collect::<Vec<_>>().await.expect("rows go on"));
        batches
    });
    compare::same_rows(&expected, &actual).expect("each row once");
    doors.assert_nothing_left();
}

#[test]
fn a_gateway_that_leaves_lets_short_results_end() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let info = client.execute("select * from nation".to_owned(), None).await.expect("started");
        let stream = client.do_get(ticket(&info)).await.expect("rows");
        let reading = stream.try_collect::<Vec<_>>();
        let (rows, ()) = futures::join!(reading, doors.doors[0].shutdown(Duration::from_secs(60)));
        assert_eq!(count(&rows.expect("all rows")), 25);
    });
    doors.assert_nothing_left();
}

/// Messages of a plain client's stream, with the cursors that it ignores.
async fn messages(
    client: &mut Plain,
    ticket: arrow_flight::Ticket,
) -> Result<Vec<(RecordBatch, Cursor)>, FlightError> {
    let request = signed(client, ticket);
    let data = client.inner_mut().do_get(request).await?.into_inner();
    let data: Vec<FlightData> = data.try_collect().await?;
    let data = futures::stream::iter(data.into_iter().map(Ok));
    let decoded: Vec<_> = FlightDataDecoder::new(data).try_collect().await?;
    let rows = decoded.into_iter().filter_map(|message| {
        let cursor = Cursor::decode(message.inner.app_metadata.clone()).expect("a cursor");
        match message.payload {
            DecodedPayload::RecordBatch(batch) => Some((batch, cursor)),
            _ => None,
        }
    });
    Ok(rows.collect())
}

#[test]
fn a_result_is_resumed_after_any_message_on_another_gateway() {
    let doors = Doors::open();
    doors.run(async {
        let poll = doors.client("ann").await;
        let answer = poll.sql(SQL).await.expect("started");
        let held = opened(answer.ticket.as_ref().expect("a query"));
        let mut one = doors.plain(0, "ann").await;
        let mut other = doors.plain(1, "ann").await;
        let whole = messages(&mut one, closed(&held)).await.expect("rows");
        assert!(whole.len() > 5, "{} messages", whole.len());
        let all: Vec<RecordBatch> = whole.iter().map(|(batch, _)| batch.clone()).collect();
        for at in [0, 1, whole.len() / 2, whole.len() - 1] {
            let mut resumed = held.clone();
            resumed.cursor = Some(whole[at].1);
            let rest = messages(&mut other, closed(&resumed)).await.expect("rows");
            let mut joined: Vec<RecordBatch> = all[..=at].to_vec();
            joined.extend(rest.into_iter().map(|(batch, _)| batch));
            assert_eq!(count(&joined), count(&all), "resumed after message {at}");
            compare::same_rows(&all, &joined).unwrap_or_else(|d| panic!("after {at}: {d}"));
        }
        // A cursor in another output of the query.
        let mut stale = held.clone();
        stale.cursor = Some(Cursor { fingerprint: 1, ..whole[0].1 });
        let error = messages(&mut other, closed(&stale)).await.expect_err("lost").to_string();
        assert!(error.contains("was made again while it was read"), "{error}");
        let mut beyond = held.clone();
        beyond.cursor = Some(Cursor { chunks: 1 << 40, ..whole[0].1 });
        let error = messages(&mut other, closed(&beyond)).await.expect_err("beyond").to_string();
        assert!(error.contains("beyond the end"), "{error}");
        drop(answer);
    });
    doors.assert_nothing_left();
}
