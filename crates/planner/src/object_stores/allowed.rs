//! The places that a process may open: folders of its disk, prefixes of stores, hosts of endpoints.
//!
//! Asked when a statement names a place ([`crate::catalog`]), when a store is made, and by every
//! store for every path ([`super::fence`]): so it also holds for plans that come from elsewhere.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use dunlin_base::{Error, Result};
use object_store::path::Path;
use url::Url;

use super::options;
use super::store_key;

/// Schemes of stores that can be allowed.
const SCHEMES: [&str; 10] =
    ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https"];

/// Places that a process may open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// `None`: all.
    places: Option<Arc<[Place]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A folder or file of this machine, without links and `..`.
    Local(PathBuf),
    /// What is below a prefix of a store.
    Remote { store: String, prefix: Path },
    /// All stores of a scheme.
    Scheme(String),
}

impl Allowed {
    /// No place is refused: one machine, one user.
    pub fn everything() -> Self {
        Self::default()
    }

    /// These places and what is below them: paths, URLs of stores (`s3://bucket/prefix`), endpoints
    /// (`https://minio:9000`), whole schemes (`s3://`). No place allows nothing. `Invalid`: a text
    /// that is no place.
    pub fn only<T: AsRef<str>>(places: impl IntoIterator<Item = T>) -> Result<Self> {
        let places: Vec<Place> =
            places.into_iter().map(|text| Place::parse(text.as_ref())).collect::<Result<_>>()?;
        Ok(Self { places: Some(places.into()) })
    }

    /// Whether anything is refused.
    pub(super) fn is_limited(&self) -> bool {
        self.places.is_some()
    }

    fn any(&self, allows: impl Fn(&Place) -> bool) -> bool {
        self.places.as_ref().is_none_or(|places| places.iter().any(allows))
    }

    /// Whether a path of this machine may be opened. Links are followed first; what is not there yet
    /// is as its name says.
    pub(crate) fn has_local(&self, path: &FsPath) -> bool {
        if !self.is_limited() {
            return true;
        }
        let Some(real) = real(path) else { return false };
        self.any(|place| matches!(place, Place::Local(folder) if real.starts_with(folder)))
    }

    /// Whether a path of a store (by its [`store_key`]) may be opened.
    pub(crate) fn has_remote(&self, key: &str, path: &Path) -> bool {
        self.any(|place| match place {
            Place::Local(_) => false,
            Place::Remote { store, prefix } => store == key && path.prefix_matches(prefix),
            Place::Scheme(scheme) => key.strip_prefix(scheme).is_some_and(|r| r.starts_with("://")),
        })
    }

    /// `Invalid` unless a store may be made in this way: some of it is allowed, and its options name
    /// no host or file that is not.
    pub(super) fn check_store(&self, url: &Url, said: &[(String, String)]) -> Result<()> {
        if !self.is_limited() {
            return Ok(());
        }
        let key = store_key(url);
        let some_of_it = |place: &Place| match place {
            Place::Local(_) => url.scheme() == "file",
            Place::Remote { store, .. } => *store == key,
            Place::Scheme(scheme) => scheme == url.scheme(),
        };
        if !self.any(some_of_it) {
            return Err(refused(&key));
        }
        options::check(url.scheme(), said, |endpoint| self.check_endpoint(endpoint))
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<()> {
        let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let path = url.as_ref().and_then(|url| Path::from_url_path(url.path()).ok());
        match (url, path) {
            (Some(url), Some(path)) if self.has_remote(&store_key(&url), &path) => Ok(()),
            (Some(url), _) => Err(refused(&store_key(&url))),
            (None, _) => Err(Error::invalid("an endpoint is no URL with http or https")),
        }
    }
}

/// The refusal of a place.
pub(crate) fn refused(place: &str) -> Error {
    Error::invalid(format!("location {place} is not among those this server may use"))
        .with_hint("an administrator can add it: dunlin serve --allow PLACE")
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("'{text}' cannot be allowed: {why}"));
        let Some((scheme, rest)) = text.split_once("://") else { return Self::folder(text) };
        if scheme == "file" {
            return Self::folder(rest);
        }
        if !SCHEMES.contains(&scheme) {
            return Err(bad("it is neither a path nor a URL of a store"));
        }
        if rest.trim_matches('/').is_empty() {
            return Ok(Self::Scheme(scheme.to_owned()));
        }
        let url = Url::parse(text).map_err(|_| bad("it is not a URL"))?;
        let prefix = Path::from_url_path(url.path()).map_err(|_| bad("it has no path"))?;
        Ok(Self::Remote { store: store_key(&url), prefix })
    }

    fn folder(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("'{text}' cannot be allowed: it is no path"));
        let path = std::path::absolute(text).map_err(|_| bad())?;
        real(&path).map(Self::Local).ok_or_else(bad)
    }
}

