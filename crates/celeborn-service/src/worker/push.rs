//! Pushes: into the core, and to the worker of the second copy at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use dunlin_base::{Attempt, Error, Kind};
use dunlin_celeborn::Text;
use dunlin_celeborn::batch::batches;
use dunlin_celeborn::frame::{Frame, Mode, PushData, PushMergedData, RequestId};
use dunlin_celeborn::ids::FileName;
use dunlin_celeborn::push::{PushReply, Split};
use dunlin_celeborn::status::StatusCode;
use dunlin_proto::block::{Block, BlockId, Codec, ShuffleId};
use dunlin_proto::shuffle::{Push, Pushed};
use futures::future::join;

use super::floor::Floor;
use super::gate::Inside;
use super::shuffle::{AppShuffle, Location, Place, is_primary};
use super::stats::kind_of;
use super::verdict::{Look, Verdict, judge};

/// Why a push failed, in the words that clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: StatusCode,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(code: StatusCode, error: &Error) -> Self {
        Self { code, text: error.to_string() }
    }

    /// The text of the failure frame.
    pub(super) fn to_text(&self) -> String {
        self.code.failure(&self.text)
    }
}

type Outcome<T> = Result<T, Failure>;

/// What a push is about, one entry for each location that it names.
pub(super) struct Asked {
    mode: Mode,
    shuffle_key: Text,
    entries: Vec<(Text, Bytes)>,
    /// All of them, one after the other, as they came.
    body: Bytes,
    merged: bool,
}

impl Asked {
    /// The shuffle that it names.
    pub(super) fn shuffle(&self) -> &str {
        &self.shuffle_key
    }
}

impl From<PushData> for Asked {
    fn from(push: PushData) -> Self {
        let PushData { mode, shuffle_key, partition, body, .. } = push;
        let entries = vec![(partition, body.clone())];
        Self { mode, shuffle_key, entries, body, merged: false }
    }
}

impl From<PushMergedData> for Asked {
    fn from(push: PushMergedData) -> Self {
        let entries = push.entries().map(|(partition, body)| (partition.clone(), body)).collect();
        let PushMergedData { mode, shuffle_key, body, .. } = push;
        Self { mode, shuffle_key, entries, body, merged: true }
    }
}

/// An entry that may come in.
struct Entry<'a> {
    /// Its place in the push.
    at: usize,
    place: Place,
    batches: Vec<Block>,
    _inside: Inside<'a>,
}

/// What of a push may come in.
#[derive(Default)]
struct Admitted<'a> {
    entries: Vec<Entry<'a>>,
    /// What is said of entries, by their places: also of some that come in.
    splits: BTreeMap<usize, Split>,
}

impl Floor {
    /// What becomes of a push. An error is of frames that make no sense, and ends the connection.
    pub(super) async fn push(&self, asked: Asked) -> dunlin_base::Result<Outcome<PushReply>> {
        let bytes: usize = asked.entries.iter().map(|(_, body)| body.len()).sum();
        let outcome = self.take(&asked).await;
        let counters = &self.counters;
        match &outcome {
            Ok(PushReply::MapEnded) => {}
            Ok(PushReply::Split(Split::Hard)) => drop(counters.hard_splits.fetch_add(1, Relaxed)),
            Ok(_) if is_primary(asked.mode) => {
                counters.pushes.fetch_add(1, Relaxed);
                counters.pushed_bytes.fetch_add(bytes as u64, Relaxed);
            }
            Ok(_) => drop(counters.copies.fetch_add(1, Relaxed)),
            Err(failure) => {
                counters.push_failures.fetch_add(1, Relaxed);
                let shuffle = asked.shuffle_key.as_str();
                tracing::debug!(shuffle, code = failure.code.name(), text = failure.text, "a push");
            }
        }
        Ok(outcome)
    }

