//! Amounts with their unit.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A number of bytes, written by people as `64MiB`, `1.5GiB`, `4096` (bytes) or `10MB` (decimal).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl ByteCount {
    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The amount as a length in memory, clamped to what this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, size) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        {
            if self.0 >= size {
                let value = self.0 as f64 / size as f64;
                return if self.0.is_multiple_of(size) {
                    write!(f, "{value:.0}{name}")
                } else {
                    write!(f, "{value:.1}{name}")
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteCount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim();
        let bad = || {
            Error::invalid(format!("'{text}' is not an amount of bytes"))
                .with_hint("write a number with a unit, such as 64MiB or 1.5GB")
        };
        let unit = UNITS.iter().find(|(name, _)| trimmed.ends_with(name));
        let (number, size) = match unit {
            Some((name, size)) => (trimmed.trim_end_matches(name).trim_end(), *size),
            None => (trimmed, 1),
        };
        let value: f64 = number.parse().map_err(|_| bad())?;
        if !value.is_finite() || value < 0.0 {
            return Err(bad());
        }
        Ok(Self((value * size as f64) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_bytes_round_trip_through_text() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("10kB", 10_000), ("7", 7)]
        {
            assert_eq!(text.parse::<ByteCount>().ok(), Some(ByteCount(bytes)), "{text}");
        }
        assert_eq!(ByteCount(64 << 20).to_string(), "64MiB");
        for bad in ["", "MiB", "-1", "1 parsec", "nan"] {
            assert!(bad.parse::<ByteCount>().is_err(), "{bad}");
        }
    }
}
