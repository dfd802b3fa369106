//! From a URL to a blob store.

use std::sync::Arc;

use dunlin_base::{Env, Error, Result};
use url::Url;

use super::{BlobsRef, FolderBlobs, ObjectBlobs};

/// Opens blobs at `memory:`, at a folder (`file:///dir` or a plain path), or below a prefix of an
/// object store (`s3://bucket/prefix`, `az://`, `gs://`, with `options` such as `region` or
/// `endpoint` for it). `Invalid` for anything else.
pub async fn open(url: &str, options: &[(String, String)], env: Env) -> Result<BlobsRef> {
    if url == "memory:" {
        return Ok(Arc::new(ObjectBlobs::memory(env)));
    }
    let bad = |why: String| {
        Error::invalid(format!("'{url}' names no blob store: {why}"))
            .with_hint("write a folder, file:///folder, s3://bucket/prefix or memory:")
    };
    if !url.contains(':') {
        if url.is_empty() {
            return Err(bad("it is empty".into()));
        }
        return Ok(Arc::new(FolderBlobs::open(url, env).await?));
    }
    let parsed = Url::parse(url).map_err(|e| bad(e.to_string()))?;
    if parsed.scheme() == "file" {
        let folder = parsed.to_file_path().map_err(|()| bad("it is not a local path".into()))?;
        return Ok(Arc::new(FolderBlobs::open(folder, env).await?));
    }
    let options = options.iter().map(|(name, value)| (name, value));
    let (store, root) = object_store::parse_url_opts(&parsed, options)
        .map_err(|e| bad(e.to_string()).with_source(e))?;
    Ok(Arc::new(ObjectBlobs::new(Arc::from(store), root, env)))
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
        }
    }
}
