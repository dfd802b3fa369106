//! The ids that cross crates. No bare string or integer names a thing of ours.

use std::fmt;
use std::str::FromStr;

use crate::env::Env;
use crate::error::Error;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! unique_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// A new id: milliseconds of the wall clock, then 64 random bits, so that ids sort by
            /// the time they were made and never meet.
            pub fn generate(env: &Env) -> Self {
                Self((u128::from(env.unix_ms()) << 64) | u128::from(env.random()))
            }

            /// The id as a number, for the wire.
            pub fn to_u128(self) -> u128 {
                self.0
            }

            /// The id for a number from the wire.
            pub fn from_u128(value: u128) -> Self {
                Self(value)
            }

            /// Milliseconds since 1970 at which the id was made.
            pub fn unix_ms(self) -> u64 {
                (self.0 >> 64) as u64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                id_text(self.0, |text| f.write_str(text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let bad = || Error::invalid(format!("'{text}' is not an id"));
                let (time, chance) = text.split_once('-').ok_or_else(bad)?;
                let time = u64::from_str_radix(time, 16).map_err(|_| bad())?;
                let chance = u64::from_str_radix(chance, 16).map_err(|_| bad())?;
                Ok(Self((u128::from(time) << 64) | u128::from(chance)))
            }
        }
    };
}

/// Hands over the text of a unique id: at least 12 digits of time, a dash, 16 of chance. Keys are
/// made of ids, so a short query does this some hundred times: digit by digit, without formatting.
fn id_text<T>(id: u128, with: impl FnOnce(&str) -> T) -> T {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |value: u64, place: usize| DIGITS[((value >> (4 * place)) & 15) as usize];
    let (time, chance) = ((id >> 64) as u64, id as u64);
    let mut text = [b'-'; 33];
    for place in 0..16 {
        text[15 - place] = digit(time, place);
        text[32 - place] = digit(chance, place);
    }
    let leading = (time.leading_zeros() / 4).min(4) as usize;
    with(str::from_utf8(&text[leading..]).unwrap_or_default())
}

unique_id! {
    /// One accepted query, for ever.
    QueryId
}
unique_id! {
    /// One life of one process (or of one role inside a process): a restart is a new id.
    ProcessId
}
number_id! {
    /// A stage of a query: the part between two exchanges.
    StageId, u32
}
number_id! {
    /// A slice of a stage: the smallest amount of input that can be claimed.
    SliceId, u32
}
number_id! {
    /// A partition of a shuffle.
    PartitionId, u32
}
number_id! {
    /// One try at running a range of slices. Grows with every claim of the same segment, so two
    /// tries are never confused.
    Attempt, u32
}
number_id! {
    /// How often a sealed stage was opened again because its output was lost.
    StageEpoch, u32
}
number_id! {
    /// A revision of the metadata store: grows by one with every committed transaction.
    Revision, i64
}
number_id! {
    /// A lease in the metadata store, held by one process.
    LeaseId, i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_as_their_texts() {
        let ids = [0, 1, 0xabc << 64, (0x0123_4567_89ab << 64) | 0xfedc, u128::MAX];
        for id in ids.map(QueryId::from_u128) {
            let text = id.to_string();
            let formatted = format!("{:012x}-{:016x}", id.to_u128() >> 64, id.to_u128() as u64);
            assert_eq!(text, formatted);
            assert_eq!(text.parse::<QueryId>().expect("an id"), id);
        }
    }
}
