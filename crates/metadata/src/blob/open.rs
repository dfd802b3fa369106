//! From a URL to a blob store.

use std::path::PathBuf;
use std::sync::Arc;

use dunlin_base::{Env, Error, Result};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use super::synced::SyncedFolder;
use super::{Begun, BlobsRef, FolderBlobs, ObjectBlobs, Unfinished};

/// What a URL names.
enum Place {
    Memory,
    Folder(PathBuf),
    Store(Url),
}

/// A folder of an object store, for data that are no blobs but lie beside them.
#[derive(Clone, Debug)]
pub struct ObjectPlace {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The folder in it.
    pub root: Path,
    /// How writes there are ended that somebody else began.
    pub begun: Begun,
}

impl ObjectPlace {
    /// The same place as a blob store, for listing and removing what lies there.
    pub fn blobs(&self, env: Env) -> BlobsRef {
        Arc::new(ObjectBlobs::new(Arc::clone(&self.store), self.root.clone(), env))
    }

    /// What was begun there and not ended.
    pub fn unfinished(&self, env: Env) -> Unfinished {
        Unfinished::new(self, env)
    }
}

/// Opens blobs at `memory:`, at a folder (`file:///dir` or a plain path), or below a prefix of an
/// object store (`s3://bucket/prefix`, `az://`, `gs://`, with `options` such as `region` or
/// `endpoint` for it). `Invalid` for anything else.
pub async fn open(url: &str, options: &[(String, String)], env: Env) -> Result<BlobsRef> {
    match place(url)? {
        Place::Memory => Ok(Arc::new(ObjectBlobs::memory(env))),
        Place::Folder(folder) => Ok(Arc::new(FolderBlobs::open(folder, env).await?)),
        Place::Store(parsed) => {
            let ObjectPlace { store, root, .. } = connect(url, &parsed, options)?;
            Ok(Arc::new(ObjectBlobs::new(store, root, env)))
        }
    }
}

/// Opens the place that [`open`] would open, as an object store. A folder is made if there is none;
/// what is put there is synced before the put returns. Each call with `memory:` opens another memory. `Invalid` as for
/// [`open`].
pub async fn open_objects(
    url: &str,
    options: &[(String, String)],
    env: Env,
) -> Result<ObjectPlace> {
    match place(url)? {
        Place::Memory => {
            let (store, root) = (Arc::new(InMemory::new()), Path::default());
            Ok(ObjectPlace { store, root, begun: Begun::Nothing })
        }
        Place::Folder(folder) => {
            let what = folder.display().to_string();
            let bad = |e: String| Error::invalid(format!("folder '{what}': {e}"));
            let make = move || {
                std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
                folder.canonicalize().map_err(|e| e.to_string())
            };
            let folder = env.blocking(make).await.map_err(Error::bug)?.map_err(bad)?;
            let begun = Begun::Files(folder.clone());
            let store = SyncedFolder::new(folder, env).map_err(|e| bad(e.to_string()))?;
            Ok(ObjectPlace { store: Arc::new(store), root: Path::default(), begun })
        }
        Place::Store(parsed) => connect(url, &parsed, options),
    }
}

fn bad(url: &str, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("'{url}' names no blob store: {why}"))
        .with_hint("write a folder, file:///folder, s3://bucket/prefix or memory:")
}

fn place(url: &str) -> Result<Place> {
    if url == "memory:" {
        return Ok(Place::Memory);
    }
    if !url.contains(':') {
        if url.is_empty() {
            return Err(bad(url, "it is empty"));
        }
        return Ok(Place::Folder(url.into()));
    }
    let parsed = Url::parse(url).map_err(|e| bad(url, e))?;
    if parsed.scheme() == "file" {
        let folder = parsed.to_file_path().map_err(|()| bad(url, "it is not a local path"))?;
        return Ok(Place::Folder(folder));
    }
    Ok(Place::Store(parsed))
}

/// One value under both of its faces. Options that the store does not know are for others.
macro_rules! both {
    ($builder:ty, $url:expr, $options:expr) => {{
        let builder = <$builder>::new().with_url($url.to_string());
        let store = Arc::new(
            $options
                .iter()
                .fold(builder, |builder, (name, value)| match name.to_ascii_lowercase().parse() {
                    Ok(name) => builder.with_config(name, value),
                    Err(_) => builder,
                })
                .build()?,
        );
        (Arc::clone(&store) as Arc<dyn ObjectStore>, Begun::Ids(store))
    }};
}

