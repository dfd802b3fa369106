//! A shuffle worker that goes: so that others take what it would have taken, and, if an administrator
//! wants it, not before its data are of no use.

use std::time::Duration;

use dunlin_base::Result;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_queue::Wish;

use super::Engine;
use super::telling::Teller;

/// Between two looks at what an administrator wants.
const LOOK: Duration = Duration::from_secs(2);

/// What a worker has to do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Drain,
    Stay,
    Go,
}

/// `drains`: for how long it has drained because it was wished. `held`: shuffles that are here.
fn next(wish: Option<Wish>, drains: Option<Duration>, held: usize, limit: Duration) -> Next {
    match (wish.map(|wish| wish.drain), drains) {
        (Some(true), None) => Next::Drain,
        (Some(false), Some(_)) => Next::Stay,
        (_, Some(_)) if held == 0 => Next::Go,
        (_, Some(drains)) if drains >= limit => Next::Go,
        _ => Next::Wait,
    }
}

impl Engine {
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

    /// Returns once an administrator has wished the shuffle worker away and it holds nothing any
    /// more: all queries whose data it had were read and removed, or a limit is over
    /// (`StorageOptions::drain_limit`, from when it began to drain). Until then it can be wished
    /// back. Never returns without a shuffle worker. Dropping the future leaves it as it is then.
    pub async fn decommissioned(&self) {
        let Some(teller) = self.teller() else { return std::future::pending().await };
        let (env, limit) = (self.env(), self.options.storage.drain_limit);
        let mut since = None;
        loop {
            env.sleep(LOOK).await;
            let drains = since.map(|since| env.now().saturating_sub(since));
            match self.step(&teller, drains, limit).await {
                Ok(Next::Go) => break,
                Ok(Next::Drain) => since = Some(env.now()),
                Ok(Next::Stay) => since = None,
                Ok(Next::Wait) => {}
                Err(error) => tracing::debug!(%error, "what is wanted of the shuffle worker"),
            }
        }
        if let Err(error) = Wish::forget(self.store(), &teller.seat.lives()).await {
            tracing::debug!(%error, "what was wanted of the shuffle worker is left behind");
        }
    }

    async fn step(
        &self,
        teller: &Teller,
        drains: Option<Duration>,
        limit: Duration,
    ) -> Result<Next> {
        let wish = Wish::of(self.store(), &teller.seat.lives()).await?;
        let held = teller.worker.shuffles().await?.len();
        let next = next(wish, drains, held, limit);
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
            Next::Go if held > 0 => {
                tracing::warn!(shuffles = held, "the shuffle worker goes at the limit");
            }
            Next::Go | Next::Wait => {}
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_goes_once_it_is_wished_away_and_holds_nothing_or_at_the_limit() {
        let limit = Duration::from_secs(60);
        let wish = |drain| Some(Wish { drain, since_unix_ms: 1 });
        let at = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(next(None, None, 0, limit), Next::Wait, "nobody wants anything");
        assert_eq!(next(wish(false), None, 0, limit), Next::Wait, "it stays already");
        assert_eq!(next(wish(true), None, 0, limit), Next::Drain, "first others have to know");
        assert_eq!(next(wish(true), at(1), 3, limit), Next::Wait);
        assert_eq!(next(wish(true), at(1), 0, limit), Next::Go);
        assert_eq!(next(wish(true), at(60), 3, limit), Next::Go);
        assert_eq!(next(wish(false), at(1), 0, limit), Next::Stay);
        assert_eq!(next(None, at(1), 3, limit), Next::Wait, "a wish that is lost undoes nothing");
    }
}
