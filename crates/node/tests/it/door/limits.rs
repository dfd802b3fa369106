//! Limits are one clear error each.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightData, FlightDescriptor};
use dunlin_base::{ByteCount, Kind};
use dunlin_gateway::flight::DoorOptions;
use futures::{TryStreamExt, stream};
use prost::Message;
use tonic::Code;

use super::lab::{Doors, all, count, failure, rows, signed, ticket};

#[test]
fn a_message_that_is_too_long_is_refused() {
    let doors = Doors::with(|_| {}, |options| options.message_in_max = ByteCount::mib(1));
    doors.run(async {
        let client = doors.client("ann").await;
        let sql = format!("select '{}'", "x".repeat(2 << 20));
        let error = failure(&client, &sql).await;
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        assert!(error.message().contains("too large"), "{error}");
        assert_eq!(count(&all(&client, "select 1").await.expect("the connection lives")), 1);
    });
}

#[test]
fn a_row_that_is_too_long_is_refused() {
    let doors = Doors::with(|_| {}, |options| options.message_out_max = ByteCount::mib(2));
    doors.run(async {
        let client = doors.client("ann").await;
        let error = failure(&client, "select repeat(n_name, 2000000) from nation limit 1").await;
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        assert!(error.message().contains("in one message, more than"), "{error}");
    });
    doors.assert_nothing_left();
}

#[test]
fn more_calls_than_a_gateway_takes_are_told_so() {
    let doors = Doors::with(|_| {}, |options| options.calls_max = 1);
    doors.run(async {
        let mut one = doors.plain(0, "ann").await;
        let sql = "select * from lineitem".to_owned();
        let info = one.execute(sql, None).await.expect("started");
        let mut stream = one.do_get(ticket(&info)).await.expect("a stream");
        stream.try_next().await.expect("rows").expect("some");
        let error = one.execute("select 1".to_owned(), None).await.expect_err("one too many");
        assert!(error.to_string().contains("1 calls at a time"), "{error}");
        drop(stream);
        // The place is free as soon as the door has noticed.
        while let Err(error) = one.execute("show tables".to_owned(), None).await {
            assert!(error.to_string().contains("1 calls at a time"), "{error}");
            doors.env().sleep(Duration::from_millis(2)).await;
        }
    });
    doors.assert_nothing_left();
}

#[test]
fn connections_that_say_nothing_lose_their_places() {
    let shorten = |options: &mut DoorOptions| {
        options.connections_max = 2;
        options.keep_alive = Duration::from_millis(100);
        options.keep_alive_timeout = Duration::from_secs(1);
    };
    let doors = Doors::with(|_| {}, shorten);
    let address = doors.address(0);
    let mut silent = std::net::TcpStream::connect(&address).expect("it listens");
    let mut half = std::net::TcpStream::connect(&address).expect("it listens");
    half.write_all(b"PRI * HTTP/2").expect("sent");
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        // One that has nothing to say but answers probes stays, for longer than the others did.
        doors.env().sleep(Duration::from_secs(3)).await;
        let info = client.execute("select 1".to_owned(), None).await.expect("let in");
        assert_eq!(count(&rows(&mut client, ticket(&info)).await.expect("rows")), 1);
    });
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    }
}

#[test]
fn logins_take_no_place_of_calls() {
    let doors = Doors::with(|_| {}, |options| options.calls_max = 0);
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let error = client.execute("select 1".to_owned(), None).await.expect_err("no places");
        assert!(error.to_string().contains("0 calls at a time"), "{error}");
    });
}

#[test]
fn more_logins_than_a_gateway_takes_are_told_so() {
    for (waiting, words) in [(0, "more log in than this gateway has room for"), (1, "had no turn")]
    {
        let none = |options: &mut DoorOptions| {
            options.logins_max = 0;
            options.logins_waiting_max = waiting;
            options.login_wait_max = Duration::from_millis(50);
        };
        let doors = Doors::with(|_| {}, none);
        doors.run(async {
            let mut stranger = doors.stranger(0).await;
            let error = stranger.handshake("ann", "ann's").await.expect_err("no room").to_string();
            assert!(error.contains(words), "{error}");
        });
    }
}

