//! What may be written in `[shuffle]`, and what it becomes.

use super::*;

#[test]
fn every_field_has_a_key_that_says_what_it_is_for() {
    let transit = Some(FromText(ByteCount::mib(64)));
    let shuffle = Shuffle { objects: Some("o".into()), transit, ..Shuffle::default() };
    let fields = serde_json::to_value(shuffle).expect("serialises");
    let mut fields: Vec<&String> = fields.as_object().expect("a struct").keys().collect();
    let mut keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    fields.sort();
    keys.sort_unstable();
    assert_eq!(fields, keys);
}

#[test]
fn values_that_do_not_fit_name_their_key() {
    Shuffle::default().validate().expect("defaults fit");
    let (disks, objects) = (TierName::Disks, TierName::Objects);
    let disk = |text: &str| FromText(text.parse::<DiskText>().expect("a disk"));
    let usual = Shuffle::default;
    let bytes = |n| FromText(ByteCount(n));
    let cases = [
        ("tiers", Shuffle { tiers: vec![disks, disks], ..usual() }),
        ("disks", Shuffle { disks: vec![disk("/a"), disk("/a:hdd")], ..usual() }),
        ("disks", Shuffle { disks: vec![disk("/a")], tiers: vec![objects], ..usual() }),
        ("objects", Shuffle { objects: Some("s3://b/x".into()), ..usual() }),
        ("transit", Shuffle { transit: Some(FromText(ByteCount::mib(31))), ..usual() }),
        ("when-full", Shuffle { when_full: WhenFullName::Evict, ..usual() }),
        ("sync-pushes", Shuffle { sync_pushes: true, tiers: Vec::new(), ..usual() }),
        ("flush-bytes", Shuffle { flush_bytes: bytes(1), ..usual() }),
        ("extent-bytes", Shuffle { extent_bytes: bytes(1 << 20), ..usual() }),
        ("split-hard", Shuffle { split_hard: bytes(1 << 20), ..usual() }),
        ("memory-mark", Shuffle { memory_mark: 100, ..usual() }),
        ("drain-limit", Shuffle { drain_limit: FromText(Span(DRAIN_LIMIT_MAX * 2)), ..usual() }),
    ];
    for (key, shuffle) in cases {
        let error = shuffle.validate().expect_err(key);
        assert!(error.message().starts_with(&format!("shuffle.{key} ")), "{key}: {error}");
    }
}

#[test]
fn what_is_configured_is_what_a_worker_is_given() {
    let text = r#"
        disks = ["/a", "/b:hdd:capacity=1GiB"]
        tiers = ["disks", "objects"]
        objects = "s3://bucket/x"
        transit = "256MiB"
        when-full = "evict"
        sync = true
        sync-pushes = true
        split-soft = "1MiB"
        split-hard = "2MiB"
        flush-bytes = "3MiB"
        extent-bytes = "4MiB"
        memory-mark = 50
        drain-limit = "5m"
    "#;
    let shuffle: Shuffle = toml::from_str(text).expect("a section");
    shuffle.validate().expect("it fits");
    let StorageOptions { limits, objects, transit, drain_limit } = shuffle.storage();
    assert_eq!(transit, Some(ByteCount::mib(256)));
    assert_eq!(objects.as_deref(), Some("s3://bucket/x"));
    let paths: Vec<_> = limits.disks.iter().map(|d| d.path.to_str().expect("a text")).collect();
    assert_eq!(paths, ["/a", "/b"]);
    assert_eq!(limits.tiers, [Tier::Disks, Tier::Objects]);
    assert_eq!(limits.when_full, WhenFull::Evict);
    assert!(limits.sync && limits.sync_pushes);
    let bytes = [limits.split_soft, limits.split_hard, limits.flush_bytes, limits.extent_bytes];
    assert_eq!(bytes, [1, 2, 3, 4].map(ByteCount::mib));
    assert_eq!((limits.memory_mark_percent, drain_limit), (50, Duration::from_secs(300)));
}
