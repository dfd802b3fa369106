//! Tables of files: folders, wildcards, partitions, and files that change.

use super::*;

#[tokio::test]
async fn a_new_or_changed_file_is_seen_by_the_next_statement() {
    let lab = Lab::new();
    lab.parquet("t/a.parquet", "x", numbers(&[1]));
    lab.plan(&table("t", "parquet", &lab.path("t"))).await.expect("created");
    let before = lab.query("SELECT * FROM t").await.tables;
    assert_eq!((before[0].table.as_str(), before[0].files), ("t", 1));
    lab.parquet("t/b.parquet", "x", numbers(&[2, 3]));
    assert_eq!(lab.rows("SELECT sum(x) FROM t").await.expect("runs"), ["6"]);
    let after = lab.query("SELECT * FROM t").await.tables;
    assert_eq!(after[0].files, 2);
    assert!(after[0].bytes > before[0].bytes);
    assert_ne!(after[0].fingerprint, before[0].fingerprint);
    assert_eq!(lab.query("SELECT * FROM t").await.tables, after, "nothing changed");
    std::fs::remove_file(lab.path("t/a.parquet")).expect("removed");
    lab.parquet("t/b.parquet", "other", words(&["z"]));
    assert_eq!(lab.rows("SELECT other FROM t").await.expect("runs"), ["z"]);
}

#[tokio::test]
async fn folders_named_by_value_are_columns_and_prune() {
    let lab = Lab::new();
    for (year, kind) in [(2023, "a"), (2024, "a"), (2024, "b")] {
        let name = format!("t/year={year}/kind={kind}/f.parquet");
        lab.parquet(&name, "x", numbers(&[year]));
    }
    lab.plan(&table("t", "parquet", &lab.path("t"))).await.expect("created");
    let described = lab.rows("DESCRIBE t").await.expect("known");
    assert_eq!(described, ["x|Int64|NO", "year|Int64|NO", "kind|Utf8|NO"]);
    let sql = "SELECT year, kind, x FROM t WHERE year > 999 AND year < 2024";
    assert_eq!(lab.rows(sql).await.expect("runs"), ["2023|a|2023"]);
    assert_eq!(lab.query(sql).await.tables[0].files, 1, "the others are not opened");
    let sql =
        table("u", "parquet", &lab.path("t")).replace("LOCATION", "PARTITIONED BY (kind) LOCATION");
    let (message, _) = lab.error(&sql).await;
    assert_eq!(
        message,
        "table 'public.u': PARTITIONED BY (kind) does not fit the folders, which are by (year, kind)"
    );
}

#[tokio::test]
async fn wildcards_and_several_locations() {
    let lab = Lab::new();
    for name in ["a1", "a2", "b1"] {
        lab.parquet(&format!("t/{name}.parquet"), "x", numbers(&[1]));
    }
    lab.plan(&table("a", "parquet", &lab.path("t/a*.parquet"))).await.expect("created");
    assert_eq!(lab.rows("SELECT count(*) FROM a").await.expect("runs"), ["2"]);
    assert_eq!(lab.query("SELECT x FROM a").await.tables[0].files, 2);
    let two = format!(
        "CREATE EXTERNAL TABLE two STORED AS parquet LOCATION ('{0}/t/a1.parquet', '{0}/t/b1.parquet')",
        lab.folder.path().display()
    );
    lab.plan(&two).await.expect("created");
    assert_eq!(lab.rows("SELECT count(*) FROM two").await.expect("runs"), ["2"]);
}

#[tokio::test]
async fn text_formats_agree_on_types() {
    let lab = Lab::new();
    lab.text("c/a.csv", "x,y\n1,a\n");
    lab.text("c/b.csv", "x,y\n2.5,b\n");
    lab.text("c/empty.csv", "");
    lab.plan(&table("c", "csv", &lab.path("c"))).await.expect("created");
    assert_eq!(lab.rows("SELECT x FROM c ORDER BY x").await.expect("runs"), ["1.0", "2.5"]);
    lab.text("j/a.ndjson", "{\"x\": 1}\n{\"x\": 2, \"y\": \"late\"}\n");
    lab.plan(&table("j", "json", &lab.path("j"))).await.expect("created");
    assert_eq!(
        lab.rows("SELECT x, y FROM j ORDER BY x").await.expect("runs"),
        ["1|NULL", "2|late"]
    );
    let declared = format!(
        "CREATE EXTERNAL TABLE d (n BIGINT, s VARCHAR) STORED AS csv LOCATION '{}' \
         OPTIONS ('format.has_header' 'true')",
        lab.path("c/a.csv").display()
    );
    lab.plan(&declared).await.expect("created");
    assert_eq!(lab.rows("SELECT n, s FROM d").await.expect("runs"), ["1|a"]);
}

