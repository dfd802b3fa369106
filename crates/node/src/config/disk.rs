//! A disk of a shuffle worker as one text: `/mnt/a`, `/mnt/b:hdd:reserve=1GiB:capacity=200GiB`.
//!
//! A text rather than a table, so that the environment and the command line can say it, too.

use std::fmt;
use std::str::FromStr;

use dunlin_base::{ByteCount, Error};
use dunlin_shuffle_service::{Class, DiskOptions};

/// What the parts of a text may be.
const HINT: &str = "write FOLDER[:ssd|:hdd][:reserve=BYTES][:capacity=BYTES], such as \
     /mnt/a:hdd:capacity=200GiB";

/// The text and what it means. Parsed while the configuration is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskText(pub(crate) DiskOptions);

impl fmt::Display for DiskText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DiskOptions { path, class, reserve, capacity } = &self.0;
        let usual = DiskOptions::new(path);
        write!(f, "{}", path.display())?;
        if *class == Class::Hdd {
            f.write_str(":hdd")?;
        }
        if *reserve != usual.reserve {
            write!(f, ":reserve={}", exact(*reserve))?;
        }
        match capacity {
            Some(capacity) => write!(f, ":capacity={}", exact(*capacity)),
            None => Ok(()),
        }
    }
}

/// The amount so that it reads back as it was.
fn exact(bytes: ByteCount) -> String {
    let text = bytes.to_string();
    if text.parse().is_ok_and(|read: ByteCount| read == bytes) {
        text
    } else {
        format!("{}B", bytes.0)
    }
}

impl FromStr for DiskText {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::invalid(format!("'{text}' is no disk: {why}; {HINT}"));
        let mut parts = text.split(':').map(str::trim);
        let folder = parts.next().unwrap_or_default();
        if folder.is_empty() {
            return Err(bad("it names no folder"));
        }
        let mut disk = DiskOptions::new(folder);
        for part in parts {
            let bytes = |amount: &str| amount.parse::<ByteCount>().map_err(|e| bad(e.message()));
            match part.split_once('=') {
                None if part == "ssd" => disk.class = Class::Ssd,
                None if part == "hdd" => disk.class = Class::Hdd,
                Some(("reserve", amount)) => disk.reserve = bytes(amount)?,
                Some(("capacity", amount)) => disk.capacity = Some(bytes(amount)?),
                _ => return Err(bad(&format!("'{part}' is not known"))),
            }
        }
        if disk.capacity == Some(ByteCount(0)) {
            return Err(bad("its capacity is nothing"));
        }
        Ok(Self(disk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_round_trip_through_text() {
        let disk: DiskText = "/mnt/a".parse().expect("a disk");
        assert_eq!(disk.0, DiskOptions::new("/mnt/a"));
        let disk: DiskText = "/mnt/b:hdd:reserve=1GiB:capacity=1.5GiB".parse().expect("a disk");
        assert_eq!((disk.0.class, disk.0.reserve), (Class::Hdd, ByteCount::mib(1024)));
        assert_eq!(disk.0.capacity, Some(ByteCount::mib(1536)));
        for text in ["/mnt/a", "b:hdd", "/mnt/b:reserve=0B", "/c:capacity=1000001B"] {
            let disk: DiskText = text.parse().expect(text);
            assert_eq!(disk.to_string().parse::<DiskText>().ok(), Some(disk.clone()));
            assert_eq!(disk.to_string(), text);
        }
    }

    #[test]
    fn a_text_that_is_no_disk_says_what_is_wrong_with_it() {
        for (text, word) in [
            ("", "no folder"),
            (":hdd", "no folder"),
            ("/a:hhd", "'hhd'"),
            ("/a:capacity=much", "'much'"),
            ("/a:capacity=0", "nothing"),
            ("/a:size=1GiB", "'size=1GiB'"),
        ] {
            let error = text.parse::<DiskText>().expect_err(text);
            assert!(error.message().contains(word), "{text}: {error}");
        }
    }
}