/// As [`object_store::parse_url_opts`], which does not say how uploads are aborted by their ids.
fn store_of(
    url: &Url,
    options: &[(String, String)],
) -> object_store::Result<(Arc<dyn ObjectStore>, Path, Begun)> {
    let (scheme, root) = ObjectStoreScheme::parse(url)?;
    let root = Path::parse(root)?;
    let (store, begun) = match scheme {
        ObjectStoreScheme::AmazonS3 => both!(AmazonS3Builder, url, options),
        ObjectStoreScheme::GoogleCloudStorage => both!(GoogleCloudStorageBuilder, url, options),
        ObjectStoreScheme::MicrosoftAzure => both!(MicrosoftAzureBuilder, url, options),
        _ => {
            let options = options.iter().map(|(name, value)| (name, value));
            let (store, _) = object_store::parse_url_opts(url, options)?;
            (Arc::from(store), Begun::Nothing)
        }
    };
    Ok((store, root, begun))
}

fn connect(url: &str, parsed: &Url, options: &[(String, String)]) -> Result<ObjectPlace> {
    let opened = store_of(parsed, options);
    let (store, root, begun) = opened.map_err(|e| bad(url, &e).with_source(e))?;
    Ok(ObjectPlace { store, root, begun })
}

#[cfg(test)]
mod tests {
    use dunlin_base::Kind;

    use super::*;

    #[tokio::test]
    async fn a_url_picks_the_store() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().display().to_string();
        let options = [("region".to_owned(), "here".to_owned())];
        let urls = [path.clone(), format!("file://{path}"), "memory:".into(), "s3://b/x".into()];
        let kinds = ["FolderBlobs", "FolderBlobs", "ObjectBlobs", "ObjectBlobs"];
        for (url, kind) in urls.iter().zip(kinds) {
            let blobs = open(url, &options, Env::real(None)).await.expect("opened");
            assert!(format!("{blobs:?}").starts_with(kind), "{url}");
        }
        for bad in ["", "ftp://x/y", "file://host/x", "s3:"] {
            let opened = open(bad, &[], Env::real(None)).await;
            assert_eq!(opened.map_err(|e| e.kind()).err(), Some(Kind::Invalid), "{bad}");
            let opened = open_objects(bad, &[], Env::real(None)).await;
            assert_eq!(opened.map_err(|e| e.kind()).err(), Some(Kind::Invalid), "{bad}");
        }
    }

    #[tokio::test]
    async fn stores_with_ids_for_uploads_are_known() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = |text: &str| text.to_owned();
        let options = [
            ("AWS_REGION", "here"),
            ("aws_access_key_id", "key"),
            ("aws_secret_access_key", "secret"),
            ("azure_storage_account_name", "name"),
            ("GOOGLE_SKIP_SIGNATURE", "true"),
            ("HOME", "/nowhere"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (url, begun, root) in [
            (url("s3://bucket/some/prefix"), "Ids", "some/prefix"),
            (url("gs://bucket/some"), "Ids", "some"),
            (url("az://container/some"), "Ids", "some"),
            (url("https://host/some"), "Nothing", "some"),
            (url("memory:"), "Nothing", ""),
            (dir.path().display().to_string(), "Files(", ""),
        ] {
            let place = open_objects(&url, &options, Env::real(None)).await.expect("opened");
            let found = format!("{:?}", place.begun);
            assert!(found.starts_with(begun) && place.root.as_ref() == root, "{url}: {place:?}");
        }
    }

    #[tokio::test]
    async fn objects_lie_beside_the_blobs_of_the_same_url() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = dir.path().join("new").display().to_string();
        let env = Env::real(None);
        let objects = open_objects(&url, &[], env.clone()).await.expect("opened");
        objects.blobs(env.clone()).put("shuffle/w/q/0", "x".into()).await.expect("written");
        let blobs = open(&url, &[], env).await.expect("opened");
        assert_eq!(blobs.list("").await.expect("listed"), ["shuffle/w/q/0"]);
    }
}
