//! The configuration: layers, dump, check.

use super::lab::{Lab, finish};

#[test]
fn the_last_layer_wins_and_dump_names_it() {
    let lab = Lab::new();
    lab.write(
        "dunlin.toml",
        "threads = 3\nmax-rows = 7\nmemory = \"64MiB\"\n[session]\npartitions = 5\n",
    );
    let mut command = lab.command(&["config", "dump", "--log-level", "info"]);
    command.env("DUNLIN_MAX_ROWS", "9");
    let dump = finish(command, "").ok();
    for line in [
        "threads = 3",
        "max-rows = 9",
        "memory = \"64MiB\"",
        "log-level = \"info\"",
        "lease-ttl = \"10s\"",
        "\"partitions\" = 5",
        "# state =",
    ] {
        assert!(dump.lines().any(|l| l.starts_with(line)), "'{line}' is missing in {dump}");
    }
    for origin in ["[dunlin.toml]", "[environment]", "[command line]", "[default]", "[not set]"] {
        assert!(dump.contains(origin), "{origin} is missing in {dump}");
    }
    // What was dumped is a configuration, with the same values.
    lab.write("again.toml", &dump);
    let again = lab.run(&["config", "dump", "--config", "again.toml"]).ok();
    let values = |text: &str| -> Vec<String> {
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(values(&dump), values(&again));
}

#[test]
fn variables_of_options_are_no_configuration() {
    let lab = Lab::new();
    let mut command = lab.command(&["config", "check"]);
    command.env("DUNLIN_ROLES", "gateway").env("DUNLIN_PASSWORD", "secret");
    finish(command, "").ok();
    let mut command = lab.command(&["config", "check"]);
    command.env("DUNLIN_ROLL", "gateway");
    finish(command, "").fails(2, &["'roll'"]);
}

#[test]
fn settings_of_the_file_reach_sessions() {
    let lab = Lab::new();
    lab.write("my.toml", "format = \"csv\"\n[session]\npartitions = 5\n");
    let show = ["sql", "--config", "my.toml", "-c", "SHOW dunlin.partitions"];
    assert_eq!(lab.run(&show).ok(), "name,value\ndunlin.partitions,5\n");
}

#[test]
fn a_shell_opens_everything_unless_it_is_given_places() {
    let lab = Lab::new();
    let sql = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'data/orders.csv'; \
               SELECT count(*) AS n FROM t";
    let run = |more: &[&str]| lab.run(&[&["sql", "-c", sql, "--format", "csv"], more].concat());
    assert_eq!(run(&[]).ok(), "n\n3\n");
    assert_eq!(run(&["--allow", "elsewhere", "--allow", "data"]).ok(), "n\n3\n");
    run(&["--allow", "elsewhere"]).fails(1, &["is not among those this server may use"]);
    lab.write("my.toml", "allow = [\"elsewhere\"]\n");
    run(&["--config", "my.toml"]).fails(1, &["is not among those this server may use"]);
    run(&["--allow", "ftp://host"]).fails(2, &["allow", "'ftp://host' cannot be allowed"]);
}

#[test]
fn check_is_strict_and_start_up_warns() {
    let lab = Lab::new();
    lab.run(&["config", "check"]).ok();
    lab.write("dunlin.toml", "tread = 2\nthreds = 3\n");
    let ran = lab.run(&["config", "check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("'threds'") && ran.err.contains("'threads'?"), "{ran:?}");
    let ran = lab.run(&["sql", "-c", "SELECT 1 AS x", "--format", "csv"]);
    assert!(ran.err.contains("warning: ") && ran.err.contains("threds"), "{ran:?}");
    assert_eq!(ran.ok(), "x\n1\n");
}

#[test]
fn values_that_do_not_fit_name_their_key() {
    let lab = Lab::new();
    let cases = [
        ("threads = \"many\"", "threads"),
        ("threads = 0", "threads"),
        ("memory = \"1 parsec\"", "memory"),
        ("lease-ttl = \"10 h\"", "lease-ttl"),
        ("format = \"xml\"", "format"),
        ("[session]\npartitons = 2", "partitons"),
        ("[shuffle]\nsplit-soft = \"much\"", "shuffle.split-soft"),
        ("[shuffle]\nmemory-mark = 3", "shuffle.memory-mark"),
        ("[shuffle]\nwhen-full = \"stop\"", "shuffle.when-full"),
        ("[shuffle]\ndisks = [\"/a:fast\"]", "shuffle.disks"),
        ("threads = ", "bad.toml"),
    ];
    for (text, word) in cases {
        lab.write("bad.toml", text);
        lab.run(&["config", "check", "--config", "bad.toml"]).fails(2, &[word]);
        lab.run(&["sql", "--config", "bad.toml", "-c", "SELECT 1"]).fails(2, &[word]);
    }
    lab.run(&["config", "dump", "--config", "nothere.toml"]).fails(2, &["nothere.toml"]);
}

#[test]
fn places_of_shuffled_data_come_from_all_layers() {
    let lab = Lab::new();
    lab.write(
        "dunlin.toml",
        "[shuffle]\ndisks = [\"/a\", \"/b:hdd:capacity=1.5GiB\"]\nsplit-soft = \"5MiB\"\n",
    );
    let mut command = lab.command(&["config", "dump"]);
    command.env("DUNLIN_SHUFFLE", "{tiers=[\"disks\",\"objects\"],sync=true}");
    let dump = finish(command, "").ok();
    for line in [
        "[shuffle]",
        "disks = [\"/a\", \"/b:hdd:capacity=1.5GiB\"]",
        "tiers = [\"disks\", \"objects\"]",
        "# objects =",
        "sync = true",
        "split-soft = \"5MiB\"",
        "split-hard = \"2GiB\"",
    ] {
        assert!(dump.lines().any(|l| l == line), "'{line}' is missing in {dump}");
    }
    lab.write("again.toml", &dump);
    let again = lab.run(&["config", "dump", "--config", "again.toml"]).ok();
    let values = |text: &str| -> Vec<String> {
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(values(&dump), values(&again));
    lab.write("bad.toml", "[shuffle]\ntier = [\"disks\"]\n");
    let ran = lab.run(&["config", "check", "--config", "bad.toml"]);
    ran.fails(2, &["'shuffle.tier'", "'tiers'?"]);
    let serve = ["serve", "--metadata", "memory:", "--blobs", "memory:"];
    let refused = |more: &[&str], words: &[&str]| lab.run(&[&serve, more].concat()).fails(2, words);
    refused(&["--shuffle-disk", "/a:hhd"], &["shuffle.disks.0", "'hhd'"]);
    refused(&["--shuffle-tiers", "tape"], &["shuffle.tiers.0", "tape"]);
    lab.write("dunlin.toml", "[shuffle]\ntiers = [\"objects\"]\nobjects = \"ftp://x/y\"\n");
    lab.run(&serve).fails(1, &["shuffle.objects", "ftp://x/y"]);
}

#[test]
fn version_and_help() {
    let lab = Lab::new();
    let version = lab.run(&["--version"]).ok();
    assert!(version.starts_with("dunlin ") && version.contains("datafusion "), "{version}");
    assert!(lab.run(&["sql", "--help"]).ok().contains("Exit codes"));
    lab.run(&["--nope"]).fails(2, &["--nope"]);
}
