//! From a URL to a metadata store.

use std::sync::Arc;

use dunlin_base::{Env, Error, Result};

use crate::embedded::EmbeddedStore;
use crate::etcd::EtcdStore;
use crate::sim::SimStore;
use crate::store::StoreRef;

/// The root of our keys where an etcd URL names none.
const ETCD_ROOT: &str = "dunlin";

/// What a URL names.
#[derive(Debug, PartialEq)]
enum Place {
    Memory,
    Directory(String),
    Etcd { endpoints: Vec<String>, root: String },
}

/// Opens the store at `memory:`, in a directory (`embedded:/dir` or a plain path), or in an etcd
/// (`etcd://host:port,host:port/root`; the root is `dunlin` if none is named). `Invalid` for
/// anything else, with what is wrong; other errors are those of the backend.
pub async fn open(url: &str, env: Env) -> Result<StoreRef> {
    match parse(url)? {
        Place::Memory => memory(env),
        Place::Directory(dir) => Ok(Arc::new(EmbeddedStore::open(dir, env).await?)),
        Place::Etcd { endpoints, root } => {
            Ok(Arc::new(EtcdStore::connect(&endpoints, &root, env).await?))
        }
    }
}

/// The simulation backend without faults: for processes whose state may die with them.
fn memory(env: Env) -> Result<StoreRef> {
    Ok(Arc::new(SimStore::new(env)))
}

fn parse(url: &str) -> Result<Place> {
    let bad = |why: &str| {
        Error::invalid(format!("'{url}' names no metadata store: {why}"))
            .with_hint("write a directory, embedded:/dir, etcd://host:2379/dunlin or memory:")
    };
    let directory = |dir: &str| match dir {
        "" => Err(bad("it names no directory")),
        dir => Ok(Place::Directory(dir.to_owned())),
    };
    match url.split_once(':') {
        None => directory(url),
        Some(("embedded", dir)) => directory(dir),
        Some(("memory", "")) => Ok(Place::Memory),
        Some(("etcd", rest)) => {
            let rest = rest.strip_prefix("//").ok_or_else(|| bad("'//' is missing"))?;
            let (hosts, root) = rest.split_once('/').unwrap_or((rest, ""));
            let endpoints: Vec<String> = hosts.split(',').map(str::to_owned).collect();
            if let Some(host) = endpoints.iter().find(|host| !is_endpoint(host)) {
                return Err(bad(&format!("'{host}' is not host:port")));
            }
            let root = match root.trim_matches('/') {
                "" => ETCD_ROOT,
                root => root,
            };
            Ok(Place::Etcd { endpoints, root: root.to_owned() })
        }
        Some((scheme, _)) => Err(bad(&format!("'{scheme}' is not known"))),
    }
}

fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
        !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|p| p > 0)
    })
}

#[cfg(test)]
mod tests {
    use dunlin_base::Kind;

    use super::*;

    #[test]
    fn a_url_names_a_place() {
        let etcd = |endpoints: &[&str], root: &str| Place::Etcd {
            endpoints: endpoints.iter().map(|e| (*e).to_owned()).collect(),
            root: root.into(),
        };
        let cases = [
            ("memory:", Place::Memory),
            ("/var/lib/dunlin", Place::Directory("/var/lib/dunlin".into())),
            ("data", Place::Directory("data".into())),
            ("embedded:/data", Place::Directory("/data".into())),
            ("etcd://a:2379", etcd(&["a:2379"], "dunlin")),
            ("etcd://a.b:2379,[::1]:1/x/y/", etcd(&["a.b:2379", "[::1]:1"], "x/y")),
        ];
        for (url, place) in cases {
            assert_eq!(parse(url).ok(), Some(place), "{url}");
        }
        let bad = [
            "",
            "embedded:",
            "memory:x",
            "etcd:a:1",
            "etcd://",
            "etcd://a",
            "etcd://a:0",
            "etcd://a:1,",
            "etcd://u@a:1",
            "zookeeper://a:1",
            "http://a:1",
        ];
        for url in bad {
            let error = parse(url).expect_err(url);
            assert!(error.kind() == Kind::Invalid && error.hint().is_some(), "{url}");
            assert!(error.message().contains(&format!("'{url}'")), "{error}");
        }
    }

    #[tokio::test]
    async fn a_path_opens_a_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("metadata").display().to_string();
        let store = open(&path, Env::real(None)).await.expect("made");
        assert_eq!(store.get("a").await.expect("ok"), None);
        drop(store);
        open(&format!("embedded:{path}"), Env::real(None)).await.expect("opened");
        assert_eq!(
            open("x:y", Env::real(None)).await.map_err(|e| e.kind()).err(),
            Some(Kind::Invalid)
        );
    }
}
