//! Locations in both forms, and packed ones that do not fit together.

use super::*;
use crate::storage::StorageType;

fn copy_of(id: i32, mode: Mode, host: &str) -> Copy {
    let worker = format!("{host}:1:2:3:4").parse::<WorkerId>().expect("a worker");
    let storage = StorageInfo {
        kind: StorageType::Ssd,
        mount_point: "/disk".into(),
        committed: id == 1,
        path: if id == 1 { "/disk/file".into() } else { "".into() },
        available: Available(2),
        bytes: 7 * id as u64,
        chunk_offsets: vec![0, 7 * id as u64],
    };
    Copy {
        partition: PartitionKey { id, epoch: 3 },
        mode,
        worker: worker.into(),
        storage: storage.into(),
        maps: Bytes::from_static(if id == 2 { b"maps" } else { b"" }),
    }
}

pub(crate) fn locations() -> Vec<Location> {
    let (one, two) = (Mode::Primary, Mode::Replica);
    vec![
        Location { copy: copy_of(0, one, "a"), peer: Some(copy_of(0, two, "b")) },
        Location { copy: copy_of(1, one, "a"), peer: None },
        Location { copy: copy_of(2, two, "a"), peer: Some(copy_of(2, one, "c")) },
    ]
}

#[test]
fn locations_come_back_from_both_forms() {
    for location in locations() {
        let plain = pb::PartitionLocation::from(&location);
        assert_eq!(Location::try_from(plain).expect("its own"), location);
    }
    assert_eq!(unpack(pack(&locations())).expect("its own"), locations());
    assert!(unpack(pack(&[])).expect("none").is_empty());
}

#[test]
fn every_column_has_an_entry_for_each_location_and_peer() {
    let pair = pack(&locations());
    assert_eq!((&pair.peer_indexes[..], pair.input_location_size), (&[3, NO_PEER, 4, 0, 2][..], 3));
    let packed = pair.locations.expect("some");
    check_columns(&packed).expect("equally long");
    assert_eq!((packed.file_sizes.len(), packed.chunks_offsets.len()), (5, 5));
    assert_eq!(packed.worker_ids_set, ["a:1:2:3:4", "b:1:2:3:4", "c:1:2:3:4"]);
    assert_eq!((packed.mount_points_set.len(), &packed.file_paths[1][..]), (1, "/file"));
}

type Pair = pb::PackedPartitionLocationsPair;

fn refuse(what: &str, change: impl FnOnce(&mut Pair, &mut pb::PackedPartitionLocations)) {
    let mut pair = pack(&locations());
    let mut packed = pair.locations.take().expect("some");
    change(&mut pair, &mut packed);
    pair.locations = Some(packed);
    assert!(unpack(pair).is_err(), "{what}");
}

#[test]
fn packed_locations_that_do_not_fit_together_are_refused() {
    refuse("a short column", |_, packed| packed.modes.truncate(4));
    refuse("a short column that may be absent", |_, packed| packed.file_sizes.truncate(4));
    refuse("no peers", |pair, _| pair.peer_indexes.clear());
    refuse("a peer beyond the end", |pair, _| pair.peer_indexes[0] = 5);
    refuse("a peer below zero", |pair, _| pair.peer_indexes[0] = -1);
    refuse("more than there are", |pair, _| pair.input_location_size = 6);
    refuse("fewer than none", |pair, _| pair.input_location_size = -1);
    refuse("a worker that is none", |_, packed| packed.worker_ids[0] = 9);
    refuse("a worker without ports", |_, packed| packed.worker_ids_set[0] = "a".to_owned());
    refuse("a mount point that is none", |_, packed| packed.mount_points[0] = -1);
    refuse("a mode that is none", |_, packed| packed.modes[0] = 2);
    refuse("a type that is none", |_, packed| packed.types[0] = 77);
    refuse("a length below zero", |_, packed| packed.file_sizes[0] = -1);
}

#[test]
fn locations_of_old_clients_have_no_lengths() {
    let mut pair = pack(&locations());
    let packed = pair.locations.as_mut().expect("some");
    packed.file_sizes.clear();
    packed.chunks_offsets.clear();
    let all = unpack(pair).expect("as 0.5 writes them");
    assert!(all.iter().all(|one| one.copy.storage.chunk_offsets.is_empty()));
}

#[test]
fn a_long_mount_point_does_not_unfold_without_bound() {
    refuse("long paths", |pair, packed| {
        packed.mount_points_set[0] = "/".repeat(PATHS_BYTES_MAX / 4);
        packed.file_paths.iter_mut().for_each(|path| *path = "x".to_owned());
        pair.input_location_size = 5;
    });
}

#[test]
fn a_location_with_a_port_that_is_none_is_refused() {
    let plain = pb::PartitionLocation::from(&locations()[0]);
    for push_port in [-1, 65_536] {
        assert!(Location::try_from(pb::PartitionLocation { push_port, ..plain.clone() }).is_err());
    }
}
