//! Two users at two gateways: what one is granted by an administrator, and the other is not.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::CommandGetTables;
use dunlin_base::Kind;
use dunlin_gateway::flight::{Auth, Client, MetadataUsers};

use super::lab::{Doors, all, count, failure, rows, ticket};

/// A table of the administrator Ann, made where all gateways see it.
async fn with_table(doors: &Doors) -> Client {
    let ann = doors.client("ann").await;
    let create = "create table secret as select n_nationkey as k from nation";
    all(&ann, create).await.expect("a table");
    ann
}

async fn names(client: &mut super::lab::Plain) -> Vec<String> {
    let info = client.get_tables(CommandGetTables::default()).await.expect("a list");
    let of = |batch: &RecordBatch| {
        let names = batch.column_by_name("table_name").expect("names").clone();
        let names = names.as_string::<i32>().clone();
        (0..names.len()).map(move |row| names.value(row).to_owned())
    };
    rows(client, ticket(&info)).await.expect("rows").iter().flat_map(of).collect()
}

#[test]
fn a_table_is_its_owners_until_it_is_granted() {
    let doors = Doors::open();
    doors.run(async {
        let ann = with_table(&doors).await;
        let (cid, dan) = (doors.client("cid").await, doors.client("dan").await);
        let sql = "select count(*) from secret";
        let error = failure(&cid, sql).await;
        assert_eq!(error.kind(), Kind::Invalid);
        let says = "unknown table 'secret', or user 'cid' has no SELECT on it";
        assert!(error.message().starts_with(says), "{error}");
        assert_eq!(count(&all(&cid, "select * from region").await.expect("the folder's")), 5);
        let mut plain = doors.plain(1, "cid").await;
        assert!(!names(&mut plain).await.contains(&"secret".to_owned()));
        all(&ann, "grant select on secret to cid").await.expect("granted");
        // The plan of the text is kept now; it must not serve Dan.
        assert_eq!(count(&all(&ann, sql).await.expect("rows")), 1);
        assert_eq!(count(&all(&cid, sql).await.expect("rows")), 1);
        assert!(names(&mut plain).await.contains(&"secret".to_owned()));
        let error = failure(&dan, sql).await;
        assert!(error.message().contains("user 'dan' has no SELECT"), "{error}");
        for (sql, lacks) in [
            ("insert into secret values (1)", "user 'cid' has no INSERT on table 'public.secret'"),
            ("drop table secret", "user 'cid' has no DROP on table 'public.secret'"),
            ("grant select on secret to dan", "user 'cid' does not own table 'public.secret'"),
            ("create schema mine", "user 'cid' has no CREATE on catalog 'dunlin'"),
            ("copy region to '/nowhere/x/' stored as csv", "user 'cid' has no CREATE on catalog"),
        ] {
            let error = failure(&cid, sql).await;
            assert!(error.message().starts_with(lacks), "{sql}: {error}");
        }
        let shown = all(&cid, "show grants").await.expect("rows");
        assert_eq!(count(&shown), 1);
    });
    doors.assert_nothing_left();
}

#[test]
fn a_revoked_grant_ends_at_every_gateway_and_in_prepared_statements() {
    let doors = Doors::open();
    doors.run(async {
        let ann = with_table(&doors).await;
        all(&ann, "grant select on secret to cid").await.expect("granted");
        let [mut here, mut there] = [doors.plain(0, "cid").await, doors.plain(1, "cid").await];
        let sql = "select k from secret where k = 7".to_owned();
        let mut prepared = here.prepare(sql.clone(), None).await.expect("prepared");
        let info = prepared.execute().await.expect("started");
        assert_eq!(count(&rows(&mut here, ticket(&info)).await.expect("rows")), 1);
        let info = there.execute(sql.clone(), None).await.expect("started");
        assert_eq!(count(&rows(&mut there, ticket(&info)).await.expect("rows")), 1);
        all(&ann, "revoke select on secret from cid").await.expect("revoked");
        let error = prepared.execute().await.expect_err("revoked").to_string();
        assert!(error.contains("user 'cid' has no SELECT"), "{error}");
        let error = there.execute(sql.clone(), None).await.expect_err("revoked").to_string();
        assert!(error.contains("user 'cid' has no SELECT"), "{error}");
        let error = here.prepare(sql, None).await.expect_err("revoked").to_string();
        assert!(error.contains("user 'cid' has no SELECT"), "{error}");
    });
    doors.assert_nothing_left();
}

#[test]
fn a_user_of_the_same_name_inherits_nothing() {
    let doors = Doors::open();
    doors.run(async {
        let ann = with_table(&doors).await;
        all(&ann, "grant select on secret to cid").await.expect("granted");
        all(&ann, "grant create on schema public to cid").await.expect("granted");
        let cid = doors.client("cid").await;
        all(&cid, "create view mine as select k from secret").await.expect("hers");
        let users = MetadataUsers::new(Arc::clone(doors.cluster.engine.store()));
        users.remove("cid").await.expect("removed");
        let cost = dunlin_gateway::flight::Cost::Trifling;
        users.set("cid", "unused", cost, &doors.env()).await.expect("another");
        for sql in ["select * from secret", "select * from mine"] {
            let error = failure(&cid, sql).await;
            assert!(error.message().contains("user 'cid' has no SELECT"), "{sql}: {error}");
        }
        // A view of a removed user reads with nobody's rights, whoever asks.
        let error = failure(&ann, "select * from mine").await;
        assert!(error.message().contains("secret"), "{error}");
    });
    doors.assert_nothing_left();
}

#[test]
fn an_administrator_may_all_until_that_is_taken_away() {
    let doors = Doors::open();
    doors.run(async {
        with_table(&doors).await;
        let users = MetadataUsers::new(Arc::clone(doors.cluster.engine.store()));
        let dan = doors.client("dan").await;
        failure(&dan, "select * from secret").await;
        users.set_admin("dan", true).await.expect("a user");
        assert_eq!(count(&all(&dan, "select * from secret").await.expect("rows")), 25);
        assert_eq!(users.admins().await.expect("a list"), ["ann", "bob", "dan"]);
        users.set_admin("dan", false).await.expect("a user");
        failure(&dan, "select * from secret").await;
        assert_eq!(users.set_admin("eve", true).await.expect_err("nobody").kind(), Kind::Invalid);
    });
    doors.assert_nothing_left();
}

#[test]
fn where_nobody_logs_in_nothing_is_checked() {
    let off = |options: &mut dunlin_gateway::flight::DoorOptions| {
        options.auth = Auth::Off { user: "cid".to_owned() };
    };
    let doors = Doors::with(|_| {}, off);
    doors.run(async {
        let mut options = doors.options("cid");
        options.credentials = dunlin_gateway::flight::Credentials::None;
        let client = Client::connect(doors.env(), options).await.expect("let in");
        all(&client, "create table mine as select 1 as x").await.expect("a table");
        assert_eq!(count(&all(&client, "select * from mine").await.expect("rows")), 1);
    });
    doors.assert_nothing_left();
}
