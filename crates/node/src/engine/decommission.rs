//! A shuffle worker that goes: so that others take what it would have taken, and, if an administrator
//! wants it, not before its data are of no use.

use std::sync::{Arc, Weak};
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_queue::{Want, Wish};

use super::Engine;
use super::telling::Teller;

/// Between two looks at what an administrator wants.
const LOOK: Duration = Duration::from_secs(2);

/// Why the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Nobody needs the data of its shuffle worker any more, or the limit is over.
    Drained,
    /// An administrator wants another process in its place, with its data.
    Restart,
    /// An administrator wants it gone, and its data with it.
    Now,
}

/// What a worker has to do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Drain,
    Stay,
    Go(Leaving),
}

/// A worker that drains because that is wished.
#[derive(Clone, Copy, Debug)]
struct Draining {
    /// The last wish: one that is lost meanwhile undoes nothing.
    want: Want,
    /// For how long it is so.
    for_now: Duration,
}

/// `held`: shuffles that are here.
fn next(wish: Option<Want>, draining: Option<Draining>, held: usize, limit: Duration) -> Next {
    match (wish.or(draining.map(|draining| draining.want)), draining) {
        (Some(Want::End), _) => Next::Go(Leaving::Now),
        (Some(Want::Restart), _) => Next::Go(Leaving::Restart),
        (Some(Want::Leave | Want::Idle), None) => Next::Drain,
        (Some(Want::Stay), Some(_)) => Next::Stay,
        (Some(Want::Leave), Some(_)) if held == 0 => Next::Go(Leaving::Drained),
        (Some(Want::Leave), Some(draining)) if draining.for_now >= limit => {
            Next::Go(Leaving::Drained)
        }
        _ => Next::Wait,
    }
}

/// Says what is wanted of this process's shuffle worker, for who has no engine. Does not keep it alive.
#[derive(Clone)]
pub struct Wisher {
    store: StoreRef,
    env: Env,
    teller: Weak<Teller>,
}

impl Wisher {
    /// The wish is there when this returns; the worker follows it within some seconds. `Retry`: the
    /// store does not answer, or the worker is not among the living now.
    pub async fn say(&self, want: Want) -> Result<()> {
        let gone = || Error::retry("this process has no shuffle worker any more");
        let id = self.teller.upgrade().ok_or_else(gone)?.seat.member().id();
        let wish = Wish { want, since_unix_ms: self.env.unix_ms() };
        match wish.say(&self.store, id).await? {
            true => Ok(()),
            false => Err(Error::retry("the shuffle worker has no lease now")),
        }
    }

    /// What is wanted now.
    pub async fn wish(&self) -> Result<Option<Wish>> {
        let Some(teller) = self.teller.upgrade() else { return Ok(None) };
        Wish::of(&self.store, &teller.seat.lives()).await
    }
}

impl Engine {
    /// A way to say what is wanted of the shuffle worker, if there is one.
    pub fn shuffle_wisher(&self) -> Option<Wisher> {
        let (store, env) = (Arc::clone(self.store()), self.env().clone());
        let teller = Arc::downgrade(&self.teller()?);
        Some(Wisher { store, env, teller })
    }

    /// Has the shuffle worker refuse pushes, after its card says so, unless no other worker takes
    /// data: then those that run could not end. False: it goes on taking data, or there is none.
    pub async fn drain_shuffle(&self) -> bool {
        let Some(teller) = self.teller() else { return false };
        match teller.drain(self.store(), true).await {
            Ok(drains) => drains,
            Err(error) => {
                tracing::debug!(%error, "the card of a shuffle worker that is to go");
                teller.worker.is_draining()
            }
        }
    }

    /// Returns once an administrator has wished the shuffle worker away and it may go: at once, if that
    /// was wished, or when it holds nothing any more: all queries whose data it had were read and
    /// removed, or a limit is over (`StorageOptions::drain_limit`, from when it began to drain). Until
    /// then it can be wished back. Never returns without a shuffle worker. Dropping the future leaves
    /// it as it is then.
    pub async fn decommissioned(&self) -> Leaving {
        let Some(teller) = self.teller() else { return std::future::pending().await };
        let (env, limit) = (self.env(), self.options.storage.drain_limit);
        let mut since: Option<(Want, Duration)> = None;
        loop {
            env.sleep(LOOK).await;
            let draining =
                since.map(|(want, at)| Draining { want, for_now: env.now().saturating_sub(at) });
            match self.step(&teller, draining, limit).await {
                Ok((Next::Go(leaving), _)) => {
                    if self.forget_wish(&teller, leaving).await {
                        return leaving;
                    }
                }
                Ok((Next::Drain, Some(want))) => since = Some((want, env.now())),
                Ok((Next::Stay, _)) => since = None,
                // Another way to go counts from its own beginning.
                Ok((_, Some(want))) if since.is_some_and(|(before, _)| before != want) => {
                    since = Some((want, env.now()));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "what is wanted of the shuffle worker"),
            }
        }
    }