    async fn take(&self, asked: &Asked) -> Outcome<PushReply> {
        let Some(shuffle) = self.by_name(&asked.shuffle_key) else {
            let text = format!("no location of shuffle {} is reserved here", asked.shuffle_key);
            return Err(Failure::new(
                StatusCode::PushDataFailPartitionNotFound,
                &Error::lost(text),
            ));
        };
        let named = named(&shuffle, asked)?;
        let Some(Admitted { mut splits, entries }) = self.admit(asked, &shuffle, &named)? else {
            return Ok(PushReply::MapEnded);
        };
        if entries.is_empty() {
            return Ok(reply(asked, splits, [false; 2]));
        }
        let ats: Vec<usize> = entries.iter().map(|entry| entry.at).collect();
        // All entries of a push have the same two workers.
        let location = named[ats[0]].1.as_ref().filter(|_| is_primary(asked.mode));
        let copy = async {
            match location {
                Some(location) => self.copy(location, asked, &ats).await,
                None => Ok(PushReply::Stored),
            }
        };
        let (here, there) = join(self.store(asked.mode, &shuffle, entries), copy).await;
        let (here, there) = (here?, there?);
        let Some(slow) = here else {
            // It goes elsewhere, whatever the copy says.
            splits.extend(ats.iter().map(|at| (*at, Split::Hard)));
            return Ok(reply(asked, splits, [false; 2]));
        };
        let slow_there = there == PushReply::StoredButCongested;
        match there {
            PushReply::MapEnded => return Ok(PushReply::MapEnded),
            PushReply::Split(split) => ats.iter().for_each(|at| worse(&mut splits, *at, split)),
            PushReply::SplitEntries(all) => {
                let places = all.into_iter().filter_map(|(at, s)| Some((ats.get(at as usize)?, s)));
                places.for_each(|(at, split)| worse(&mut splits, *at, split));
            }
            PushReply::Stored
            | PushReply::StoredButCongested
            | PushReply::StoredButReplicaCongested => {}
        }
        Ok(reply(asked, splits, [slow, slow_there]))
    }

    /// Which entries may come in, and what their clients are told otherwise. `None`: nobody wants any
    /// of them, since their map has ended.
    fn admit<'a>(
        &self,
        asked: &Asked,
        shuffle: &AppShuffle,
        named: &'a [Named],
    ) -> Outcome<Option<Admitted<'a>>> {
        let mut admitted = Admitted::default();
        for (at, (name, location, body)) in named.iter().enumerate() {
            let place = Place::of(shuffle.query, *name);
            let batches = blocks(place, body).map_err(|error| {
                Failure::new(StatusCode::PushDataFailNonCriticalCausePrimary, &error)
            })?;
            let map = batches.first().map_or(0, |block| block.id.map.cast_signed());
            let stored = self.core.bytes_of(place.shuffle, place.partition);
            let look = Look {
                known: shuffle.known(location.as_deref(), map, stored.is_some()),
                going: self.core.is_draining(),
                full: self.is_full(),
                primary: is_primary(asked.mode),
                bytes: stored.unwrap_or(0),
                split: location.as_ref().map_or(super::verdict::Split::NEVER, |one| one.split),
            };
            let inside = || location.as_ref().and_then(|location| location.gate.enter());
            match judge(&look) {
                Verdict::MapEnded => return Ok(None),
                Verdict::Unknown => {
                    let text = format!("location {name} of {} is not here", shuffle.key);
                    let code = StatusCode::PushDataFailPartitionNotFound;
                    return Err(Failure::new(code, &Error::lost(text)));
                }
                Verdict::HardSplit => drop(admitted.splits.insert(at, Split::Hard)),
                verdict @ (Verdict::Store | Verdict::StoreAndMove) => match inside() {
                    None => drop(admitted.splits.insert(at, Split::Hard)),
                    Some(inside) => {
                        if verdict == Verdict::StoreAndMove {
                            admitted.splits.insert(at, Split::Soft);
                        }
                        admitted.entries.push(Entry { at, place, batches, _inside: inside });
                    }
                },
            }
        }
        Ok(Some(admitted))
    }

    /// Stores the entries: true if clients should push more slowly, `None` if they are to go elsewhere.
    async fn store(
        &self,
        mode: Mode,
        shuffle: &AppShuffle,
        entries: Vec<Entry<'_>>,
    ) -> Outcome<Option<bool>> {
        let mut by_shuffle: BTreeMap<ShuffleId, Vec<Block>> = BTreeMap::new();
        let mut inside = Vec::with_capacity(entries.len());
        for Entry { place, batches, _inside, .. } in entries {
            by_shuffle.entry(place.shuffle).or_default().extend(batches);
            inside.push(_inside);
        }
        let (mut slow, user) = (false, Some(Arc::clone(&shuffle.user)));
        for blocks in by_shuffle.into_values() {
            let push = Push { last_resort: true, user: user.clone(), ..Push::plain(blocks) };
            match self.core.store_checked(push).await {
                Ok(Pushed::Stored(ack)) => slow |= ack.slow,
                Ok(Pushed::Refused(..)) => return Ok(None),
                Err(error) => return self.not_stored(mode, &error),
            }
        }
        Ok(Some(slow))
    }

    fn not_stored(&self, mode: Mode, error: &Error) -> Outcome<Option<bool>> {
        match error.kind() {
            Kind::Exhausted => self.has_no_room(),
            // Its record went meanwhile.
            Kind::Fenced => {
                return Err(Failure::new(StatusCode::PushDataFailPartitionNotFound, error));
            }
            _ => {}
        }
        let code = match is_primary(mode) {
            true => StatusCode::PushDataWriteFailPrimary,
            false => StatusCode::PushDataWriteFailReplica,
        };
        Err(Failure::new(code, error))
    }

    /// Has the worker of the second copy store the entries at these places.
    async fn copy(&self, location: &Location, asked: &Asked, ats: &[usize]) -> Outcome<PushReply> {
        let Some(peer) = &location.peer else { return Ok(PushReply::Stored) };
        let (mode, shuffle_key) = (Mode::Replica, asked.shuffle_key.clone());
        let entry = |at: &usize| asked.entries[*at].clone();
        let frame = |id: RequestId| match asked.merged {
            false => {
                let (partition, body) = entry(&ats[0]);
                Frame::PushData(PushData { id, mode, shuffle_key, partition, body })
            }
            true => {
                let (mut partitions, mut offsets, mut bodies) =
                    (Vec::new(), Vec::new(), Vec::new());
                let mut offset = 0;
                for (partition, body) in ats.iter().map(entry) {
                    partitions.push(partition);
                    offsets.push(offset);
                    offset += u32::try_from(body.len()).unwrap_or(u32::MAX);
                    bodies.push(body);
                }
                let body = match ats.len() == asked.entries.len() {
                    true => asked.body.clone(),
                    false => bodies.concat().into(),
                };
                let push = PushMergedData { id, mode, shuffle_key, partitions, offsets, body };
                Frame::PushMergedData(push)
            }
        };
        let copied = self.peers.push(peer, location.push_wait, frame).await;
        copied.inspect_err(|failure| {
            self.counters.copy_failures[kind_of(failure.code)].fetch_add(1, Relaxed);
        })
    }
}

