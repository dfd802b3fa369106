//! The names of things, which are texts on the wire. Only the one spelling that Celeborn writes is
//! taken: its servers compare the texts and not what they mean.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use dunlin_base::{Error, Result};

use crate::frame::Mode;

/// A shuffle of an application: `app-shuffle`. Applications have dashes in their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShuffleKey {
    /// The application. Any text that is not empty: do not use it as a path.
    pub application: Arc<str>,
    /// The shuffle, as the driver counts them.
    pub shuffle: i32,
}

/// A partition of a shuffle in one epoch, called its unique id there: `partition-epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    /// The partition.
    pub id: i32,
    /// Grows when the partition goes on elsewhere.
    pub epoch: i32,
}

/// A copy of such a partition, by the name of its file: `partition-epoch-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    /// The partition.
    pub partition: PartitionKey,
    /// Which copy.
    pub mode: Mode,
}

/// A worker, called its unique id there: `host:rpc:push:fetch:replicate`. All five make the identity;
/// executors dial the host as it is written here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId {
    /// Name or address; an IPv6 address has brackets if it was advertised with them.
    pub host: Arc<str>,
    /// Of control messages from drivers.
    pub rpc_port: u16,
    /// Of pushes from executors.
    pub push_port: u16,
    /// Of reads by executors.
    pub fetch_port: u16,
    /// Of pushes from other workers.
    pub replicate_port: u16,
}

/// A number as Java writes it.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = !digits.starts_with('0') || text == "0";
    (plain && shortest).then(|| text.parse().ok()).flatten()
}

fn named<T>(what: &str, text: &str, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| {
        let shown = &text[..text.floor_char_boundary(100)];
        Error::invalid(format!("{shown:?} does not name a {what}"))
    })
}

impl FromStr for ShuffleKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (application, shuffle) = text.rsplit_once('-')?;
            let shuffle = number(shuffle)?;
            (!application.is_empty()).then(|| Self { application: application.into(), shuffle })
        };
        named("shuffle", text, parse())
    }
}

impl ShuffleKey {
    /// The application that a text names, if it is the key of a shuffle: what is before the last dash,
    /// or all of it. Whether it is a key at all is not looked at.
    pub fn application_of(text: &str) -> &str {
        text.rsplit_once('-').map_or(text, |(application, _)| application)
    }
}

impl fmt::Display for ShuffleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.application, self.shuffle)
    }
}

impl FromStr for PartitionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (id, epoch) = text.split_once('-')?;
            Some(Self { id: number(id)?, epoch: number(epoch)? })
        };
        named("partition", text, parse())
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, self.epoch)
    }
}

impl FromStr for FileName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (partition, mode) = text.rsplit_once('-')?;
            let mode = Mode::of_number(number(mode)?)?;
            Some(Self { partition: partition.parse().ok()?, mode })
        };
        named("file", text, parse())
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.mode.number())
    }
}

impl FromStr for WorkerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.rsplitn(5, ':');
            let mut port = || number(parts.next()?);
            let (replicate_port, fetch_port) = (port()?, port()?);
            let (push_port, rpc_port) = (port()?, port()?);
            let host = parts.next().filter(|host| !host.is_empty())?.into();
            Some(Self { host, rpc_port, push_port, fetch_port, replicate_port })
        };
        named("worker", text, parse())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, rpc_port, push_port, fetch_port, replicate_port } = self;
        write!(f, "{host}:{rpc_port}:{push_port}:{fetch_port}:{replicate_port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: FromStr<Err = Error> + fmt::Display>(good: &[&str], bad: &[&str]) {
        for text in good {
            let parsed: T = text.parse().expect("a name");
            assert_eq!(&parsed.to_string(), text);
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_spelling_of_celeborn_is_taken() {
        let keys = ["app-1", "spark-19ab-0", "application_1_2-2147483647", "a--1"];
        names::<ShuffleKey>(
            &keys,
            &["", "app", "-1", "app-", "app-01", "app-+1", "app-2147483648"],
        );
        names::<PartitionKey>(&["0-0", "12-3"], &["", "-1-0", "1", "1-", "1-2-3", "01-2", "1-x"]);
        names::<FileName>(&["0-0-0", "12-3-1"], &["0-0", "0-0-2", "0-0-", "0-0-00", "0-0-0-0"]);
        let workers = ["w1:1:2:3:4", "::1:0:65535:3:4", "[::1]:1:2:3:4"];
        names::<WorkerId>(&workers, &["", "w1:1:2:3", ":1:2:3:4", "w1:1:2:3:65536", "w:1:2:3:-4"]);
    }

    #[test]
    fn an_application_may_have_dashes_and_a_host_colons() {
        let key: ShuffleKey = "app-1-7".parse().expect("a shuffle");
        assert_eq!((&*key.application, key.shuffle), ("app-1", 7));
        let worker: WorkerId = "::1:5:6:7:8".parse().expect("a worker");
        assert_eq!((&*worker.host, worker.rpc_port, worker.replicate_port), ("::1", 5, 8));
    }
}
