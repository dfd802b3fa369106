//! The object store as a tier: extents that are objects. `tier` knows how it fares, `upload` writes
//! (`parts` what is large, under the names in `slots`), `ranges` reads, `find` says what lies there.
//! Every call has a deadline and is tried a bounded number of times; what fails then is left to the
//! caller, who has the data still.

mod find;
mod parts;
mod ranges;
mod slots;
mod tier;
mod upload;
mod verifier;

pub(crate) use find::Found;
pub(crate) use tier::Objects;
pub(crate) use upload::{Failed, Source};
