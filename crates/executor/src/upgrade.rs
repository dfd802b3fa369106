//! While a cluster goes from one build to another: who can still run the queries of the old one.
//!
//! The one thing to know: an executor that leaves says so on its card before, in the transaction in
//! which it looks at who stays. Of several that are told to end at once, or one after the other, the
//! last one finds nobody to leave the queries to.

use std::time::Duration;

use dunlin_base::{Error, ProcessId, Result};
use dunlin_proto::queue::Card;
use dunlin_queue::{Member, Peer, Phase, Role};

use crate::executor::Shared;

/// Between two looks of an executor that would leave.
const LOOK: Duration = Duration::from_millis(200);

/// How long an executor tries to say that it leaves although it is needed.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What the executors that are alive mean for one that would leave.
#[derive(Debug, PartialEq)]
enum Next<'a> {
    /// All others leave, too: the cluster ends, and its queries wait for the next one.
    Leave,
    /// This one stays, and can run what the one that leaves could.
    LeaveTo(&'a Peer),
    /// Those that stay are of other builds: it goes on if anybody of its own needs it.
    Ask,
}

fn next<'a>(own: ProcessId, build: &str, executors: &'a [Peer]) -> Next<'a> {
    let stays = |peer: &&Peer| peer.id != own && !peer.card.leaving;
    let mut others = executors.iter().filter(stays);
    if let Some(peer) = others.clone().find(|peer| peer.card.build == build) {
        return Next::LeaveTo(peer);
    }
    if others.next().is_none() { Next::Leave } else { Next::Ask }
}

/// Returns when others can do without this executor, and once its card says that it leaves; at the
/// latest after `limit`. While the store does not say, it stays.
pub(crate) async fn stay(shared: &Shared, limit: Duration) {
    let env = &shared.parts.env;
    let until_unneeded = async {
        while !shared.draining() {
            match try_leave(shared).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "whether the executor is needed"),
            }
            env.sleep(LOOK).await;
        }
    };
    if env.timeout(limit, until_unneeded).await.is_some() {
        return;
    }
    tracing::warn!("the executor leaves at the limit, though nobody else may run its queries");
    if let Some(Err(error)) = env.timeout(LAST_WORD, leave_anyway(shared)).await {
        tracing::debug!(%error, "the executor's card");
    }
}

/// False: it is needed, or another was told to leave while this one looked.
async fn try_leave(shared: &Shared) -> Result<bool> {
    let (member, executors, card) = look(shared).await?;
    let build = shared.parts.queue.build();
    match next(member.id(), build, &executors) {
        Next::LeaveTo(peer) => member.rewrite(&card, Some(peer)).await,
        Next::Ask if is_needed(shared, build).await? => Ok(false),
        Next::Leave | Next::Ask => member.rewrite(&card, None).await,
    }
}

async fn leave_anyway(shared: &Shared) -> Result<bool> {
    let (member, _, card) = look(shared).await?;
    member.rewrite(&card, None).await
}

/// The present life, all executors, and the own card as it says that this one leaves.
async fn look(shared: &Shared) -> Result<(Member, Vec<Peer>, Card)> {
    let member = shared.member.lock().upgrade();
    let member = member.ok_or_else(|| Error::retry("the executor has not joined"))?;
    let executors = Peer::all(&shared.parts.store, Role::Executor).await?;
    let own = executors.iter().find(|peer| peer.id == member.id());
    let own = own.ok_or_else(|| Error::fenced("the executor's card is gone"))?;
    let card = Card { leaving: true, ..own.card.clone() };
    Ok((member, executors, card))
}

/// Whether there are queries of the build, or gateways that may still publish some.
async fn is_needed(shared: &Shared, build: &str) -> Result<bool> {
    let gateways = Peer::all(&shared.parts.store, Role::Gateway).await?;
    if gateways.iter().any(|gateway| gateway.card.build == build) {
        return Ok(true);
    }
    let runs = |phase| matches!(phase, Phase::Running | Phase::Queued);
    let queries = shared.parts.queue.running().await?;
    Ok(queries.iter().any(|query| runs(query.phase) && query.build == build))
}

#[cfg(test)]
mod tests {
    use dunlin_base::Revision;

    use super::*;

    fn peer(id: u128, build: &str, leaving: bool) -> Peer {
        let card = Card { build: build.to_owned(), leaving, ..Card::default() };
        Peer { id: ProcessId::from_u128(id), card, modified: Revision(7) }
    }

    #[test]
    fn an_executor_leaves_its_queries_only_to_one_of_its_build_that_stays() {
        let (own, new) = (peer(1, "old", false), peer(9, "new", false));
        let told = |executors: &[&Peer]| {
            let executors: Vec<Peer> = executors.iter().map(|peer| (*peer).clone()).collect();
            match next(own.id, "old", &executors) {
                Next::Leave => "leave".to_owned(),
                Next::LeaveTo(peer) => format!("leave to {}", peer.id.to_u128()),
                Next::Ask => "ask".to_owned(),
            }
        };
        let (stays, leaves) = (peer(2, "old", false), peer(3, "old", true));
        assert_eq!(told(&[&own, &stays, &new]), "leave to 2");
        assert_eq!(told(&[&own, &leaves, &stays]), "leave to 2");
        assert_eq!(told(&[&own, &leaves, &new]), "ask", "who leaves takes nothing over");
        assert_eq!(told(&[&own, &new]), "ask");
        // Nobody is there to take over, of whatever build: the cluster ends.
        assert_eq!(told(&[&own, &leaves, &peer(9, "new", true)]), "leave");
        assert_eq!(told(&[&own]), "leave");
    }
}
