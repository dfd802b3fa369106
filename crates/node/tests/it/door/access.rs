//! Who comes in, and what they get.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::error::FlightError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dunlin_base::Kind;
use dunlin_gateway::flight::{Auth, Client, Cost, Credentials, MetadataUsers, UserStore};
use tonic::{Code, Status};

use super::lab::{Doors, Plain, all, closed, count, opened, rows, ticket};

async fn refused(client: &mut Plain) -> Status {
    let sql = "select count(*) from nation".to_owned();
    match client.execute(sql, None).await.expect_err("refused") {
        FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    }
}

#[test]
fn nobody_comes_in_without_a_token() {
    let doors = Doors::open();
    doors.run(async {
        let mut stranger = doors.stranger(0).await;
        let status = refused(&mut stranger).await;
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().starts_with("the call carries no token"), "{status}");
        for (user, password) in [("ann", "bob's"), ("eve", "ann's"), ("ann", "")] {
            let error = stranger.handshake(user, password).await.expect_err("wrong").to_string();
            assert!(error.contains("unknown user or wrong password"), "{user}: {error}");
        }
        let mut options = doors.options("ann");
        options.credentials =
            Credentials::Password { user: "ann".to_owned(), password: "wrong".to_owned() };
        let error = Client::connect(doors.env(), options).await.err().expect("wrong password");
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.message(), "unknown user or wrong password");
    });
}

#[test]
fn a_token_is_good_at_every_gateway_until_it_expires() {
    let doors = Doors::open();
    doors.run(async {
        let token = doors.plain(0, "ann").await.token().expect("a token").clone();
        let mut other = doors.stranger(1).await;
        other.set_token(token);
        let info = other.execute("select 1".to_owned(), None).await.expect("let in");
        assert_eq!(count(&rows(&mut other, ticket(&info)).await.expect("rows")), 1);
    });
    let short = Doors::with(|_| {}, |options| options.token_ttl = Duration::ZERO);
    short.run(async {
        let status = refused(&mut short.plain(0, "ann").await).await;
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().starts_with("the token has expired"), "{status}");
    });
}

#[test]
fn a_forged_token_is_refused() {
    let doors = Doors::open();
    doors.run(async {
        let token = doors.plain(0, "ann").await.token().expect("a token").clone();
        let mut client = doors.stranger(0).await;
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        let name = bytes.windows(3).position(|w| w == b"ann").expect("the user's name");
        bytes[name..name + 3].copy_from_slice(b"bob");
        for forged in [URL_SAFE_NO_PAD.encode(&bytes), "nonsense".to_owned(), String::new()] {
            client.set_token(forged.clone());
            let status = refused(&mut client).await;
            assert_eq!(status.code(), Code::Unauthenticated, "'{forged}': {status}");
        }
    });
}

#[test]
fn a_removed_user_is_out() {
    let doors = Doors::with(|_| {}, |options| options.user_recheck = Duration::ZERO);
    doors.run(async {
        let mut client = doors.plain(0, "bob").await;
        client.execute("select 1".to_owned(), None).await.expect("let in");
        doors.users.remove("bob");
        let status = refused(&mut client).await;
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().starts_with("there is no user 'bob' any more"), "{status}");
    });
}

#[test]
fn a_token_is_not_good_for_a_later_user_of_the_same_name() {
    let doors = Doors::with(|_| {}, |options| options.user_recheck = Duration::ZERO);
    doors.run(async {
        let mut client = doors.plain(0, "bob").await;
        let set = |password: &str| {
            doors.users.set("bob", password, Cost::Trifling, &doors.env()).expect("a user");
        };
        set("another password");
        client.execute("select 1".to_owned(), None).await.expect("a new password, the same user");
        doors.users.remove("bob");
        set("bob's");
        let status = refused(&mut client).await;
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().starts_with("there is no user 'bob' any more"), "{status}");
        let mut later = doors.plain(0, "bob").await;
        later.execute("select 1".to_owned(), None).await.expect("his own token");
        // The same by the users of the metadata store.
        let users = MetadataUsers::new(Arc::clone(doors.cluster.engine.store()));
        let before = users.user("dan").await.expect("read").expect("there");
        users.set("dan", "other", Cost::Trifling, &doors.env()).await.expect("set");
        let with_other = users.user("dan").await.expect("read").expect("there");
        assert!(before.created == with_other.created && before.verifier != with_other.verifier);
        users.remove("dan").await.expect("removed");
        users.set("dan", "other", Cost::Trifling, &doors.env()).await.expect("set");
        assert_ne!(users.user("dan").await.expect("read").expect("there").created, before.created);
    });
}

#[test]
fn a_ticket_is_for_its_owner_only() {
    let doors = Doors::open();
    doors.run(async {
        let mut ann = doors.plain(0, "ann").await;
        let mut bob = doors.plain(1, "bob").await;
        for sql in ["select * from nation", "show tables"] {
            let info = ann.execute(sql.to_owned(), None).await.expect("started");
            let error = rows(&mut bob, ticket(&info)).await.expect_err("not his");
            assert!(error.contains("is another user's"), "{sql}: {error}");
            // A ticket that was changed is nobody's.
            let mut changed = opened(&ticket(&info).ticket);
            use dunlin_proto::door::ticket::Result as Held;
            match changed.result.as_mut().expect("a handle") {
                Held::Query(sealed) | Held::Rows(sealed) => {
                    let mut body = sealed.body.to_vec();
                    let name = body.windows(3).position(|w| w == b"ann").expect("the owner");
                    body[name..name + 3].copy_from_slice(b"bob");
                    sealed.body = body.into();
                }
            }
            let error = rows(&mut bob, closed(&changed)).await.expect_err("forged");
            assert!(error.contains("the ticket was not given by this cluster"), "{sql}: {error}");
            assert!(count(&rows(&mut ann, ticket(&info)).await.expect("hers")) > 0, "{sql}");
        }
        let mut statement = ann.prepare("select 1".to_owned(), None).await.expect("prepared");
        statement.execute().await.expect("hers");
    });
}

#[test]
fn without_users_all_are_the_same_one() {
    let doors = Doors::with(
        |_| {},
        |options| {
            options.auth = Auth::Off { user: "me".to_owned() };
        },
    );
    doors.run(async {
        let mut stranger = doors.stranger(0).await;
        let info = stranger.execute("select 1".to_owned(), None).await.expect("let in");
        assert_eq!(count(&rows(&mut stranger, ticket(&info)).await.expect("rows")), 1);
        let mut options = doors.options("ann");
        options.credentials = Credentials::None;
        let client = Client::connect(doors.env(), options).await.expect("let in");
        assert_eq!(count(&all(&client, "select * from region").await.expect("rows")), 5);
    });
}
