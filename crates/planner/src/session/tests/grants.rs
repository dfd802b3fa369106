//! Users, and what they may: reads, writes and changes, through views, kept plans and lists.

use super::*;

/// A table and a view of an administrator, and two users who were granted nothing.
struct Shared {
    lab: Lab,
    root: Session,
    ann: Session,
    bob: Session,
}

impl Shared {
    async fn new() -> Self {
        let lab = Lab::with(Settings { warehouse: "/nowhere".to_owned(), ..Settings::default() });
        for (user, admin) in [("root", true), ("ann", false), ("bob", false)] {
            lab.users.set_user(user, admin);
        }
        let of = |user: &str| lab.planner.session_of(Who::User(user.to_owned())).expect("one");
        let [root, ann, bob] = ["root", "ann", "bob"].map(of);
        let file = lab.text("t/a.csv", "x\n1\n");
        let folder = file.parent().expect("a folder");
        let shared = Self { lab, root, ann, bob };
        shared.root(&table("t", "csv", folder)).await;
        shared.root("CREATE SCHEMA lab").await;
        shared.root("CREATE VIEW v AS SELECT x + 1 AS y FROM t").await;
        shared
    }

    async fn root(&self, sql: &str) -> Vec<String> {
        self.lab.rows_in(&self.root, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn ann(&self, sql: &str) -> Vec<String> {
        self.lab.rows_in(&self.ann, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The error of a user's statement.
    async fn refused(&self, session: &Session, sql: &str) -> String {
        match Lab::plan_in(session, sql).await {
            Ok(planned) => panic!("{sql} gave {planned:?}"),
            Err(error) => {
                assert_eq!(error.kind(), dunlin_base::Kind::Invalid, "{sql}: {error}");
                error.message().to_owned()
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_granted_is_as_if_it_were_not_there() {
    let shared = Shared::new().await;
    for sql in ["SELECT * FROM t", "SELECT (SELECT max(x) FROM t)", "EXPLAIN SELECT * FROM t"] {
        let error = shared.refused(&shared.ann, sql).await;
        assert!(
            error.starts_with("unknown table 't', or user 'ann' has no SELECT on it"),
            "{error}"
        );
        let missing = shared.refused(&shared.ann, &sql.replace("FROM t", "FROM nope")).await;
        let there = error.replace("'t'", "'nope'");
        // Place and excerpt apart, both say the same.
        assert_eq!(missing.lines().next(), there.lines().next());
    }
    for sql in ["DESCRIBE t", "SHOW COLUMNS FROM v", "SELECT * FROM public.v"] {
        shared.refused(&shared.ann, sql).await;
    }
    let error = shared.refused(&shared.ann, "DROP TABLE t").await;
    assert_eq!(error, "there is no table 'public.t' that user 'ann' may see");
    assert_eq!(
        shared.ann("DROP TABLE IF EXISTS t").await,
        ["DROP TABLE ('public.t' was not there)"]
    );
    assert_eq!(shared.root("SELECT x FROM t").await, ["1"]);
    let error = shared.refused(&shared.ann, "GRANT SELECT ON t TO ann").await;
    assert_eq!(error, "there is no table 'public.t' that user 'ann' may see");
    assert!(shared.ann("SHOW TABLES").await.is_empty());
    assert_eq!(shared.ann("SHOW SCHEMAS").await, ["public"]);
    assert!(shared.ann.tables().await.expect("a list").is_empty());
    assert_eq!(shared.ann.schemas().await.expect("a list"), ["public"]);
    assert_eq!(shared.ann.columns("public", "t").await.expect("none"), None);
    let columns = "SELECT column_name FROM information_schema.columns \
         WHERE table_schema <> 'information_schema'";
    assert!(shared.ann(columns).await.is_empty());
    assert_eq!(shared.root(columns).await.len(), 2);
}

#[tokio::test]
async fn a_grant_counts_at_once_and_so_does_its_end() {
    let shared = Shared::new().await;
    for (grant, revoke) in [
        ("GRANT SELECT ON t TO ann", "REVOKE SELECT ON t FROM ann"),
        ("GRANT ALL ON TABLE dunlin.public.t TO ann", "REVOKE ALL PRIVILEGES ON t FROM USER ann"),
        ("GRANT SELECT ON t TO PUBLIC", "REVOKE SELECT ON t FROM PUBLIC"),
        ("GRANT SELECT ON SCHEMA public TO ann, bob", "REVOKE ALL ON SCHEMA public FROM ann, bob"),
        ("GRANT SELECT ON CATALOG dunlin TO ann", "REVOKE SELECT ON CATALOG dunlin FROM ann"),
    ] {
        shared.root(grant).await;
        assert_eq!(shared.ann("SELECT x FROM t").await, ["1"], "{grant}");
        // Kept for its text now: the next user's check must not be.
        assert_eq!(shared.root("SELECT x FROM t").await, ["1"]);
        shared.root(revoke).await;
        shared.refused(&shared.ann, "SELECT x FROM t").await;
    }
    assert_eq!(shared.ann("SHOW SCHEMAS").await, ["public"]);
}

#[tokio::test]
async fn a_kept_plan_is_for_users_who_may() {
    let shared = Shared::new().await;
    shared.root("GRANT SELECT ON v TO ann").await;
    let sql = "SELECT y FROM v";
    let statement = shared.ann.prepare(sql).expect("one").remove(0);
    let Planned::Query(first) = shared.root.plan(&statement).await.expect("planned") else {
        panic!("a query")
    };
    let known = shared.ann.known_plan(&statement).await.expect("kept, and hers");
    assert!(Arc::ptr_eq(&first.physical, &known.physical));
    assert!(shared.bob.known_plan(&statement).await.is_none());
    shared.refused(&shared.bob, sql).await;
    let anyone = &shared.lab.session;
    assert!(anyone.known_plan(&statement).await.is_none(), "planned for who is asked");
}

#[tokio::test]
async fn a_view_reads_with_its_owners_rights() {
    let shared = Shared::new().await;
    shared.root("GRANT SELECT ON v TO bob").await;
    assert_eq!(shared.lab.rows_in(&shared.bob, "SELECT y FROM v").await.expect("rows"), ["2"]);
    shared.refused(&shared.bob, "SELECT x FROM t").await;
    // Whoever makes a view must be able to read what it reads, then and later.
    shared.root("GRANT CREATE ON SCHEMA lab TO ann").await;
    shared.refused(&shared.ann, "CREATE VIEW lab.w AS SELECT * FROM t").await;
    shared.root("GRANT SELECT ON t TO ann").await;
    shared.ann("CREATE VIEW lab.w AS SELECT * FROM t").await;
    shared.ann("GRANT SELECT ON lab.w TO bob").await;
    let read = "SELECT x FROM lab.w";
    assert_eq!(shared.lab.rows_in(&shared.bob, read).await.expect("rows"), ["1"]);
    shared.root("REVOKE SELECT ON t FROM ann").await;
    let error = shared.refused(&shared.bob, read).await;
    assert!(error.contains("view 'lab.w'"), "{error}");
    // Replacing a view does not give its writer the rights of the one before.
    shared.root("GRANT DROP ON v TO ann").await;
    shared.root("GRANT CREATE ON SCHEMA public TO ann").await;
    shared.ann("CREATE OR REPLACE VIEW v AS SELECT 7 AS y").await;
    assert_eq!(shared.lab.rows_in(&shared.bob, "SELECT y FROM v").await.expect("rows"), ["7"]);
    shared.refused(&shared.ann, "CREATE OR REPLACE VIEW v AS SELECT x AS y FROM t").await;
}

#[tokio::test]
async fn below_a_view_of_nobody_the_views_of_others_read_as_their_owners() {
    let shared = Shared::new().await;
    shared.root("GRANT CREATE ON SCHEMA lab TO ann").await;
    shared.root("GRANT SELECT ON t TO ann").await;
    shared.ann("CREATE VIEW lab.inner AS SELECT x FROM t").await;
    let above = "CREATE VIEW above AS SELECT x FROM lab.inner";
    shared.lab.plan(above).await.expect("made where nobody is asked");
    shared.root("GRANT SELECT ON above TO bob").await;
    let read = "SELECT x FROM above";
    assert_eq!(shared.lab.rows_in(&shared.bob, read).await.expect("rows"), ["1"]);
    shared.root("REVOKE SELECT ON t FROM ann").await;
    shared.refused(&shared.bob, read).await;
    // Who is not asked may everything, whoever owns what it reads.
    assert_eq!(shared.lab.rows(read).await.expect("rows"), ["1"]);
}

#[tokio::test]
async fn what_a_view_is_made_of_is_for_its_owner() {
    let shared = Shared::new().await;
    shared.root("GRANT SELECT ON v TO bob").await;
    let text = "SELECT definition FROM information_schema.views WHERE table_name = 'v'";
    for sql in [text, "SHOW CREATE TABLE v"] {
        let shown = |rows: Vec<String>| rows.join("\n").contains("FROM t");
        assert!(shown(shared.root(sql).await), "{sql}");
        let bob = shared.lab.rows_in(&shared.bob, sql).await.expect("rows");
        assert!(!bob.is_empty() && !shown(bob), "{sql}");
    }
    shared.root("DROP TABLE t").await;
    let error = shared.refused(&shared.bob, "SELECT * FROM v").await;
    assert_eq!(error, "view 'public.v' cannot be read");
    let error = shared.refused(&shared.root, "SELECT * FROM v").await;
    assert!(error.starts_with("view 'public.v': ") && error.contains("public.t'"), "{error}");
}

#[tokio::test]
async fn writes_and_changes_need_their_own_privileges() {
    let shared = Shared::new().await;
    shared.root("GRANT SELECT ON t TO ann").await;
    let insert = "INSERT INTO t VALUES (5)";
    let error = shared.refused(&shared.ann, insert).await;
    assert_eq!(error, "user 'ann' has no INSERT on table 'public.t'");
    let error = shared.refused(&shared.ann, "DROP TABLE t").await;
    assert_eq!(error, "user 'ann' has no DROP on table 'public.t'");
    shared.root("REVOKE SELECT ON t FROM ann").await;
    shared.root("GRANT INSERT ON t TO ann").await;
    let planned = Lab::plan_in(&shared.ann, insert).await.expect("granted");
    assert!(matches!(planned, Planned::Write(_)));
    for sql in [
        "INSERT INTO t SELECT x FROM t",
        "INSERT INTO t SELECT max(a.x) FROM t AS a",
        // Without UNION the name inside is no CTE: it is the table.
        "INSERT INTO t WITH RECURSIVE t AS (SELECT x FROM t WHERE x > 0) SELECT x FROM t",
        "INSERT INTO t SELECT 1 WHERE EXISTS (WITH RECURSIVE t AS (SELECT x FROM t) SELECT 1 FROM t)",
        "SELECT * FROM t",
    ] {
        let error = shared.refused(&shared.ann, sql).await;
        assert_eq!(error, "user 'ann' has no SELECT on table 'public.t'", "{sql}");
    }
    for (sql, lacks) in [
        ("CREATE VIEW w AS SELECT 1 AS x", "CREATE on schema 'public'"),
        ("CREATE TABLE w AS SELECT 1 AS x", "CREATE on schema 'public'"),
        ("CREATE SCHEMA mine", "CREATE on catalog 'dunlin'"),
        ("COPY (SELECT 1 AS x) TO '/nowhere/x.csv'", "CREATE on catalog 'dunlin'"),
    ] {
        let error = shared.refused(&shared.ann, sql).await;
        assert_eq!(error, format!("user 'ann' has no {lacks}"), "{sql}");
    }
    shared.root("GRANT CREATE ON SCHEMA public TO ann").await;
    shared.ann("CREATE VIEW w AS SELECT 1 AS x").await;
    // A place of one's own choice could be another's table.
    let place = shared.lab.path("t/a.csv").display().to_string();
    for sql in [
        format!("CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION '{place}'"),
        "CREATE TABLE mine WITH (location = '/nowhere/x') AS SELECT 1 AS x".to_owned(),
        "SET dunlin.warehouse = '/tmp'; CREATE TABLE mine AS SELECT 1 AS x".to_owned(),
    ] {
        let error = shared.refused(&shared.ann, &sql).await;
        assert_eq!(error, "user 'ann' has no CREATE on catalog 'dunlin'", "{sql}");
    }
    shared.ann("DROP VIEW w").await;
    shared.root("DROP TABLE t").await;
}

#[tokio::test]
async fn who_may_grant_and_what() {
    let shared = Shared::new().await;
    shared.root("GRANT SELECT ON v TO ann").await;
    for (sql, says) in [
        ("GRANT SELECT ON v TO bob", "user 'ann' does not own view 'public.v'"),
        ("REVOKE SELECT ON v FROM ann", "user 'ann' does not own view 'public.v'"),
        ("GRANT SELECT ON SCHEMA lab TO ann", "there is no schema 'lab'"),
        ("GRANT ALL ON CATALOG dunlin TO ann", "user 'ann' does not own catalog 'dunlin'"),
    ] {
        assert_eq!(shared.refused(&shared.ann, sql).await, says, "{sql}");
    }
    for (sql, says) in [
        ("GRANT SELECT ON v TO nobody", "there is no user 'nobody'"),
        ("GRANT INSERT ON v TO ann", "a view has no privilege INSERT"),
        ("GRANT CREATE ON t TO ann", "a table has no privilege CREATE"),
        ("GRANT UPDATE ON t TO ann", "a table has no privilege UPDATE"),
        ("GRANT SELECT (x) ON t TO ann", "a table has no privilege SELECT (x)"),
        ("GRANT SELECT ON t TO \"\"", "'\"\"' is neither a user nor PUBLIC"),
        ("GRANT SELECT ON nope TO ann", "there is no table 'public.nope'"),
        ("GRANT SELECT ON SCHEMA nope TO ann", "there is no schema 'nope'"),
        ("GRANT SELECT ON CATALOG nope TO ann", "there is no catalog 'nope'"),
        ("GRANT SELECT ON t, v TO ann", "one GRANT or REVOKE is about one object"),
        ("GRANT SELECT ON t TO ROLE ann", "'ROLE ann' is neither a user nor PUBLIC"),
        (
            "GRANT SELECT ON t TO ann WITH GRANT OPTION",
            "GRANT with further clauses is not supported yet",
        ),
    ] {
        assert_eq!(shared.refused(&shared.root, sql).await, says, "{sql}");
    }
    let mine = ["ann|SELECT|view|public.v"];
    assert_eq!(shared.ann("SHOW GRANTS").await, mine);
    assert_eq!(shared.root("SHOW GRANTS FOR ann").await, mine);
    assert!(shared.lab.rows_in(&shared.bob, "SHOW GRANTS").await.expect("rows").is_empty());
    let all = shared.root("SHOW GRANTS").await;
    for row in ["root|ADMIN|catalog|dunlin", "root|OWNER|table|public.t"] {
        assert!(all.iter().any(|is| is == row), "{row}: {all:?}");
    }
}

#[tokio::test]
async fn tables_of_an_opened_folder_are_for_all_to_read() {
    let shared = Shared::new().await;
    shared.lab.text("open/o.csv", "x\n3\n");
    let open = shared.lab.folder.path().join("open");
    shared.lab.planner.register_folder(&open).await.expect("a folder");
    assert_eq!(shared.ann("SELECT x FROM o").await, ["3"]);
    assert_eq!(shared.ann("SHOW TABLES").await, ["public|o|BASE TABLE"]);
    let error = shared.refused(&shared.ann, "INSERT INTO o VALUES (1)").await;
    assert_eq!(error, "user 'ann' has no INSERT on table 'public.o'");
    let error = shared.refused(&shared.root, "GRANT SELECT ON o TO ann").await;
    assert_eq!(error, "table 'public.o' is a file of the folder that was opened");
}

#[tokio::test]
async fn where_nobody_is_asked_everything_is_allowed() {
    let lab = Lab::new();
    let file = lab.text("a.csv", "x\n1\n");
    lab.plan(&table("t", "csv", &file)).await.expect("created");
    lab.users.set_user("ann", false);
    lab.plan("CREATE VIEW v AS SELECT x FROM t").await.expect("created");
    let ann = lab.planner.session_of(Who::User("ann".to_owned())).expect("a session");
    assert!(lab.rows_in(&ann, "SELECT x FROM v").await.is_err(), "nobody's, until it is granted");
    lab.plan("GRANT SELECT ON v TO ann").await.expect("granted");
    assert_eq!(lab.rows_in(&ann, "SELECT x FROM v").await.expect("rows"), ["1"]);
    assert!(lab.rows_in(&ann, "SELECT x FROM t").await.is_err());
}
