//! One bucket of an object store, in memory: what S3 answers to the requests that `object_store`
//! makes for us. Pure: from a request to an answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;

use bytes::Bytes;

use super::http::{Answer, Request, decoded};

/// Keys in one page of a list: few, so that clients have to turn pages.
const PAGE_KEYS: usize = 50;

/// When everything was made: nobody asks for more than a date.
const MADE: &str = "2020-01-01T00:00:00.000Z";

#[derive(Clone, Debug)]
struct Object {
    content: Bytes,
    /// Which write of the bucket it was: names the content as a hash would.
    write: u64,
}

/// The objects of the bucket, by key.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    objects: BTreeMap<String, Object>,
    writes: u64,
}

impl Bucket {
    /// The keys with this beginning.
    pub(super) fn keys(&self, prefix: &str) -> Vec<String> {
        self.from(prefix).map(|(key, _)| key.clone()).collect()
    }

    fn from(&self, prefix: &str) -> impl Iterator<Item = (&String, &Object)> {
        let begins = prefix.to_owned();
        self.objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(&begins))
    }

    /// Does what is asked for, and says what came of it.
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let key = request.path.split_once('/').map_or("", |(_, key)| key);
        let asked = |name| request.query.contains_key(name);
        match request.method.as_str() {
            "GET" if key.is_empty() => self.list(request),
            "POST" if asked("delete") => self.delete_all(request),
            "GET" => self.get(key, request),
            "HEAD" => Answer { head: true, ..self.get(key, request) },
            "DELETE" if !asked("uploadId") => {
                self.objects.remove(key);
                Answer::status(204)
            }
            "PUT" if !asked("uploadId") => self.put(key, request),
            // No file of a test is so large that it goes in parts.
            _ => failed(501, "NotImplemented"),
        }
    }

    fn get(&self, key: &str, request: &Request) -> Answer {
        let Some(object) = self.objects.get(key) else { return failed(404, "NoSuchKey") };
        let wanted = request.headers.get("if-match");
        if wanted.is_some_and(|wanted| *wanted != tag(object)) {
            return failed(412, "PreconditionFailed");
        }
        let mut headers = vec![("ETag", tag(object))];
        let length = object.content.len();
        let Some(range) = request.headers.get("range") else {
            return Answer { status: 200, headers, body: object.content.clone(), head: false };
        };
        match bounds(range, length) {
            Some((from, to)) => {
                headers.push(("Content-Range", format!("bytes {from}-{}/{length}", to - 1)));
                Answer { status: 206, headers, body: object.content.slice(from..to), head: false }
            }
            None => failed(416, "InvalidRange"),
        }
    }

    fn put(&mut self, key: &str, request: &Request) -> Answer {
        let there = self.objects.get(key).map(tag);
        let unless = request.headers.contains_key("if-none-match") && there.is_some();
        let only = request.headers.get("if-match").is_some_and(|tag| Some(tag) != there.as_ref());
        if unless || only {
            return failed(412, "PreconditionFailed");
        }
        let source = request.headers.get("x-amz-copy-source").map(|source| decoded(source));
        let content = match &source {
            None => Some(request.body.clone()),
            Some(source) => source
                .trim_start_matches('/')
                .split_once('/')
                .and_then(|(_, from)| Some(self.objects.get(from)?.content.clone())),
        };
        let Some(content) = content else { return failed(404, "NoSuchKey") };
        self.writes += 1;
        let object = Object { content, write: self.writes };
        let tag = tag(&object);
        self.objects.insert(key.to_owned(), object);
        let body = match source {
            None => String::new(),
            Some(_) => format!(
                "<CopyObjectResult><LastModified>{MADE}</LastModified><ETag>{}</ETag>\
                 </CopyObjectResult>",
                escaped(&tag)
            ),
        };
        Answer { status: 200, headers: vec![("ETag", tag)], body: body.into(), head: false }
    }

    fn delete_all(&mut self, request: &Request) -> Answer {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        let mut body = "<DeleteResult>".to_owned();
        for (key, _) in keys {
            self.objects.remove(&unescaped(key));
            // Writing to a string cannot fail.
            let _ = write!(body, "<Deleted><Key>{key}</Key></Deleted>");
        }
        body.push_str("</DeleteResult>");
        Answer { status: 200, body: body.into(), ..Answer::default() }
    }

    /// `ListObjectsV2`, in pages. The token of the next page is the last name of this one.
    fn list(&self, request: &Request) -> Answer {
        let part = |name: &str| request.query.get(name).map_or("", String::as_str);
        let after = part("continuation-token").max(part("start-after"));
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for (key, object) in self.from(part("prefix")) {
            let (name, line) = shown(key, object, part("prefix"), part("delimiter"));
            if name.as_str() > after {
                lines.insert(name, line);
            }
        }
        let mut body = "<ListBucketResult>".to_owned();
        let page: Vec<(&String, &String)> = lines.iter().take(PAGE_KEYS).collect();
        page.iter().for_each(|(_, line)| body.push_str(line));
        if let Some((last, _)) = page.last().filter(|_| lines.len() > PAGE_KEYS) {
            let token = escaped(last);
            body.push_str("<IsTruncated>true</IsTruncated><NextContinuationToken>");
            body.push_str(&token);
            body.push_str("</NextContinuationToken>");
        }
        body.push_str("</ListBucketResult>");
        Answer { status: 200, body: body.into(), ..Answer::default() }
    }
}

/// The name and the line of a key in a list: its own, or those of the folder that it is in.
fn shown(key: &str, object: &Object, prefix: &str, delimiter: &str) -> (String, String) {
    let inner = key[prefix.len()..].split_once(delimiter).filter(|_| !delimiter.is_empty());
    match inner {
        Some((folder, _)) => {
            let name = format!("{prefix}{folder}{delimiter}");
            let shown = escaped(&name);
            (name, format!("<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>"))
        }
        None => {
            let (shown, tag, size) = (escaped(key), escaped(&tag(object)), object.content.len());
            let line = format!(
                "<Contents><Key>{shown}</Key><LastModified>{MADE}</LastModified>\
                 <ETag>{tag}</ETag><Size>{size}</Size></Contents>"
            );
            (key.to_owned(), line)
        }
    }
}

fn tag(object: &Object) -> String {
    format!("\"{}\"", object.write)
}

/// What S3 says with a status that is none of success.
pub(super) fn failed(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    Answer { status, body: body.into(), ..Answer::default() }
}

/// From and to of a `Range`, the end not included. `None`: nothing is there.
fn bounds(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
        (Some(from), Some(last)) => (from, last.saturating_add(1).min(length)),
        (Some(from), None) => (from, length),
        (None, Some(count)) => (length.saturating_sub(count), length),
        (None, None) => return None,
    };
    (from < to).then_some((from, to))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    plain.replace("&apos;", "'").replace("&amp;", "&")
}
