//! Who a caller is: passwords for tokens, tokens for calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dunlin_base::{Env, Error, Kind, Result};
use dunlin_proto::door::Token;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;

use super::fault::{Outcome, unauthenticated};
use super::options::{Auth, DoorOptions};
use super::password;
use super::seal::{Purpose, Signer, from_text, to_text};

/// Clients in Go leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Users remembered as found.
const FOUND_MAX: usize = 4096;

/// A user that was there.
struct Found {
    at: Duration,
    created: u64,
}

/// Checks credentials.
pub(super) struct Guard {
    env: Env,
    auth: Auth,
    signer: Arc<Signer>,
    token_ttl: Duration,
    user_recheck: Duration,
    /// Places of those who log in or wait to.
    places: Arc<Semaphore>,
    /// Passwords that may be checked.
    logins: Arc<Semaphore>,
    login_wait_max: Duration,
    /// Users that were there, and when.
    found: Mutex<HashMap<String, Found>>,
    /// The verifier of nobody: an unknown user costs as much time as a wrong password.
    nobody: String,
}

impl Guard {
    pub(super) async fn new(env: &Env, signer: Arc<Signer>, options: &DoorOptions) -> Result<Self> {
        let (cost, env_) = (options.password_cost, env.clone());
        let nobody = match options.auth {
            Auth::Off { .. } => String::new(),
            Auth::Users(_) => {
                let hashed = env.blocking(move || password::verifier("nobody", cost, &env_)).await;
                hashed.map_err(Error::bug)??
            }
        };
        let places = options.logins_max.saturating_add(options.logins_waiting_max);
        Ok(Self {
            env: env.clone(),
            auth: options.auth.clone(),
            signer,
            token_ttl: options.token_ttl,
            user_recheck: options.user_recheck,
            places: Arc::new(Semaphore::new(places)),
            logins: Arc::new(Semaphore::new(options.logins_max)),
            login_wait_max: options.login_wait_max,
            found: Mutex::default(),
            nobody,
        })
    }

    /// A token for whoever shows a user's password in `authorization: Basic`.
    pub(super) async fn log_in(&self, metadata: &MetadataMap) -> Outcome<String> {
        let (user, user_created) = match &self.auth {
            Auth::Off { user } => (user.clone(), None),
            Auth::Users(_) => {
                let (name, created) = self.check_password(metadata).await?;
                (name, Some(created))
            }
        };
        let expires_unix_ms = self.env.unix_ms() + self.token_ttl.as_millis() as u64;
        let token = Token { user, expires_unix_ms, user_created };
        Ok(to_text(&self.signer.seal(Purpose::Token, &token)?))
    }

    /// The user behind a call.
    pub(super) async fn user(&self, metadata: &MetadataMap) -> Outcome<String> {
        if let Auth::Off { user } = &self.auth {
            return Ok(user.clone());
        }
        let text = credentials(metadata, "Bearer ")
            .ok_or_else(|| unauthenticated("the call carries no token"))?;
        let sealed = from_text(text, Purpose::Token).map_err(|e| unauthenticated(e.message()))?;
        let token: Token = match self.signer.open_sealed(Purpose::Token, &sealed).await {
            Ok(token) => token,
            Err(error) if error.kind() == Kind::Invalid => {
                return Err(unauthenticated(error.message()));
            }
            Err(error) => return Err(error.into()),
        };
        if token.expires_unix_ms <= self.env.unix_ms() {
            return Err(unauthenticated("the token has expired"));
        }
        self.check_there(&token).await?;
        Ok(token.user)
    }