#[test]
fn a_put_that_says_nothing_is_ended() {
    let shorten = |options: &mut DoorOptions| options.put_silence_max = Duration::from_millis(100);
    let doors = Doors::with(|_| {}, shorten);
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let silent = signed(&client, stream::pending::<FlightData>());
        let error = client.inner_mut().do_put(silent).await.expect_err("it says nothing");
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.message().contains("nothing came for 100ms"), "{error}");
    });
}

#[test]
fn a_result_that_is_left_untouched_gives_its_place_back_and_ends_with_an_error() {
    let shorten = |options: &mut DoorOptions| {
        options.calls_max = 1;
        options.result_silence_max = Duration::from_millis(100);
    };
    let doors = Doors::with(|_| {}, shorten);
    doors.run(async {
        let mut one = doors.plain(0, "ann").await;
        let info = one.execute("select * from lineitem".to_owned(), None).await.expect("started");
        let mut left = one.do_get(ticket(&info)).await.expect("a stream");
        left.try_next().await.expect("rows").expect("some");
        let mut other = doors.plain(0, "ann").await;
        while let Err(error) = other.execute("show tables".to_owned(), None).await {
            assert!(error.to_string().contains("1 calls at a time"), "{error}");
            doors.env().sleep(Duration::from_millis(2)).await;
        }
        let error = loop {
            match left.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it looks as if these were all rows"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("took nothing of its result for 100ms"), "{error}");
    });
    doors.assert_nothing_left();
}

/// As `Flight.proto` has it.
#[derive(Clone, PartialEq, Message)]
struct SetSessionOptions {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(string, tag = "1")]
    text: String,
}

#[test]
fn one_call_sets_only_so_many_options() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let option = |n: usize| (format!("no.such.option.{n}"), OptionValue::default());
        for (count, fits) in [(100, true), (101, false)] {
            let body = SetSessionOptions { options: (0..count).map(option).collect() };
            let request = signed(&client, Action::new("SetSessionOptions", body.encode_to_vec()));
            let answer = client.inner_mut().do_action(request).await;
            assert_eq!(answer.is_ok(), fits, "{count}");
        }
    });
}

#[test]
fn a_call_ends_with_its_deadline() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let sql = "select count(*) from lineitem a, lineitem b where a.l_comment < b.l_comment";
        let info = client.execute(sql.to_owned(), None).await.expect("started");
        client.set_header("grpc-timeout", "200m");
        let error = rows(&mut client, ticket(&info)).await.expect_err("too slow");
        assert!(error.contains("time"), "{error}");
    });
    doors.assert_nothing_left();
}

#[test]
fn a_poll_starts_a_query_and_tells_how_far_it_is() {
    let doors = Doors::with(|_| {}, |options| options.poll_wait_max = Duration::from_millis(50));
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let mut other = doors.plain(1, "ann").await;
        let command = CommandStatementQuery {
            query: "select count(*) from lineitem, nation".to_owned(),
            transaction_id: None,
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let request = signed(&client, descriptor);
        let mut poll =
            client.inner_mut().poll_flight_info(request).await.expect("started").into_inner();
        while let Some(next) = poll.flight_descriptor.take() {
            let progress = poll.progress.expect("a share");
            assert!((0.0..=1.0).contains(&progress));
            let request = signed(&other, next);
            poll = other.inner_mut().poll_flight_info(request).await.expect("known").into_inner();
        }
        let info = poll.info.expect("an info");
        assert_eq!(info.total_records, 1);
        // It stays until its reader says that it is done.
        for _ in 0..2 {
            assert_eq!(count(&rows(&mut other, ticket(&info)).await.expect("rows")), 1);
        }
        let done = arrow_flight::CancelFlightInfoRequest::new(info);
        let action = Action::new("CancelFlightInfo", done.encode_to_vec());
        let request = signed(&client, action);
        client.inner_mut().do_action(request).await.expect("removed");
    });
    doors.assert_nothing_left();
}

#[test]
fn what_the_door_does_not_do_is_unimplemented() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let error = client.begin_transaction().await.expect_err("no transactions");
        let arrow_flight::error::FlightError::Tonic(status) = error else { panic!("{error}") };
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), "a transaction of several statements is not supported");
    });
}
