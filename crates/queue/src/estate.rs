//! What a shuffle worker leaves in the object store, as a record that outlives its card, and who of the
//! others adopts it. See `design/2026-11-28-shuffle-adoption.md`.
//!
//! The one thing to know: while a worker can acknowledge blocks as being in the object store, it has a
//! card, or an estate names it. Both change in one transaction when somebody adopts it.

use std::cmp::Reverse;
use std::time::Duration;

use dunlin_base::{Error, ProcessId, Result, Revision};
use dunlin_metadata::{Compare, Durability, Entry, Op, Store, StoreRef, Txn, TxnOutcome};
use dunlin_proto::queue::{Card, Estate as Record};
use prost::Message;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::member::{Member, Role};
use crate::peer::Peer;
use crate::queue::{Queue, settle};

/// Where the estates are.
const ESTATES: &str = "estate/";

/// Ids of dead workers that one worker answers for. Blocks of older ones belong to queries that have
/// ended long ago.
const ADOPTED_MAX: usize = 256;

/// How long readers wait for a worker that adopts what another one has left.
pub const HEIR_WAIT: Duration = Duration::from_secs(60);

/// A worker that could adopt an estate waits so long for each one that comes before it.
pub const TURN: Duration = Duration::from_secs(5);

/// The estate of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Estate {
    /// The process, in its last life.
    pub id: ProcessId,
    /// What it left.
    pub record: Record,
    /// When that was last written.
    pub modified: Revision,
}

/// Who has what a shuffle worker held in the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    /// A process with a card answers for it.
    Here,
    /// Nobody does, but its estate is there: somebody may adopt it.
    Due,
    /// Nobody will.
    Nobody,
}

pub(crate) fn key(id: impl std::fmt::Display) -> String {
    format!("{ESTATES}{id}")
}

fn card_key(id: ProcessId) -> String {
    format!("{}{id}", Role::Shuffle.prefix())
}

impl Estate {
    /// The name of an object store by its URL; empty for one that only one process reaches.
    pub fn place(url: &str) -> String {
        match url {
            "memory:" => String::new(),
            url => format!("{:016x}", xxh3_64(url.as_bytes())),
        }
    }

    /// What a process with this card is to leave; nothing if it keeps nothing in an object store that
    /// others reach.
    pub(crate) fn record(card: &Card, own: ProcessId) -> Option<Record> {
        let storage = card.shuffle.as_ref().filter(|s| !s.object_place.is_empty())?;
        let own = own.to_string();
        let former = card.former.iter().filter(|id| **id != own).cloned();
        Some(Record {
            lives: former.chain([own.clone()]).collect(),
            adopted: card.adopted.clone(),
            folders: storage.object_folders.clone(),
            place: storage.object_place.clone(),
            adopter: String::new(),
        })
    }

    /// All there are, in the order of their ids. `Retry`: the store is out of reach.
    pub async fn all(store: &dyn Store) -> Result<Vec<Self>> {
        let entries = store.range(ESTATES).await?.entries;
        Ok(entries.iter().filter_map(Self::of).collect())
    }

    fn of(entry: &Entry) -> Option<Self> {
        let id = entry.key.strip_prefix(ESTATES)?.parse().ok()?;
        let record = Record::decode(entry.value.as_ref()).ok()?;
        Some(Self { id, record, modified: entry.modified })
    }

    /// Whether the process, or one whose estate it had adopted, had this id.
    pub fn names(&self, worker: &str) -> bool {
        let Record { lives, adopted, .. } = &self.record;
        lives.iter().chain(adopted).any(|id| id == worker)
    }

    /// How many workers come before `own` in adopting this now. `None`: it is not to adopt it, because
    /// the process is there in this or another life, another one has begun to, or it uses another
    /// object store. Pure; `peers` are all shuffle workers with cards.
    pub fn turn(&self, own: ProcessId, peers: &[Peer]) -> Option<u32> {
        let is =
            |peer: &Peer, id: &String| peer.id.to_string() == *id || peer.card.former.contains(id);
        let alive = |id: &String| peers.iter().any(|peer| is(peer, id));
        let me = peers.iter().find(|peer| peer.id == own)?;
        let Record { place, adopter, .. } = &self.record;
        let reaches = |peer: &Peer| {
            let storage = peer.card.shuffle.as_ref();
            !place.is_empty() && storage.is_some_and(|storage| storage.object_place == *place)
        };
        if !reaches(me) || alive(&self.id.to_string()) {
            return None;
        }
        if is(me, adopter) {
            return Some(0);
        }
        if alive(adopter) {
            return None;
        }
        let rank = |peer: &Peer| {
            let drains = peer.card.shuffle.as_ref().is_some_and(|storage| storage.draining);
            let seed = xxh3_64(&self.id.to_u128().to_le_bytes());
            let hash = xxh3_64_with_seed(&peer.id.to_u128().to_le_bytes(), seed);
            (drains, Reverse(hash), peer.id)
        };
        let mine = rank(me);
        Some(peers.iter().filter(|peer| reaches(peer) && rank(peer) < mine).count() as u32)
    }