    /// The user whose password it is, and when it was made.
    async fn check_password(&self, metadata: &MetadataMap) -> Outcome<(String, u64)> {
        let Auth::Users(users) = &self.auth else {
            return Err(Error::bug("there are no passwords").into());
        };
        let basic = credentials(metadata, "Basic ")
            .ok_or_else(|| unauthenticated("logging in takes a user and a password"))?;
        let (user, password) =
            basic_pair(basic).ok_or_else(|| unauthenticated("the credentials are malformed"))?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Error::exhausted("more log in than this gateway has room for")
                .with_hint("try again later, or at another gateway")
        })?;
        let known = users.user(&user).await?;
        let created = known.as_ref().map(|known| known.created);
        let verifier = known.map_or_else(|| self.nobody.clone(), |known| known.verifier);
        // Never closed.
        let turn = Arc::clone(&self.logins).acquire_owned();
        let turn = self.env.timeout(self.login_wait_max, turn).await.ok_or_else(|| {
            Error::retry(format!("the login had no turn within {:?}", self.login_wait_max))
        })?;
        // The check goes on when its caller has gone, and keeps its turn as long as its memory.
        let check = move || {
            let _held = (place, turn);
            password::verify(&password, &verifier)
        };
        let checked = self.env.blocking(check).await;
        let right = checked.map_err(Error::bug)??;
        match created {
            Some(created) if right => Ok((user, created)),
            _ => Err(unauthenticated("unknown user or wrong password")),
        }
    }

    /// Users that were removed are out soon, without a look at the store for every call; one that
    /// was made under the same name since is another.
    async fn check_there(&self, token: &Token) -> Outcome<()> {
        let Auth::Users(users) = &self.auth else { return Ok(()) };
        let (user, now) = (token.user.as_str(), self.env.now());
        let meant = |created: u64| token.user_created.is_none_or(|of| of == created);
        let fresh = |found: &Found| now.saturating_sub(found.at) < self.user_recheck;
        if self.found.lock().get(user).is_some_and(|found| fresh(found) && meant(found.created)) {
            return Ok(());
        }
        let there = users.user(user).await?.filter(|there| meant(there.created));
        let mut found = self.found.lock();
        let Some(there) = there else {
            found.remove(user);
            return Err(unauthenticated(format!("there is no user '{user}' any more")));
        };
        if found.len() >= FOUND_MAX {
            found.retain(|_, found| fresh(found));
        }
        if found.len() < FOUND_MAX {
            found.insert(user.to_owned(), Found { at: now, created: there.created });
        }
        Ok(())
    }
}

fn credentials<'a>(metadata: &'a MetadataMap, scheme: &str) -> Option<&'a str> {
    let header = metadata.get("authorization")?.to_str().ok()?;
    let (start, rest) = header.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn basic_pair(text: &str) -> Option<(String, String)> {
    let bytes = BASE64.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use dunlin_metadata::sim::SimStore;

    use super::super::password::Cost;
    use super::super::users::MemoryUsers;
    use super::*;

    /// A guard of one login at a time, and what Ann shows it.
    async fn guard(env: &Env) -> (Guard, MetadataMap) {
        let users = MemoryUsers::default();
        users.set("ann", "sesame", Cost::Trifling, env).expect("a user");
        let mut options = DoorOptions::new(Auth::Users(Arc::new(users)));
        options.password_cost = Cost::Trifling;
        (options.logins_max, options.logins_waiting_max) = (1, 0);
        let store = Arc::new(SimStore::new(env.clone()));
        let signer = Signer::open(store, env.clone()).await.expect("no faults");
        let guard = Guard::new(env, Arc::new(signer), &options).await.expect("a guard");
        let mut metadata = MetadataMap::new();
        let basic = format!("Basic {}", BASE64.encode("ann:sesame"));
        metadata.insert("authorization", basic.parse().expect("a header"));
        (guard, metadata)
    }

    #[test]
    fn a_login_whose_caller_has_gone_keeps_its_turn_until_its_password_is_checked() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // Of the one thread for checks somebody else has the use for a while.
        let runtime = runtime.enable_time().max_blocking_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let env = Env::seeded(1);
            let (guard, metadata) = guard(&env).await;
            let (busy, until) = std::sync::mpsc::channel::<()>();
            let work = env.clone();
            let taken = env.spawn("busy", async move { work.blocking(move || until.recv()).await });
            tokio::task::yield_now().await;
            let gone = Box::pin(guard.log_in(&metadata));
            assert!(futures::poll!(gone).is_pending(), "it waits for the thread");
            let other = env.timeout(Duration::from_secs(1), guard.log_in(&metadata)).await;
            let other = other.expect("it does not wait for the thread, too");
            let error = other.expect_err("there is no room").into_error();
            assert_eq!(error.kind(), Kind::Exhausted, "{error}");
            drop(busy);
            taken.join().await.expect("no panic").expect("no panic").expect_err("nobody sends");
            let let_in = async {
                while guard.log_in(&metadata).await.is_err() {
                    env.sleep(Duration::from_millis(1)).await;
                }
            };
            env.timeout(Duration::from_secs(60), let_in).await.expect("the turn is given back");
        });
    }

    #[test]
    fn credentials_are_read_with_padding_and_without() {
        let pair = Some(("ann".to_owned(), "ses:ame".to_owned()));
        assert_eq!(basic_pair("YW5uOnNlczphbWU="), pair);
        assert_eq!(basic_pair("YW5uOnNlczphbWU"), pair);
        assert_eq!(basic_pair("YW5u"), None, "no colon");
        assert_eq!(basic_pair("!"), None);
    }
}
