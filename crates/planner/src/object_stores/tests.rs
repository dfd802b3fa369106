//! Stores that cannot be made, cannot be reached, or were told how.

use std::time::Duration;

use dunlin_base::Kind;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::*;

fn stores(limits: StoreLimits) -> Arc<ObjectStores> {
    ObjectStores::new(Env::seeded(1), limits)
}

fn s3(endpoint: &str) -> StoreSpec {
    let options =
        [("aws.endpoint", endpoint), ("aws.region", "us-east-1"), ("aws.skip_signature", "true")];
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    StoreSpec { url: "s3://lake".to_owned(), options }
}

#[test]
fn what_tables_say_travels_to_another_process() {
    let here = stores(StoreLimits::default());
    here.configure(&s3("http://127.0.0.1:9000")).expect("known options");
    let there = stores(StoreLimits::default());
    let specs: Vec<_> = here.export().iter().map(|s| StoreSpec::from_proto(s.to_proto())).collect();
    assert_eq!(specs, [s3("http://127.0.0.1:9000")]);
    there.import(&specs).expect("own export");
    assert_eq!(there.options_for("s3://lake/some/file.parquet"), Some(specs[0].clone()));
    assert_eq!(there.options_for("s3://other/file.parquet"), None);
    assert!(!format!("{specs:?}").contains("9000"), "options are not shown");
}

#[test]
fn a_store_that_cannot_be_made_says_why() {
    let cases = [
        ("ftp://host", "", "there are no stores of scheme 'ftp://'"),
        (
            "s3://lake",
            "aws.no_such_thing",
            "stores such as s3://lake have no option 'aws.no_such_thing'",
        ),
        ("s3://lake", "azure.endpoint", "stores such as s3://lake have no option 'azure.endpoint'"),
        ("file:///", "aws.region", "stores such as file:// have no option 'aws.region'"),
        ("no url", "", "'no url' is not a URL: relative URL without a base"),
    ];
    for (url, option, message) in cases {
        let options = match option {
            "" => Vec::new(),
            option => vec![(option.to_owned(), "x".to_owned())],
        };
        let spec = StoreSpec { url: url.to_owned(), options };
        let error = stores(StoreLimits::default()).configure(&spec).expect_err(url);
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
    }
}

#[tokio::test]
async fn an_unreachable_store_is_named_within_its_time() {
    // A listener that never answers: the connection is made, then nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_url = format!("http://{}", silent.local_addr().expect("bound"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed_url = format!("http://{}", closed.local_addr().expect("bound"));
    drop(closed);
    let limits =
        StoreLimits { answer: Duration::from_millis(300), retries: 1, ..StoreLimits::default() };
    for (endpoint, says) in [
        (silent_url, "no answer from s3://lake/t/a.parquet within 0.3 s"),
        (closed_url, "s3://lake/t/a.parquet: cannot connect to the store"),
    ] {
        let stores = stores(limits);
        stores.configure(&s3(&endpoint)).expect("known options");
        let store = stores.get(&Url::parse("s3://lake/").expect("a URL")).expect("configured");
        let error = store.head(&Path::from("t/a.parquet")).await.expect_err("nobody there");
        let error = crate::errors::from_object_store(&error);
        assert_eq!(error.kind(), Kind::Retry, "{error}");
        assert!(error.message().starts_with(says), "{error}");
        let listed = store.list(Some(&Path::from("t"))).collect::<Vec<_>>().await;
        assert!(matches!(listed.as_slice(), [Err(_)]), "one error, then the end: {listed:?}");
    }
}

use futures::StreamExt;