    /// Says that this member adopts it, while its process has no card and it is as it was seen. `None`:
    /// it is not, and nothing has changed. The claim is void once the member has no card. `Fenced`:
    /// that is so now. `Retry`: perhaps it is claimed; look again.
    pub async fn claim(&self, member: &Member) -> Result<Option<Self>> {
        let own = member.id().to_string();
        let record = Record { adopter: own.clone(), ..self.record.clone() };
        let compares = vec![
            Compare::Created(card_key(member.id()), member.fence()),
            Compare::Absent(card_key(self.id)),
            Compare::Modified(key(self.id), self.modified),
        ];
        let ops = vec![Op::Put(key(self.id), record.encode_to_vec().into(), None)];
        let (store, env) = member.store();
        let txn = Txn { compares, ops, durability: Durability::Synced };
        match settle(store, env, txn).await? {
            TxnOutcome::Committed(modified) => Ok(Some(Self { id: self.id, record, modified })),
            TxnOutcome::Conflict(found) => {
                member.is_there(&found)?;
                // What was written and not heard of.
                let now = found.get(2).and_then(|entry| Self::of(entry.as_ref()?));
                Ok(now.filter(|now| now.record == record && matches!(found.get(1), Some(None))))
            }
        }
    }

    /// Removes it while it is as it was seen and its process has no card. Idempotent.
    pub async fn forget(&self, store: &StoreRef) -> Result<()> {
        let absent = Compare::Absent(card_key(self.id));
        let compares = vec![absent, Compare::Modified(key(self.id), self.modified)];
        let ops = vec![Op::Delete(key(self.id))];
        store.txn(Txn { compares, ops, durability: Durability::Lazy }).await.map(drop)
    }

    /// Has a card answer for it, too.
    pub(crate) fn add_to(&self, card: &mut Card) {
        let Record { lives, adopted, folders, .. } = &self.record;
        add(&mut card.adopted, adopted.iter().chain(lives));
        let extra = card.adopted.len().saturating_sub(ADOPTED_MAX);
        card.adopted.drain(..extra);
        if let Some(storage) = &mut card.shuffle {
            add(&mut storage.object_folders, folders.iter());
        }
    }
}

