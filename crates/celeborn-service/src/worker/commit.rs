//! Commits: locations take nothing more, and the driver learns what they hold.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::Result;
use dunlin_celeborn::bitmap::MapIds;
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::ids::{FileName, ShuffleKey};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::status::StatusCode;
use dunlin_celeborn::storage::StorageInfo;
use dunlin_shuffle_service::{BlockAt, Order};

use super::floor::Floor;
use super::shuffle::{AppShuffle, Place};
use super::streams::cut;

/// Files of fewer bytes do not count in what the driver takes for a usual size.
const SMALL: u64 = 8 << 20;

/// What a commit found of one location.
enum Found {
    /// It holds these blocks.
    Data(Vec<BlockAt>),
    /// It was reserved, and nothing came.
    Nothing,
    /// It is not here.
    Unknown,
}

impl Floor {
    /// Answers once for each number of a commit: a repeat gets the answer of the first.
    pub(super) async fn commit(&self, asked: pb::CommitFiles) -> Result<Message> {
        if asked.mock_failure {
            return Ok(failed(StatusCode::CommitFilesMockFailure, asked).into());
        }
        let key = ShuffleKey {
            application: asked.application_id.as_str().into(),
            shuffle: asked.shuffle_id,
        };
        let Some(shuffle) = self.shuffle(&key).await? else {
            return Ok(failed(StatusCode::ShuffleUnregistered, asked).into());
        };
        let answer = shuffle.commit(asked.epoch);
        let response = answer.get_or_init(|| self.committed(&shuffle, asked)).await;
        Ok(response.clone().into())
    }

    async fn committed(
        &self,
        shuffle: &AppShuffle,
        asked: pb::CommitFiles,
    ) -> pb::CommitFilesResponse {
        shuffle.attempts(&asked.map_attempts);
        let mut response = pb::CommitFilesResponse::default();
        for (mode, ids) in
            [(Mode::Primary, &asked.primary_ids), (Mode::Replica, &asked.replica_ids)]
        {
            for id in ids {
                self.commit_one(shuffle, mode, id, &mut response).await;
            }
        }
        let none_failed =
            response.failed_primary_ids.is_empty() && response.failed_replica_ids.is_empty();
        let status = if none_failed { StatusCode::Success } else { StatusCode::PartialSuccess };
        response.status = status.number();
        let (key, failed) = (&shuffle.key, response.failed_primary_ids.len());
        let committed = response.committed_primary_ids.len() + response.committed_replica_ids.len();
        self.counters.commits[usize::from(!none_failed)].fetch_add(1, Relaxed);
        tracing::debug!(shuffle = %key, epoch = asked.epoch, committed, failed, "a commit");
        response
    }

    async fn commit_one(
        &self,
        shuffle: &AppShuffle,
        mode: Mode,
        id: &str,
        response: &mut pb::CommitFilesResponse,
    ) {
        let (committed, failed, infos) = match mode {
            Mode::Primary => (
                &mut response.committed_primary_ids,
                &mut response.failed_primary_ids,
                &mut response.committed_primary_storage_infos,
            ),
            Mode::Replica => (
                &mut response.committed_replica_ids,
                &mut response.failed_replica_ids,
                &mut response.committed_replica_storage_infos,
            ),
        };
        let name = id.parse().map(|partition| FileName { partition, mode });
        let found = match name {
            Ok(name) => self.close(shuffle, name).await,
            Err(_) => Found::Unknown,
        };
        match found {
            Found::Data(blocks) => {
                let info = self.storage(&blocks);
                if info.bytes >= SMALL {
                    response.total_written += info.bytes.cast_signed();
                    response.file_count += 1;
                }
                let names_maps = |name| shuffle.location(name).is_some_and(|one| one.names_maps);
                if name.is_ok_and(names_maps) {
                    response.map_id_bitmap.insert(id.to_owned(), maps_of(&blocks));
                }
                committed.push(id.to_owned());
                infos.insert(id.to_owned(), (&info).into());
            }
            Found::Nothing => {}
            Found::Unknown => {
                tracing::warn!(shuffle = %shuffle.key, location = id, "a commit names what is not here");
                failed.push(id.to_owned());
            }
        }
    }

    /// Lets nothing more into a location, and says what it holds.
    async fn close(&self, shuffle: &AppShuffle, name: FileName) -> Found {
        let location = shuffle.location(name);
        if let Some(location) = &location {
            location.gate.close().await;
        }
        let Place { shuffle: id, partition } = Place::of(shuffle.query, name);
        match self.core.contents(id, partition, &Order::Arrival) {
            Ok(blocks) if !blocks.is_empty() => Found::Data(blocks),
            _ if location.is_some() => Found::Nothing,
            _ => Found::Unknown,
        }
    }

    /// What a driver is told of a committed location.
    fn storage(&self, blocks: &[BlockAt]) -> StorageInfo {
        let mut offsets = vec![0];
        for chunk in cut(blocks) {
            let bytes: u64 = blocks[chunk].iter().map(|block| block.bytes).sum();
            offsets.push(offsets[offsets.len() - 1] + bytes);
        }
        StorageInfo {
            kind: self.storage_type,
            committed: true,
            bytes: offsets[offsets.len() - 1],
            chunk_offsets: offsets,
            ..StorageInfo::default()
        }
    }
}

/// The maps that have a block here. A client with more of them than the set can have is told nothing,
/// and so reads the location whatever it wants.
fn maps_of(blocks: &[BlockAt]) -> Vec<u8> {
    let mut maps = MapIds::default();
    match blocks.iter().try_for_each(|block| maps.insert(block.map).map(drop)) {
        Ok(()) => maps.encode().to_vec(),
        Err(_) => Vec::new(),
    }
}

fn failed(status: StatusCode, asked: pb::CommitFiles) -> pb::CommitFilesResponse {
    pb::CommitFilesResponse {
        status: status.number(),
        failed_primary_ids: asked.primary_ids,
        failed_replica_ids: asked.replica_ids,
        ..pb::CommitFilesResponse::default()
    }
}