type Named = (FileName, Option<Arc<Location>>, Bytes);

fn named(shuffle: &AppShuffle, asked: &Asked) -> Outcome<Vec<Named>> {
    let name = |(partition, body): &(Text, Bytes)| {
        let partition = partition.parse().map_err(|error: Error| {
            Failure::new(StatusCode::PushDataFailPartitionNotFound, &error)
        })?;
        let name = FileName { partition, mode: asked.mode };
        Ok((name, shuffle.location(name), body.clone()))
    };
    asked.entries.iter().map(name).collect()
}

/// The batches of an entry as blocks: each with its header, as it came.
fn blocks(place: Place, body: &Bytes) -> dunlin_base::Result<Vec<Block>> {
    let block = |batch: dunlin_base::Result<_>| {
        let (header, bytes): (dunlin_celeborn::batch::BatchHeader, Bytes) = batch?;
        let id = BlockId {
            shuffle: place.shuffle,
            partition: place.partition,
            map: header.map.cast_unsigned(),
            attempt: Attempt(header.attempt.cast_unsigned()),
            batch: header.batch.cast_unsigned(),
        };
        Ok(Block::new(id, 0, Codec::Foreign, bytes))
    };
    batches(body).map(block).collect()
}

/// A hard split counts more than a soft one.
fn worse(splits: &mut BTreeMap<usize, Split>, at: usize, split: Split) {
    let entry = splits.entry(at).or_insert(split);
    if split == Split::Hard {
        *entry = split;
    }
}

/// The answer: splits before congestion here, before congestion there.
fn reply(asked: &Asked, splits: BTreeMap<usize, Split>, slow: [bool; 2]) -> PushReply {
    if let Some(split) = splits.values().next().filter(|_| !asked.merged) {
        return PushReply::Split(*split);
    }
    if !splits.is_empty() {
        let entry = |(at, split)| (u32::try_from(at).unwrap_or(u32::MAX), split);
        return PushReply::SplitEntries(splits.into_iter().map(entry).collect());
    }
    match slow {
        [true, _] => PushReply::StoredButCongested,
        [_, true] => PushReply::StoredButReplicaCongested,
        _ => PushReply::Stored,
    }
}
