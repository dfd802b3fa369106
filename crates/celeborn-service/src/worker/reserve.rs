//! Reservations: a driver says what is going to come, and later that it will not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dunlin_base::{Error, Result};
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::ids::{FileName, ShuffleKey};
use dunlin_celeborn::location::{Location as Reserved, unpack};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::status::StatusCode;

use super::floor::Floor;
use super::gate::Gate;
use super::shuffle::{Location, Place};
use super::verdict::Split;

/// Without a word of the driver; its own default.
const PUSH_WAIT: Duration = Duration::from_secs(120);

/// `partitionType` of what Spark writes.
const REDUCE: i32 = 0;

impl Floor {
    /// All or nothing: locations are added when all of them are understood. May be repeated.
    pub(super) async fn reserve(&self, asked: pb::ReserveSlots) -> Result<Message> {
        let answer = |status: StatusCode, reason: String| {
            pb::ReserveSlotsResponse { status: status.number(), reason }.into()
        };
        if self.core.is_draining() {
            return Ok(answer(StatusCode::WorkerShutdown, "the worker is to go".to_owned()));
        }
        let key = ShuffleKey {
            application: asked.application_id.as_str().into(),
            shuffle: asked.shuffle_id,
        };
        match self.reserved(&key, asked).await {
            Ok(count) => {
                self.counters.reserved.fetch_add(count as u64, Relaxed);
                tracing::debug!(shuffle = %key, locations = count, "a driver reserves locations");
                Ok(answer(StatusCode::Success, String::new()))
            }
            Err(error) => {
                tracing::warn!(shuffle = %key, %error, "locations cannot be reserved");
                Ok(answer(StatusCode::ReserveSlotsFailed, error.to_string()))
            }
        }
    }

    async fn reserved(&self, key: &ShuffleKey, mut asked: pb::ReserveSlots) -> Result<usize> {
        if asked.partition_type != REDUCE {
            return Err(Error::invalid("map partitions, as Flink has them, are not served"));
        }
        let locations = locations(&mut asked)?;
        let user = asked.user_identifier.take().unwrap_or_default();
        let user = format!("{}/{}", user.tenant_id, user.name);
        let shuffle = self.recorded(key, &user).await?.ok_or_else(|| {
            Error::fenced(format!("no master knows shuffle {key}"))
                .with_hint("masters and workers have to use one metadata store")
        })?;
        let push_wait = match u64::try_from(asked.push_data_timeout) {
            Ok(0) | Err(_) => PUSH_WAIT,
            Ok(millis) => Duration::from_millis(millis),
        };
        let split = Split {
            enabled: asked.partition_split_enabled,
            threshold: u64::try_from(asked.split_threshold).unwrap_or(u64::MAX),
            hard: asked.split_mode == 1,
        };
        let count = locations.len();
        for Reserved { copy, peer } in locations {
            let name = FileName { partition: copy.partition, mode: copy.mode };
            let place = Place::of(shuffle.query, name);
            // What is there under this name was left by a former life of the worker.
            let gate = match self.core.bytes_of(place.shuffle, place.partition) {
                Some(bytes) if bytes > 0 => Gate::closed(),
                _ => Gate::default(),
            };
            let peer = peer.map(|peer| (*peer.worker).clone());
            let names_maps = asked.range_read_filter;
            shuffle.reserve(name, Location { peer, split, names_maps, push_wait, gate });
        }
        Ok(count)
    }

    /// Forgets locations. What they hold goes with the shuffle.
    pub(super) async fn destroy(&self, asked: pb::DestroyWorkerSlots) -> Result<Message> {
        let answer = |status: StatusCode, failed: [Vec<String>; 2]| {
            let [failed_primaries, failed_replicas] = failed;
            let status = status.number();
            pb::DestroyWorkerSlotsResponse { status, failed_primaries, failed_replicas }.into()
        };
        let ids = [asked.primary_locations, asked.replica_location];
        if asked.mock_failure {
            return Ok(answer(StatusCode::DestroySlotsMockFailure, ids));
        }
        let key: ShuffleKey = asked.shuffle_key.parse()?;
        let Some(shuffle) = self.known(&key) else {
            return Ok(answer(StatusCode::ShuffleUnregistered, ids));
        };
        for (mode, ids) in [Mode::Primary, Mode::Replica].into_iter().zip(&ids) {
            for id in ids.iter().filter_map(|id| id.parse().ok()) {
                shuffle.destroy(FileName { partition: id, mode });
            }
        }
        tracing::debug!(shuffle = %key, "a driver gives locations up");
        Ok(answer(StatusCode::Success, Default::default()))
    }
}

/// The locations that are meant, in whichever form they came.
fn locations(asked: &mut pb::ReserveSlots) -> Result<Vec<Reserved>> {
    let plain = std::mem::take(&mut asked.primary_locations).into_iter();
    let mut all: Vec<_> = plain
        .chain(std::mem::take(&mut asked.replica_locations))
        .map(Reserved::try_from)
        .collect::<Result<_>>()?;
    if all.is_empty() {
        all = unpack(asked.partition_locations_pair.take().unwrap_or_default())?;
    }
    match all.is_empty() {
        true => Err(Error::invalid("a reservation names no location")),
        false => Ok(all),
    }
}
