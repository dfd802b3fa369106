//! Verifiers: what is kept of a password. Argon2id, which makes guessing cost memory.

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use dunlin_base::{Env, Error, Result};

/// Longest password: hashing takes time for each byte.
const PASSWORD_MAX: usize = 1024;

/// What a guess costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cost {
    /// 19 MiB and two passes, some tens of milliseconds.
    #[default]
    Full,
    /// Next to nothing: for tests.
    Trifling,
}

impl Cost {
    fn hasher(self) -> Result<Argon2<'static>> {
        let params = match self {
            Self::Full => Params::default(),
            Self::Trifling => Params::new(8, 1, 1, None)
                .map_err(|e| Error::bug(format!("parameters of argon2: {e}")))?,
        };
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// The verifier of a password, with a salt of its own. `Invalid`: empty or too long.
pub(super) fn verifier(password: &str, cost: Cost, env: &Env) -> Result<String> {
    if password.is_empty() || password.len() > PASSWORD_MAX {
        return Err(Error::invalid(format!("a password has 1 to {PASSWORD_MAX} bytes")));
    }
    let failed = |e: argon2::password_hash::Error| Error::bug(format!("can not hash: {e}"));
    let salt = SaltString::encode_b64(&env.secret()?[..16]).map_err(failed)?;
    let hash = cost.hasher()?.hash_password(password.as_bytes(), &salt).map_err(failed)?;
    Ok(hash.to_string())
}

/// Whether a password is the one of the verifier. Holds a thread for its cost. `Lost`: the verifier
/// is damaged.
pub(super) fn verify(password: &str, verifier: &str) -> Result<bool> {
    let damaged = |e| Error::lost(format!("a user's verifier is damaged: {e}"));
    let hash = PasswordHash::new(verifier).map_err(damaged)?;
    if password.len() > PASSWORD_MAX {
        return Ok(false);
    }
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(damaged(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_passes_and_salts_differ() {
        let env = Env::seeded(3);
        let one = verifier("sesame", Cost::Trifling, &env).expect("hashed");
        let two = verifier("sesame", Cost::Trifling, &env).expect("hashed");
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$"), "{one}");
        assert!(verify("sesame", &one).expect("a verifier"));
        assert!(!verify("Sesame", &one).expect("a verifier"));
        assert!(!verify(&"x".repeat(PASSWORD_MAX + 1), &one).expect("a verifier"));
        assert!(verify("sesame", "nonsense").is_err());
        assert!(verifier("", Cost::Trifling, &env).is_err());
    }
}