#[tokio::test]
async fn a_declared_order_saves_the_sort() {
    let lab = Lab::new();
    let file = lab.parquet("t.parquet", "x", numbers(&[1, 2, 3]));
    let sql = table("t", "parquet", &file).replace("LOCATION", "WITH ORDER (x ASC) LOCATION");
    lab.plan(&sql).await.expect("created");
    let plan = lab.query("SELECT x FROM t ORDER BY x").await.physical;
    let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
    assert!(!shown.contains("SortExec"), "{shown}");
    let sql = sql.replace("TABLE t", "TABLE u").replace("(x ASC)", "(z ASC)");
    let (message, _) = lab.error(&sql).await;
    assert_eq!(message, "table 'public.u': WITH ORDER names 'z', which is no column of the files");
}

#[tokio::test]
async fn a_folder_is_opened_as_tables() {
    let lab = Lab::new();
    lab.text("d/My-Sales 2024.csv", "x\n1\n");
    lab.parquet("d/t.parquet", "x", numbers(&[1]));
    lab.text("d/t.csv", "x\n1\n");
    lab.text("d/notes.txt", "hello");
    lab.parquet("d/events/day=1/p.parquet", "x", numbers(&[5]));
    lab.path("d/empty/none").parent().map(Path::to_owned).expect("a folder");
    lab.text("d/.hidden.csv", "x\n1\n");
    lab.text("d/bad.parquet", "this is no Parquet file");
    let found = lab.planner.register_folder(&lab.path("d")).await.expect("a folder");
    let found: Vec<_> = found
        .into_iter()
        .map(|(name, result)| (name, result.err().map(|e| e.message().to_owned())))
        .collect();
    let skipped = |text: &str| Some(text.to_owned());
    let expected = [
        ("bad", None),
        ("empty", skipped("skipped 'empty/': it has no files of a format that is known")),
        ("events", None),
        ("my_sales_2024", None),
        ("notes", skipped("skipped 'notes.txt': not a format that is known")),
        ("t", skipped("'t.csv' and 't.parquet' would both be table 't'")),
    ];
    assert_eq!(found, expected.map(|(name, error)| (name.to_owned(), error)));
    assert_eq!(lab.rows("SELECT x, day FROM events").await.expect("runs"), ["5|1"]);
    assert_eq!(lab.rows("SELECT x FROM my_sales_2024").await.expect("runs"), ["1"]);
    let (message, _) = lab.error("SELECT * FROM bad").await;
    assert!(
        message.starts_with("table 'public.bad': 'DIR/d/bad.parquet': cannot read Parquet data"),
        "{message}"
    );
    let (message, _) = lab.error("DROP TABLE events").await;
    assert_eq!(message, "table 'public.events' is a file of the folder that was opened");
    let missing = lab.planner.register_folder(&lab.folder.path().join("nope")).await;
    assert!(missing.expect_err("missing").message().starts_with("no such folder: "));
}

#[tokio::test]
async fn only_allowed_locations_are_read() {
    let allowed = tempfile::tempdir().expect("a folder");
    let places = [allowed.path().display().to_string(), "s3://lake/in/".to_owned()];
    let lab = Lab::limited(Allowed::only(places).expect("places"));
    let outside = lab.text("x.csv", "x\n1\n");
    std::fs::write(allowed.path().join("x.csv"), "x\n1\n").expect("written");
    lab.plan(&table("inside", "csv", &allowed.path().join("x.csv"))).await.expect("allowed");
    let (message, _) = lab.error(&table("t", "csv", &outside)).await;
    assert_eq!(
        message,
        "table 'public.t': location DIR/x.csv is not among those this server may use"
    );
    let sneaky = allowed.path().join("..").join(outside.strip_prefix("/tmp").unwrap_or(&outside));
    let (message, _) = lab.error(&table("t", "csv", &sneaky)).await;
    assert!(
        message.contains("is not among those") || message.contains("no such file"),
        "{message}"
    );
    let (message, _) = lab.error(&table("t", "csv", Path::new("s3://lake/inside/x.csv"))).await;
    assert!(message.contains("s3://lake/inside/x.csv is not among those"), "{message}");
    let elsewhere = table("t", "csv", Path::new("s3://lake/in/x.csv"))
        + " OPTIONS ('aws.endpoint' 'http://169.254.169.254')";
    let (message, _) = lab.error(&elsewhere).await;
    assert!(message.contains("location http://169.254.169.254 is not among those"), "{message}");
    std::fs::create_dir(allowed.path().join("d")).expect("a folder");
    std::fs::write(allowed.path().join("d/y.csv"), "x\n1\n").expect("written");
    std::os::unix::fs::symlink(&outside, allowed.path().join("d/z.csv")).expect("a link");
    let (message, _) = lab.error(&table("t", "csv", &allowed.path().join("d"))).await;
    assert!(message.contains("is not among those"), "{message}");
}
