//! As much of HTTP/1.1 as clients of object stores speak: requests with a stated length in, answers
//! with a stated length out. Pure but for the reading; called by the server beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use dunlin_base::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head of a request.
const HEAD_MAX: usize = 64 << 10;

/// The longest body of a request: far beyond any blob of a test.
const BODY_MAX: usize = 256 << 20;

/// A request.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Decoded, without its first `/`.
    pub(super) path: String,
    /// Decoded.
    pub(super) query: BTreeMap<String, String>,
    /// By names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Bytes,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// To a HEAD: the length is told, the body is not sent.
    pub(super) head: bool,
}

impl Request {
    /// The next request of a connection; `None` once the client has ended it. `received` is what
    /// came beyond the request before. `Retry`: the connection broke or does not speak HTTP.
    pub(super) async fn read(
        from: &mut (impl AsyncRead + Unpin),
        received: &mut BytesMut,
    ) -> Result<Option<Self>> {
        let broken = |e| Error::retry("a client of the object store broke off").with_source(e);
        let end = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if received.len() > HEAD_MAX {
                return Err(Error::retry("the head of a request has no end"));
            }
            if from.read_buf(received).await.map_err(broken)? == 0 {
                return Ok(None);
            }
        };
        let head = received.split_to(end + 4);
        let mut request = Self::parse(&String::from_utf8_lossy(&head))?;
        let length = request.headers.get("content-length").map_or(Ok(0), |text| text.parse());
        let length: usize = length.map_err(|_| Error::retry("a length is no number"))?;
        if length > BODY_MAX {
            return Err(Error::retry("the body of a request is too long"));
        }
        while received.len() < length {
            if from.read_buf(received).await.map_err(broken)? == 0 {
                return Ok(None);
            }
        }
        request.body = received.split_to(length).freeze();
        Ok(Some(request))
    }

    fn parse(head: &str) -> Result<Self> {
        let bad = || Error::retry("a request is not HTTP");
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = words.next().zip(words.next()).ok_or_else(bad)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Ok(Self {
            method: method.to_owned(),
            path: decoded(path.trim_start_matches('/')),
            query: pairs.collect(),
            headers: headers.collect(),
            body: Bytes::new(),
        })
    }
}

impl Answer {
    /// Without a body.
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The head as it is sent.
    pub(super) fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // Writing to a string cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        // An answer without content has no length.
        if self.status != 204 {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        404 => "Not Found",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        501 => "Not Implemented",
        503 => "Slow Down",
        _ => "Other",
    }
}

/// A text of a URL with its `%` signs undone. What is no such sign stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_read_one_after_the_other_whatever_the_pieces() {
        let text = b"PUT /b/a%20c?x=1&y HTTP/1.1\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc\
                     GET / HTTP/1.1\r\n\r\n";
        let mut from = tokio_test_pieces(text);
        let mut received = BytesMut::new();
        let put = Request::read(&mut from, &mut received).await.expect("read").expect("one");
        assert_eq!((put.method.as_str(), put.path.as_str()), ("PUT", "b/a c"));
        assert_eq!(put.query["x"], "1");
        assert_eq!(put.query["y"], "");
        assert_eq!((put.headers["x-a"].as_str(), put.body.as_ref()), ("b", &b"abc"[..]));
        let get = Request::read(&mut from, &mut received).await.expect("read").expect("one");
        assert_eq!((get.method.as_str(), get.path.as_str()), ("GET", ""));
        assert!(Request::read(&mut from, &mut received).await.expect("read").is_none());
    }

    /// The bytes, some at a time.
    fn tokio_test_pieces(bytes: &[u8]) -> impl AsyncRead + Unpin {
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        AsyncReadExt::chain(
            std::io::Cursor::new(head.to_vec()),
            std::io::Cursor::new(tail.to_vec()),
        )
    }

    #[test]
    fn a_percent_sign_that_is_none_stays() {
        assert_eq!(decoded("a%2Fb%zz%"), "a/b%zz%");
    }
}
