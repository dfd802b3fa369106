//! Proof that a client knows the secret of its application: SASL as Celeborn's clients do it, which is
//! DIGEST-MD5 of RFC 2831 without protection of what follows. Used by the ports of masters and workers.
//!
//! A state is a value and a step consumes it: a [`Challenge`] is answered once and becomes a [`Claim`],
//! which is checked with the [`Key`] of the application that it names. Looking that up is the caller's
//! part, and so is chance.

mod challenge;
mod client;
mod directives;
mod key;
#[cfg(test)]
pub(crate) mod tests;

pub use challenge::{Challenge, Claim};
pub use client::answer;
pub use key::Key;

/// What a first connection of an application says that it does; there is nothing to check.
pub const ANONYMOUS: &str = "ANONYMOUS";

/// What every other connection does.
pub const DIGEST_MD5: &str = "DIGEST-MD5";

/// Version of the exchange, alike since 0.5.
pub const VERSION: &str = "1.0";

/// A token of a client that is longer is refused, as the RFC has it.
pub const TOKEN_LEN_MAX: usize = 4096;

const REALM: &str = "default";

/// Protocol and host of the service, of which Java's client knows no name for the first.
const URI: &str = "null/default";
