//! What a call says about its caller: user, session, wishes.

use std::time::Duration;

use dunlin_base::{Error, Result};
use dunlin_proto::door::{Option as SessionOption, Session};
use parking_lot::Mutex;
use tonic::metadata::{MetadataMap, MetadataValue};

use super::RESUMABLE;
use super::fault::{Outcome, forbidden};
use super::seal::{Purpose, Signer, from_text, to_text};

/// The cookie that a session lives in.
const COOKIE: &str = "dunlin_session";

/// Longest session: it comes with every call.
const SESSION_BYTES_MAX: usize = 2048;

/// Options of a session by full name.
pub(super) type Options = Vec<(String, String)>;

/// Who calls, and what was said about how.
pub(super) struct Caller {
    pub(super) user: String,
    /// What SET has changed.
    pub(super) options: Options,
    /// It returned our cookie: what SET changes will not be forgotten.
    pub(super) keeps_cookies: bool,
    /// It can resume a result, and says when it is done.
    pub(super) resumable: bool,
    /// How long it waits for the whole call.
    pub(super) limit: Option<Duration>,
    changed: Mutex<Option<Options>>,
}

impl Caller {
    /// Reads the headers of a call of `user`.
    pub(super) async fn read(
        user: String,
        metadata: &MetadataMap,
        signer: &Signer,
    ) -> Outcome<Self> {
        let session = match cookie(metadata) {
            Some(text) => {
                let sealed = from_text(text, Purpose::Session)?;
                Some(signer.open_sealed::<Session>(Purpose::Session, &sealed).await?)
            }
            None => None,
        };
        if session.as_ref().is_some_and(|session| session.user != user) {
            return Err(forbidden("the session cookie is another user's"));
        }
        let keeps_cookies = session.is_some();
        let options = session.map(|session| session.options).unwrap_or_default();
        Ok(Self {
            user,
            options: options.into_iter().map(|o| (o.name, o.value)).collect(),
            keeps_cookies,
            resumable: metadata.get(RESUMABLE).is_some_and(|value| value == "1"),
            limit: metadata.get("grpc-timeout").and_then(|t| limit(t.to_str().ok()?)),
            changed: Mutex::new(None),
        })
    }

    /// The session has other options from now on. `Exhausted`: they are too long for a cookie.
    pub(super) fn change(&self, options: Options) -> Result<()> {
        let bytes: usize = options.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        if bytes > SESSION_BYTES_MAX {
            return Err(Error::exhausted(format!(
                "the session's options take {bytes} bytes, more than {SESSION_BYTES_MAX}"
            ))
            .with_hint("RESET those that are not needed"));
        }
        *self.changed.lock() = Some(options);
        Ok(())
    }

    /// The cookie to send: with what has changed, or empty to see whether it comes back.
    pub(super) fn cookie(
        &self,
        signer: &Signer,
    ) -> Result<Option<MetadataValue<tonic::metadata::Ascii>>> {
        let options = match self.changed.lock().take() {
            Some(options) => options,
            None if self.keeps_cookies => return Ok(None),
            None => Options::new(),
        };
        cookie_for(&self.user, options, signer).map(Some)
    }
}

/// The cookie of a session.
pub(super) fn cookie_for(
    user: &str,
    options: Options,
    signer: &Signer,
) -> Result<MetadataValue<tonic::metadata::Ascii>> {
    let options = options.into_iter().map(|(name, value)| SessionOption { name, value }).collect();
    let session = Session { user: user.to_owned(), options };
    let text = to_text(&signer.seal(Purpose::Session, &session)?);
    MetadataValue::try_from(format!("{COOKIE}={text}"))
        .map_err(|e| Error::bug("a cookie is no header").with_source(e))
}

fn cookie(metadata: &MetadataMap) -> Option<&str> {
    let headers = metadata.get_all("cookie").into_iter().filter_map(|h| h.to_str().ok());
    let mut pairs = headers.flat_map(|header| header.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('=')).map(|v| v.trim_matches('"'))
}

/// A `grpc-timeout`: at most eight digits and a unit.
fn limit(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_grpc_writes_them() {
        assert_eq!(limit("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(limit("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "S", "5", "-1S", "123456789S", "5ä"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn our_cookie_is_found_among_others() {
        let mut metadata = MetadataMap::new();
        metadata.append("cookie", MetadataValue::from_static("a=b; dunlin_sessions=no"));
        metadata.append("cookie", MetadataValue::from_static("c=d; dunlin_session=\"yes\"; e=f"));
        assert_eq!(cookie(&metadata), Some("yes"));
    }
}
