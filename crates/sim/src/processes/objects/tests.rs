//! The store as the product's own client sees it, served well and badly.

use dunlin_base::Kind;
use dunlin_metadata::blob::{self, BlobsRef};

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

async fn opened(env: &Env) -> (Objects, BlobsRef) {
    let objects = Objects::open(env, "127.0.0.1").await.expect("a port");
    let variables = objects.variables().into_iter();
    let options: Vec<_> = variables.map(|(name, value)| (name.to_lowercase(), value)).collect();
    let blobs = blob::open(&objects.url("some/where"), &options, env.clone()).await;
    (objects, blobs.expect("a URL of blobs"))
}

/// Serves badly until a request was struck, then well, while something is done.
async fn while_served<T>(objects: &Objects, service: Service, work: impl Future<Output = T>) -> T {
    let before = objects.struck();
    objects.set(service);
    let heal = async {
        while objects.struck() == before {
            objects.shared.env.sleep(Duration::from_millis(1)).await;
        }
        objects.set(Service::Fine);
    };
    let both = objects.shared.env.timeout(LIMIT, async { tokio::join!(work, heal).0 }).await;
    both.expect("an answer in time")
}

#[tokio::test]
async fn blobs_are_put_listed_in_pages_read_and_deleted() {
    let env = Env::real(None);
    let (objects, blobs) = opened(&env).await;
    let names: Vec<String> = (0..120).map(|number| format!("q/{number:03} &<'>")).collect();
    for name in &names {
        blobs.put(name, name.clone().into()).await.expect("put");
    }
    blobs.put("other", "x".into()).await.expect("put");
    assert_eq!(blobs.list("q/").await.expect("listed"), names);
    assert_eq!(blobs.get(&names[7]).await.expect("read"), names[7].as_bytes());
    let none = blobs.get("q/none").await.map_err(|e| e.kind());
    assert_eq!(none, Err(Kind::Lost));
    blobs.delete_prefix("q/").await.expect("deleted");
    assert_eq!(objects.keys(""), ["some/where/other"]);
    assert_eq!(objects.struck(), 0);
}

#[tokio::test]
async fn a_store_that_is_busy_or_loses_its_answer_is_asked_again() {
    let env = Env::real(None);
    let (objects, blobs) = opened(&env).await;
    for (number, service) in
        [Service::Busy, Service::Mute, Service::Slow(5)].into_iter().enumerate()
    {
        let name = format!("blob-{number}");
        let put = while_served(&objects, service, blobs.put(&name, "content".into())).await;
        put.expect("put in the end");
        let got = while_served(&objects, service, blobs.get(&name)).await;
        assert_eq!(got.expect("read in the end"), "content", "{service:?}");
    }
    assert_eq!(objects.struck(), 6);
}

#[tokio::test]
async fn a_body_that_ends_early_is_read_to_its_end_or_an_error_to_ask_again() {
    let env = Env::real(None);
    let (objects, blobs) = opened(&env).await;
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    blobs.put("large", content.clone().into()).await.expect("put");
    let got = while_served(&objects, Service::Short, blobs.get("large")).await;
    assert_eq!(got.expect("the rest was asked for"), content);
    let listed = while_served(&objects, Service::Short, blobs.list("")).await;
    assert_eq!(listed.map_err(|e| e.kind()), Err(Kind::Retry));
    assert_eq!(blobs.list("").await.expect("listed"), ["large"]);
}