fn add<'a>(to: &mut Vec<String>, new: impl Iterator<Item = &'a String>) {
    for one in new {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

impl Member {
    /// Writes its card and its estate, and deletes the one that it has adopted and claimed: all or
    /// nothing. False: that is not as it was claimed, and nothing has changed. `Fenced`: the own card
    /// is gone.
    pub(crate) async fn inherit(
        &self,
        card: &Card,
        own: Option<Record>,
        estate: &Estate,
    ) -> Result<bool> {
        let card: bytes::Bytes = card.encode_to_vec().into();
        let compares = vec![
            Compare::Created(card_key(self.id()), self.fence()),
            Compare::Modified(key(estate.id), estate.modified),
        ];
        let mut ops = vec![Op::Put(card_key(self.id()), card.clone(), Some(self.lease()))];
        ops.extend(own.map(|own| Op::Put(key(self.id()), own.encode_to_vec().into(), None)));
        ops.push(Op::Delete(key(estate.id)));
        let (store, env) = self.store();
        let txn = Txn { compares, ops, durability: Durability::Synced };
        match settle(store, env, txn).await? {
            TxnOutcome::Committed(_) => Ok(true),
            TxnOutcome::Conflict(found) => {
                self.is_there(&found)?;
                // What was written and not heard of.
                Ok(matches!(found.as_slice(), [Some(now), None] if now.value == card))
            }
        }
    }

    /// `Fenced` unless the first entry of a conflict is the own card.
    fn is_there(&self, found: &[Option<Entry>]) -> Result<()> {
        match found.first() {
            Some(Some(own)) if own.created == self.fence() => Ok(()),
            _ => Err(Error::fenced(format!("process {} has no card any more", self.id()))),
        }
    }
}

impl Queue {
    /// Who has what a shuffle worker held in the object store, as the store knows it now.
    pub async fn heir_of(&self, worker: ProcessId) -> Result<Heir> {
        // Estates first: who adopts one deletes it with the write of its card.
        let estates = Estate::all(self.store()).await?;
        if self.has_shuffle_worker(worker).await? {
            return Ok(Heir::Here);
        }
        let worker = worker.to_string();
        let due = estates.iter().any(|estate| estate.names(&worker));
        Ok(if due { Heir::Due } else { Heir::Nobody })
    }
}

#[cfg(test)]
mod tests {
    use dunlin_proto::queue::ShuffleStorage;

    use super::*;

    fn peer(id: u128, place: &str, former: &[u128]) -> Peer {
        let storage = ShuffleStorage { object_place: place.to_owned(), ..Default::default() };
        let former = former.iter().map(|id| ProcessId::from_u128(*id).to_string()).collect();
        let card = Card { shuffle: Some(storage), former, ..Card::default() };
        Peer { id: ProcessId::from_u128(id), card, modified: Revision(1) }
    }

    fn estate(id: u128) -> Estate {
        let id = ProcessId::from_u128(id);
        let mut card = peer(1, "here", &[]).card;
        card.shuffle.get_or_insert_default().object_folders = vec!["folder".to_owned()];
        let record = Estate::record(&card, id).expect("it has a store");
        Estate { id, record, modified: Revision(3) }
    }

    fn turns(estate: &Estate, peers: &[Peer]) -> Vec<Option<u32>> {
        peers.iter().map(|peer| estate.turn(peer.id, peers)).collect()
    }

    #[test]
    fn every_candidate_has_a_turn_of_its_own_and_the_first_are_spread() {
        let peers: Vec<_> = (1..6).map(|id| peer(id, "here", &[])).collect();
        let mut firsts = std::collections::BTreeMap::new();
        for id in 100..200 {
            let mut turns = turns(&estate(id), &peers);
            *firsts.entry(turns.iter().position(|turn| *turn == Some(0))).or_insert(0) += 1;
            turns.sort();
            assert_eq!(turns, [0, 1, 2, 3, 4].map(Some));
        }
        assert!(firsts.len() == 5 && firsts.values().all(|count| *count > 5), "{firsts:?}");
        // One that goes moves nobody but those behind it.
        let estate = estate(7);
        let before = turns(&estate, &peers);
        for gone in 0..peers.len() {
            let left: Vec<_> = peers.iter().filter(|p| p.id != peers[gone].id).cloned().collect();
            for (peer, turn) in peers.iter().zip(&before).filter(|(p, _)| p.id != peers[gone].id) {
                let moved = u32::from(*turn > before[gone]);
                assert_eq!(estate.turn(peer.id, &left), turn.map(|turn| turn - moved));
            }
        }
    }

    #[test]
    fn only_what_is_nobodys_is_adopted_and_only_by_who_reaches_it() {
        let mut estate = estate(7);
        let two = |one: Peer| turns(&estate, &[one, peer(2, "here", &[])]);
        assert_eq!(two(peer(7, "here", &[])), [None, None], "it has a card");
        assert_eq!(two(peer(8, "here", &[7])), [None, None], "it lives on");
        assert_eq!(two(peer(1, "there", &[])), [None, Some(0)]);
        assert_eq!(two(peer(1, "", &[])), [None, Some(0)]);
        let mut drains = peer(1, "here", &[]);
        drains.card.shuffle.get_or_insert_default().draining = true;
        assert_eq!(two(drains), [Some(1), Some(0)], "who is to go is the last");
        assert_eq!(estate.turn(ProcessId::from_u128(3), &[peer(2, "here", &[])]), None, "no card");
        // Claimed by the first; void once it has no card.
        let peers = [peer(1, "here", &[]), peer(2, "here", &[])];
        estate.record.adopter = peers[0].id.to_string();
        assert_eq!(turns(&estate, &peers), [Some(0), None]);
        assert_eq!(turns(&estate, &[peer(3, "here", &[1]), peer(2, "here", &[])]), [Some(0), None]);
        assert_eq!(turns(&estate, &[peer(2, "here", &[])]), [Some(0)]);
        estate.record.place = String::new();
        assert_eq!(turns(&estate, &[peer(2, "", &[])]), [None], "nobody else reaches that");
    }

    #[test]
    fn an_estate_is_what_the_card_says_and_goes_on_with_the_adopter() {
        assert_eq!(Estate::place("memory:"), "");
        assert_ne!(Estate::place("s3://a/b"), Estate::place("s3://a/c"));
        assert_eq!(Estate::record(&peer(1, "", &[]).card, ProcessId::from_u128(1)), None);
        let (first, second) = (estate(7), estate(8));
        let mut card = peer(1, "here", &[]).card;
        for estate in [&first, &second, &first] {
            estate.add_to(&mut card);
        }
        let own = Estate::record(&card, ProcessId::from_u128(9)).expect("it has a store");
        let id = |id: u128| ProcessId::from_u128(id).to_string();
        assert_eq!((own.adopted, own.folders.len()), (vec![id(7), id(8)], 1));
        assert_eq!(own.lives, [id(9)]);
        assert!(first.names(&id(7)) && !first.names(&id(8)));
    }
}
