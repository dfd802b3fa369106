//! `dunlin shuffle drain`: leaves a wish for a worker, which that worker looks for.

use dunlin_base::{Env, Error, Result};
use dunlin_metadata::StoreRef;
use dunlin_queue::{Peer, Role, Want, Wish};

use crate::engine::stays;

/// Says to a worker that it is to go, or to stay after all. Returns what there is to say.
/// `Invalid`: no or several workers are meant; no other takes data, and it is not forced.
pub(super) async fn drain(
    env: &Env,
    store: &StoreRef,
    worker: &str,
    (drain, force): (bool, bool),
) -> Result<String> {
    let workers = Peer::all(store, Role::Shuffle).await?;
    let meant = find(&workers, worker)?;
    let others = workers.iter().any(|peer| peer.id != meant.id && stays(peer));
    if drain && !force && !others {
        return Err(Error::invalid(format!("no worker but {} takes data", meant.id)).with_hint(
            "start another one first, or say --force: queries wait then, and may fail",
        ));
    }
    let lives = |peer: &Peer| [vec![peer.id.to_string()], peer.card.former.clone()].concat();
    let alive: Vec<String> = workers.iter().flat_map(lives).collect();
    Wish::forget_others(store, &alive).await?;
    let want = if drain { Want::Leave } else { Want::Stay };
    let wish = Wish { want, since_unix_ms: env.unix_ms() };
    if !wish.say(store, meant.id).await? {
        return Err(Error::retry(format!("worker {} has gone meanwhile", meant.id)));
    }
    let id = meant.id;
    Ok(match drain {
        true => format!("worker {id} takes nothing more, and ends once nobody needs its data"),
        false => format!("worker {id} takes data again"),
    })
}

fn find<'a>(workers: &'a [Peer], name: &str) -> Result<&'a Peer> {
    let is = |peer: &&Peer| {
        peer.card.address == name || (!name.is_empty() && peer.id.to_string().starts_with(name))
    };
    let mut found = workers.iter().filter(is);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::invalid(format!("there is no shuffle worker '{name}'"))
            .with_hint("dunlin shuffle ls lists them")),
        (Some(_), Some(_)) => {
            Err(Error::invalid(format!("'{name}' may be several shuffle workers"))
                .with_hint("say more of its id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_base::{ProcessId, Revision};
    use dunlin_proto::queue::Card;

    use super::*;

    #[test]
    fn a_worker_is_named_by_address_or_by_the_beginning_of_its_id() {
        let peer = |id: u128, port: u16| {
            let card = Card { address: format!("h:{port}"), ..Card::default() };
            Peer { id: ProcessId::from_u128(id << 64), card, modified: Revision(1) }
        };
        let workers = [peer(1, 1), peer(2, 2)];
        for worker in &workers {
            let id = worker.id.to_string();
            for name in [id.as_str(), &worker.card.address] {
                assert_eq!(find(&workers, name).expect(name).id, worker.id);
            }
        }
        let common: String = workers[0].id.to_string().chars().take(1).collect();
        for (name, word) in [(common.as_str(), "several"), ("nobody", "no shuffle"), ("", "no")] {
            let error = find(&workers, name).expect_err(name);
            assert!(error.message().contains(word), "{error}");
        }
    }
}