/// A path without links and `..`. What is not there yet is as its name says; `None` if that goes up.
fn real(path: &FsPath) -> Option<PathBuf> {
    let (above, real) =
        path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)))?;
    let rest = path.strip_prefix(above).ok()?;
    let plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    rest.components().all(plain).then(|| real.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn pairs(options: &[(&str, &str)]) -> Vec<(String, String)> {
        options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn prefixes_end_at_slashes_and_stores_do_not_mix() {
        let allowed = Allowed::only(["s3://lake/in/", "gs://", "https://data.example"]);
        let allowed = allowed.expect("places");
        for (key, path, yes) in [
            ("s3://lake", "in/x.csv", true),
            ("s3://lake", "in", true),
            ("s3://lake", "inside/x.csv", false),
            ("s3://lake", "", false),
            ("s3://lakes", "in/x.csv", false),
            ("gs://any", "x", true),
            ("https://data.example", "x", true),
            ("https://data.example:444", "x", false),
            ("http://data.example", "x", false),
        ] {
            assert_eq!(allowed.has_remote(key, &Path::from(path)), yes, "{key} {path}");
        }
        assert!(Allowed::only(["ftp://x"]).is_err() && Allowed::only([""]).is_err());
        assert!(!Allowed::only::<&str>([]).expect("none").has_local(FsPath::new("/etc/passwd")));
        assert!(Allowed::everything().has_local(FsPath::new("/etc/passwd")));
    }

    #[test]
    fn links_and_dots_do_not_leave_a_folder() {
        let (root, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        std::os::unix::fs::symlink(other.path(), root.path().join("link")).expect("a link");
        let allowed = Allowed::only([root.path().display().to_string()]).expect("a folder");
        for (path, yes) in [
            ("x/y.csv", true),
            ("", true),
            ("link", false),
            ("link/x.csv", false),
            ("..", false),
            ("nothing/../../x", false),
        ] {
            assert_eq!(allowed.has_local(&root.path().join(path)), yes, "{path}");
        }
        let beside = format!("{}x", root.path().display());
        assert!(!allowed.has_local(FsPath::new(&beside)));
    }

    #[test]
    fn options_open_no_hosts_and_files() {
        let places = ["s3://lake", "az://lake", "https://minio:9000", "/tmp"];
        let allowed = Allowed::only(places).expect("places");
        let good: &[&[(&str, &str)]] = &[
            &[],
            &[("aws.endpoint", "https://minio:9000"), ("s3.region", "eu-west-1")],
            &[("aws.access_key_id", "a"), ("aws.aws_secret_access_key", "b")],
        ];
        for options in good {
            allowed.check_store(&url("s3://lake/x"), &pairs(options)).expect("allowed");
        }
        for (at, key, value) in [
            ("s3://other", "aws.region", "eu-west-1"),
            ("ftp://lake", "aws.region", "eu-west-1"),
            ("s3://lake", "aws.endpoint", "http://169.254.169.254"),
            ("s3://lake", "aws.endpoint", "https://minio:9001"),
            ("s3://lake", "s3.endpoint_url_s3", "http://10.0.0.1"),
            ("s3://lake", "aws.region", "evil.example/"),
            ("s3://lake", "aws.bucket", "other"),
            // The endpoint would be asked without the bucket's name: its paths name any bucket.
            ("s3://lake", "aws.virtual_hosted_style_request", "true"),
            ("s3://lake", "aws.web_identity_token_file", "/etc/passwd"),
            ("s3://lake", "aws.metadata_endpoint", "http://10.0.0.1"),
            ("s3://lake", "aws.container.credentials.full_uri", "http://10.0.0.1"),
            ("s3://lake", "aws.proxy_url", "http://10.0.0.1"),
            ("az://lake", "azure.account_name", "somebody"),
            ("az://lake", "azure.container_name", "other"),
            ("gs://lake", "google.service_account", "/etc/passwd"),
        ] {
            let checked = allowed.check_store(&url(at), &pairs(&[(key, value)]));
            assert!(checked.is_err(), "{at} {key} {value}");
        }
        let all = Allowed::everything();
        let file = pairs(&[("aws.web_identity_token_file", "/x")]);
        all.check_store(&url("s3://any"), &file).expect("not limited");
    }
}
