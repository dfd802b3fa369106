//! What a session may set, and what it is refused.

use super::*;

#[test]
fn a_session_gets_what_it_sets_and_what_is_forced() {
    let mut settings = Settings::default();
    for (key, value) in [
        ("dunlin.partitions", "3"),
        ("datafusion.execution.batch_size", "100"),
        ("dunlin.broadcast_bytes", "1MiB"),
        ("datafusion.execution.time_zone", "+02:00"),
        ("datafusion.execution.parquet.pushdown_filters", "true"),
    ] {
        settings.set(key, value).expect(key);
    }
    let config = session_config(&settings).expect("valid");
    let options = config.options();
    assert_eq!(options.execution.target_partitions, 3);
    assert_eq!(config.batch_size(), 100);
    assert_eq!(options.execution.time_zone.as_deref(), Some("+02:00"));
    assert!(options.execution.parquet.pushdown_filters);
    for (key, value, _) in FORCED {
        let entry = options.entries().into_iter().find(|e| e.key == key).expect(key);
        assert_eq!(entry.value.as_deref(), Some(value), "{key}");
    }
}

#[test]
fn settings_survive_the_plan_header() {
    let mut settings = Settings::default();
    settings.set("dunlin.slice_bytes", "1MiB").expect("valid");
    settings.set("datafusion.execution.coalesce_batches", "false").expect("valid");
    let entries = settings.entries();
    let entries = entries.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    assert_eq!(Settings::from_entries(entries).expect("own entries"), settings);
}

#[test]
fn reset_goes_back_to_the_defaults_of_the_process() {
    let defaults = Settings { partitions: 32, ..Settings::default() };
    let mut settings = defaults.clone();
    settings.set("dunlin.partitions", "2").expect("valid");
    settings.set("datafusion.explain.show_sizes", "false").expect("valid");
    settings.reset("dunlin.partitions", &defaults).expect("valid");
    settings.reset("datafusion.explain.show_sizes", &defaults).expect("valid");
    assert_eq!(settings, defaults);
}

#[test]
fn what_cannot_be_set_is_refused_by_name() {
    let cases = [
        (
            "dunlin.partition",
            "4",
            "there is no option 'dunlin.partition'",
            Some("did you mean 'dunlin.partitions'?"),
        ),
        (
            "batch_size",
            "4",
            "there is no option 'batch_size'",
            Some("did you mean 'datafusion.execution.batch_size'?"),
        ),
        (
            "no.such.thing.at.all",
            "4",
            "there is no option 'no.such.thing.at.all'",
            Some("SHOW ALL lists the options"),
        ),
        (
            "dunlin.partitions",
            "0",
            "cannot set dunlin.partitions: '0' is not a whole number from 1 to 10000",
            None,
        ),
        (
            "dunlin.memory_limit",
            "lots",
            "cannot set dunlin.memory_limit: 'lots' is not an amount of bytes",
            Some("write a number with a unit, such as 64MiB or 1.5GB"),
        ),
        (
            "datafusion.optimizer.enable_round_robin_repartition",
            "true",
            "datafusion.optimizer.enable_round_robin_repartition is fixed at false: a round-robin exchange would be read whole by every task",
            None,
        ),
        (
            "datafusion.runtime.temp_directory",
            "/etc",
            "datafusion.runtime.temp_directory belongs to the server, not to a session",
            Some("SET dunlin.memory_limit limits the memory of a query"),
        ),
        (
            "dunlin.time_zone",
            "Mars",
            "cannot set dunlin.time_zone: 'Mars' is not a time zone",
            Some("write an offset such as +02:00"),
        ),
    ];
    for (key, value, message, hint) in cases {
        let error = Settings::default().set(key, value).expect_err(key);
        assert_eq!((error.message(), error.hint()), (message, hint));
    }
}
