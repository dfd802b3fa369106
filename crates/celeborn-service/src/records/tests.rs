//! Records of applications and shuffles, on the simulated store.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_base::Kind;
use dunlin_celeborn::sasl::Key;
use dunlin_metadata::sim::SimStore;

use super::*;

pub(super) const TTL: Duration = Duration::from_secs(300);

pub(super) fn records() -> (Records, Env) {
    let env = Env::seeded(3);
    (Records::new(Arc::new(SimStore::new(env.clone())), env.clone(), TTL), env)
}

#[tokio::test(start_paused = true)]
async fn an_application_lives_as_long_as_it_beats() {
    let (records, env) = records();
    records.open(("app", 4), "h", None).await.expect("a first shuffle");
    for _ in 0..4 {
        env.sleep(TTL / 2).await;
        records.beat("app", None, None).await.expect("alive");
    }
    assert_eq!(records.shuffles("app").await.expect("read"), [4]);
    env.sleep(TTL * 2).await;
    assert_eq!(records.apps().await.expect("read"), []);
    assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
    records.beat("app", None, None).await.expect("it begins anew");
    assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_shuffle_keeps_its_id_until_it_is_closed() {
    let (records, _) = records();
    let first = records.open(("a/b", 1), "h", None).await.expect("opened");
    assert_eq!(records.open(("a/b", 1), "h", None).await.expect("again"), first);
    let other = records.open(("a/b", 12), "h", None).await.expect("opened");
    assert_eq!(records.find("a/b", 1).await.expect("read"), Some(first));
    assert_eq!(records.find("a", 1).await.expect("read"), None);
    assert_eq!(records.shuffles("a/b").await.expect("read"), [1, 12]);
    records.close("a/b", 1).await.expect("closed");
    records.close("a/b", 1).await.expect("twice is once");
    assert_eq!(records.queries().await.expect("read"), [other]);
    let anew = records.open(("a/b", 1), "h", None).await.expect("opened anew");
    assert_ne!(anew, first, "data of the first may be left somewhere");
}

#[tokio::test(start_paused = true)]
async fn an_end_takes_the_shuffles_along_and_nobody_elses() {
    let (records, _) = records();
    for app in ["a", "a.1"] {
        records.open((app, 0), "h", None).await.expect("opened");
    }
    records.end("a").await.expect("ended");
    records.end("a").await.expect("twice is once");
    let names: Vec<_> = records.apps().await.expect("read").into_iter().map(|a| a.0).collect();
    assert_eq!(names, ["a.1"]);
    assert_eq!(records.queries().await.expect("read").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_application_says_of_itself_is_kept() {
    let (records, _) = records();
    let extra = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let about = App::about("t".to_owned(), "u".to_owned(), extra);
    let said = records.beat("app", Some(&about), None).await.expect("registered");
    let kept = records.beat("app", None, None).await.expect("alive");
    assert_eq!((&said, kept.user.as_str()), (&kept, "u"));
    let again = records.beat("app", Some(&about), None).await.expect("the same again");
    assert_eq!(again, said);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_bound_to_the_secret_that_came_first_until_the_application_ends() {
    let (records, env) = records();
    let [first, other] = ["first", "other"].map(|secret| Key::new("app", secret));
    let about = App::about("t".to_owned(), "u".to_owned(), BTreeMap::new());
    records.beat("app", None, Some(first)).await.expect("registered");
    records.beat("app", None, Some(first)).await.expect("the same again");
    records.beat("app", Some(&about), Some(first)).await.expect("alive");
    assert_eq!(records.key("app").await.expect("read").map(|(key, _)| key), Some(first));
    for refused in [
        records.beat("app", None, Some(other)).await.map(drop),
        records.open(("app", 0), "h", Some(other)).await.map(drop),
        records.is_still("app", other).await,
    ] {
        let error = refused.expect_err("another secret");
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    env.sleep(TTL * 2).await;
    assert_eq!(records.key("app").await.expect("read"), None);
    records.is_still("app", other).await.expect("it has ended");
    records.beat("app", None, Some(other)).await.expect("the name is free");
    records.end("app").await.expect("ended");
    records.beat("app", None, None).await.expect("one that was not asked");
    let error = records.beat("app", None, Some(first)).await.expect_err("it is taken");
    assert!(error.message().contains("registered already"), "{error}");
}

#[test]
fn names_read_back_whatever_is_in_them() {
    for name in ["app-1_2.x", "a/b", "%", "%2", "ä\n", "%41"] {
        assert_eq!(unescaped(&escaped(name).expect("a name")), name);
    }
    assert!(escaped("").is_err() && escaped(&"/".repeat(200)).is_err());
}