    /// False: the process must not go yet, since the next one would find the wish, and go too.
    async fn forget_wish(&self, teller: &Teller, leaving: Leaving) -> bool {
        let Err(error) = Wish::forget(self.store(), &teller.seat.lives()).await else {
            return true;
        };
        tracing::debug!(%error, "what was wanted of the shuffle worker is left behind");
        leaving == Leaving::Drained
    }

    async fn step(
        &self,
        teller: &Teller,
        draining: Option<Draining>,
        limit: Duration,
    ) -> Result<(Next, Option<Want>)> {
        let want = Wish::of(self.store(), &teller.seat.lives()).await?.map(|wish| wish.want);
        let held = teller.worker.shuffles().await?.len();
        let next = next(want, draining, held, limit);
        match next {
            Next::Drain => {
                tracing::warn!(shuffles = held, "the shuffle worker is wished away");
                // It refuses pushes, whether or not its card could be written.
                drop(teller.drain(self.store(), false).await);
            }
            Next::Stay => {
                tracing::warn!("the shuffle worker is wished back");
                drop(teller.stay().await);
            }
            Next::Go(leaving) if held > 0 => {
                tracing::warn!(
                    shuffles = held,
                    ?leaving,
                    "the shuffle worker goes, and holds data"
                );
            }
            Next::Go(_) | Next::Wait => {}
        }
        Ok((next, want))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn at(want: Want, seconds: u64) -> Option<Draining> {
        Some(Draining { want, for_now: Duration::from_secs(seconds) })
    }

    #[test]
    fn a_worker_goes_once_it_is_wished_away_and_holds_nothing_or_at_the_limit() {
        let (leave, stay) = (Some(Want::Leave), Some(Want::Stay));
        let next = |wish, draining, held| next(wish, draining, held, LIMIT);
        let drained = Next::Go(Leaving::Drained);
        assert_eq!(next(None, None, 0), Next::Wait, "nobody wants anything");
        assert_eq!(next(stay, None, 0), Next::Wait, "it stays already");
        assert_eq!(next(leave, None, 0), Next::Drain, "first others have to know");
        assert_eq!(next(leave, at(Want::Leave, 1), 3), Next::Wait);
        assert_eq!(next(leave, at(Want::Leave, 1), 0), drained);
        assert_eq!(next(leave, at(Want::Leave, 60), 3), drained);
        assert_eq!(next(stay, at(Want::Leave, 1), 0), Next::Stay);
        assert_eq!(next(None, at(Want::Leave, 1), 3), Next::Wait, "a lost wish undoes nothing");
        assert_eq!(next(None, at(Want::Leave, 1), 0), drained);
    }

    #[test]
    fn an_idle_worker_stays_and_a_restart_or_an_end_waits_for_nothing() {
        let next = |wish, draining, held| next(wish, draining, held, LIMIT);
        assert_eq!(next(Some(Want::Idle), None, 3), Next::Drain);
        for held in [0, 3] {
            for wish in [Some(Want::Idle), None] {
                assert_eq!(next(wish, at(Want::Idle, 900), held), Next::Wait, "{held} {wish:?}");
            }
            for draining in [None, at(Want::Leave, 1)] {
                let restart = next(Some(Want::Restart), draining, held);
                assert_eq!(restart, Next::Go(Leaving::Restart));
                assert_eq!(next(Some(Want::End), draining, held), Next::Go(Leaving::Now));
            }
        }
        assert_eq!(next(Some(Want::Stay), at(Want::Idle, 900), 0), Next::Stay);
        assert_eq!(next(Some(Want::Leave), at(Want::Idle, 1), 0), Next::Go(Leaving::Drained));
    }
}
