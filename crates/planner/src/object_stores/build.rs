//! Makes a store of a URL, the environment and options.

use std::str::FromStr;
use std::sync::Arc;

use dunlin_base::{Env, Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use super::fence::Fenced;
use super::guard::Guarded;
use super::hidden::Hidden;
use super::{Allowed, StoreLimits, store_key};
use crate::errors::from_object_store;

/// The store of `url`, without what writes stage in it, within the allowed places. Explicit options
/// win over the environment.
pub(super) fn build(
    url: &Url,
    options: &[(String, String)],
    env: &Env,
    limits: StoreLimits,
    allowed: &Allowed,
) -> Result<Arc<dyn ObjectStore>> {
    let mut store = whole(url, options, env, limits)?;
    if allowed.is_limited() {
        store = Arc::new(Fenced::new(store, url, allowed.clone()));
    }
    Ok(Arc::new(Hidden::new(store)))
}

fn whole(
    url: &Url,
    options: &[(String, String)],
    env: &Env,
    limits: StoreLimits,
) -> Result<Arc<dyn ObjectStore>> {
    let name = store_key(url);
    let client = client(limits);
    let failed = |e: object_store::Error| from_object_store(&e).context(format!("store {name}"));
    let retry = retry(limits);
    let remote: Arc<dyn ObjectStore> = match url.scheme() {
        "file" => {
            refuse_options(&name, options)?;
            return Ok(Arc::new(LocalFileSystem::new()));
        }
        "s3" | "s3a" => {
            let keys = keys::<AmazonS3ConfigKey>(&name, options, &["aws", "s3"])?;
            let builder = AmazonS3Builder::from_env().with_url(url.as_str());
            let said = builder.get_config_value(&AmazonS3ConfigKey::Client(ALLOW_HTTP));
            let plain = plain_http(options, "endpoint") || is_true(said);
            let builder = builder.with_client_options(client.with_allow_http(plain));
            let builder = keys.into_iter().fold(builder, |b, (k, v)| b.with_config(k, v));
            Arc::new(builder.with_retry(retry).build().map_err(failed)?)
        }
        "gs" => {
            let keys = keys::<GoogleConfigKey>(&name, options, &["google", "gcp", "gs"])?;
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
            let builder = builder.with_client_options(client);
            let builder = keys.into_iter().fold(builder, |b, (k, v)| b.with_config(k, v));
            Arc::new(builder.with_retry(retry).build().map_err(failed)?)
        }
        "az" | "azure" | "adl" | "abfs" | "abfss" => {
            let keys = keys::<AzureConfigKey>(&name, options, &["azure", "az"])?;
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            let said = builder.get_config_value(&AzureConfigKey::Client(ALLOW_HTTP));
            let plain = plain_http(options, "endpoint") || is_true(said);
            let builder = builder.with_client_options(client.with_allow_http(plain));
            let builder = keys.into_iter().fold(builder, |b, (k, v)| b.with_config(k, v));
            Arc::new(builder.with_retry(retry).build().map_err(failed)?)
        }
        "http" | "https" => {
            refuse_options(&name, options)?;
            let builder = HttpBuilder::new().with_url(&url[..Position::BeforePath]);
            let builder = builder.with_client_options(client.with_allow_http(true));
            Arc::new(builder.with_retry(retry).build().map_err(failed)?)
        }
        other => {
            return Err(Error::invalid(format!("there are no stores of scheme '{other}://'"))
                .with_hint("use a path, or a URL with file, s3, gs, az, abfs, http or https"));
        }
    };
    Ok(Arc::new(Guarded::new(remote, name, env.clone(), limits)))
}

/// The switch of the environment for stores without encryption: the limits of ours, which come with
/// a switch of their own, must not undo it.
const ALLOW_HTTP: ClientConfigKey = ClientConfigKey::AllowHttp;

fn is_true(value: Option<String>) -> bool {
    let yes = |value: &str| matches!(value, "true" | "1" | "on" | "yes" | "y");
    value.is_some_and(|value| yes(&value.to_ascii_lowercase()))
}

fn client(limits: StoreLimits) -> ClientOptions {
    ClientOptions::new().with_connect_timeout(limits.connect).with_timeout(limits.body)
}

fn retry(limits: StoreLimits) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: limits.retries,
        // The last retry must have time to be answered.
        retry_timeout: limits.answer / 2,
    }
}

/// An endpoint written `http://...` says itself that it is not encrypted.
fn plain_http(options: &[(String, String)], name: &str) -> bool {
    let ends = |key: &str| key.rsplit('.').next().is_some_and(|last| last.ends_with(name));
    options.iter().any(|(key, value)| ends(key) && value.starts_with("http://"))
}

/// The options as keys of a builder; `aws.endpoint` and `s3.endpoint` are `aws_endpoint` there.
fn keys<K: FromStr>(
    store: &str,
    options: &[(String, String)],
    prefixes: &[&str],
) -> Result<Vec<(K, String)>> {
    let parse = |(key, value): &(String, String)| {
        let unknown = || {
            let first = prefixes[0];
            Error::invalid(format!("stores such as {store} have no option '{key}'"))
                .with_hint(format!("they begin with '{first}.'"))
        };
        let (prefix, name) = key.split_once('.').ok_or_else(unknown)?;
        if !prefixes.contains(&prefix) {
            return Err(unknown());
        }
        let full = format!("{}_{}", prefixes[0], name.replace('.', "_"));
        let key = full.parse().or_else(|_| name.parse()).map_err(|_| unknown())?;
        Ok((key, value.clone()))
    };
    options.iter().map(parse).collect()
}

fn refuse_options(store: &str, options: &[(String, String)]) -> Result<()> {
    match options.first() {
        None => Ok(()),
        Some((key, _)) => {
            Err(Error::invalid(format!("stores such as {store} have no option '{key}'")))
        }
    }
}
