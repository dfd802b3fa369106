//! Amounts with a unit in configuration files, the environment and `config dump`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use dunlin_base::Error;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A value that files write as text, or as a bare number or truth value where that reads the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FromText<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for FromText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for FromText<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = FromText<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(FromText).map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.visit_str(&value.to_string())
    }
}

/// A length of time, written as `500ms`, `10s` or `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("0s"),
            ms if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            ms if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad =
            || Error::invalid(format!("'{text}' is not a length of time; write 500ms, 10s or 2m"));
        // `ms` before `m` and `s`: it ends with one of them.
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000)];
        let (number, ms) = units
            .iter()
            .find_map(|(unit, ms)| text.trim().strip_suffix(unit).map(|number| (number, *ms)))
            .ok_or_else(bad)?;
        let number: u32 = number.trim().parse().map_err(|_| bad())?;
        Ok(Self(Duration::from_millis(u64::from(number) * ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_round_trip_through_text() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("0s", 0)] {
            let span: Span = text.parse().expect(text);
            assert_eq!((span.0.as_millis(), span.to_string()), (ms, text.to_owned()));
        }
        for bad in ["", "10", "s", "-1s", "1h", "1.5s", "99999999999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
