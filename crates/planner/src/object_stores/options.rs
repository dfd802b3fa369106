//! Options of stores that may be given where places are limited: those that name no host, no file
//! and no other bucket. A list of what is harmless, since one of what is not would never be whole.
//! (`virtual_hosted_style_request` takes the bucket out of what an endpoint is asked for: the first
//! word of a path would name any bucket.)

use dunlin_base::{Error, Result};

/// Credentials and switches, without the provider's prefix.
const AWS: [&str; 14] = [
    "access_key_id",
    "secret_access_key",
    "session_token",
    "token",
    "skip_signature",
    "unsigned_payload",
    "checksum_algorithm",
    "request_payer",
    "disable_tagging",
    "server_side_encryption",
    "sse_kms_key_id",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "allow_http",
];
const AZURE: [&str; 13] = [
    "account_key",
    "access_key",
    "master_key",
    "sas_key",
    "sas_token",
    "bearer_token",
    "token",
    "client_id",
    "client_secret",
    "skip_signature",
    "disable_tagging",
    "encryption_key",
    "allow_http",
];
const GOOGLE: [&str; 1] = ["skip_signature"];

/// `Invalid` for an option that is not harmless. `endpoint` judges the hosts that options name.
pub(super) fn check(
    scheme: &str,
    options: &[(String, String)],
    endpoint: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    for (key, value) in options {
        let name = key.split_once('.').map_or(key.as_str(), |(_, name)| name).replace('.', "_");
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let harmless = match scheme {
            "s3" | "s3a" => match name.trim_start_matches("aws_") {
                "endpoint" | "endpoint_url" | "endpoint_url_s3" => {
                    endpoint(value)?;
                    true
                }
                // They become part of a host's name.
                "region" | "default_region" => plain,
                name => AWS.contains(&name),
            },
            "az" | "azure" | "adl" | "abfs" | "abfss" => {
                match name.trim_start_matches("azure_").trim_start_matches("storage_") {
                    "endpoint" => {
                        endpoint(value)?;
                        true
                    }
                    "account_name" if plain => {
                        endpoint(&format!("https://{value}.blob.core.windows.net"))?;
                        true
                    }
                    "tenant_id" | "authority_id" => plain,
                    name => AZURE.contains(&name),
                }
            }
            "gs" => GOOGLE.contains(&name.trim_start_matches("google_")),
            // The store refuses all of them by name.
            _ => true,
        };
        if !harmless {
            return Err(Error::invalid(format!("this server does not take the option '{key}'"))
                .with_hint(
                    "it may name a host, a file or another bucket: set it in the \
                            environment of the server",
                ));
        }
    }
    Ok(())
}
