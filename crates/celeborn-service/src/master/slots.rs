//! Which worker gets which partition: a pure function of the workers, the request and chance.
//!
//! A client reallocates only among workers that it was given, so some that get nothing are named, too.
//! The rules are those that Celeborn's master has for its round-robin policy; by load, the shares of
//! workers follow the room that they have.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Without copies one worker would do; with them two.
const WORKERS_MIN: [usize; 2] = [1, 2];

/// At least so many workers are named that get nothing, as far as there are any,
const EXTRA_MIN: usize = 2;

/// and so many in all.
const NAMED_MIN: usize = 100;

/// How partitions are dealt out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotPolicy {
    /// The same number to each worker.
    #[default]
    RoundRobin,
    /// By the room that workers say they have, less where memory is short.
    LoadAware,
}

/// What a worker's share is in proportion to, never 0: its free bytes, and less of them the more of its
/// memory is in use. A worker without free memory still counts with a hundredth of its disks.
pub(super) fn weight(free: u64, pressure: u8) -> u64 {
    let calm = 101 - u64::from(pressure.min(100));
    ((free >> 20) * calm / 101).max(1)
}

/// A worker that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The machine that it is on.
    pub host: String,
    /// The rack that its machine is in, if known.
    pub rack: String,
    /// Its index in the caller's list.
    pub index: usize,
    /// What its share is in proportion to, if it is by load. Not 0.
    pub weight: u64,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// The partitions.
    pub partitions: &'a [i32],
    /// Two copies of each.
    pub copies: bool,
    /// The second one on another rack, if there is one.
    pub racks: bool,
    /// No more workers than this get something; 0: no limit.
    pub workers_max: usize,
    /// How they are dealt out.
    pub policy: SlotPolicy,
    /// Where the choice begins.
    pub chance: u64,
}

/// Where one partition goes: indexes of the caller's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The partition.
    pub partition: i32,
    /// Who gets it.
    pub primary: usize,
    /// Who gets the second copy.
    pub replica: Option<usize>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// One for each partition, in order.
    pub slots: Vec<Slot>,
    /// Workers that get nothing, for later.
    pub extra: Vec<usize>,
}

/// Places for all partitions, or `None`: there are not enough workers.
pub(super) fn offer(candidates: &[Candidate], wish: &Wish<'_>) -> Option<Offer> {
    let least = WORKERS_MIN[usize::from(wish.copies)];
    if candidates.len() < least {
        return None;
    }
    let most = match wish.workers_max {
        0 => candidates.len(),
        most => most.max(least).min(candidates.len()),
    };
    let first = usize::try_from(wish.chance % candidates.len() as u64).unwrap_or(0);
    let turned = || candidates.iter().cycle().skip(first).take(candidates.len());
    let used: Vec<_> = turned().take(most).collect();
    let mut load = vec![0_usize; used.len()];
    let mut slots = Vec::with_capacity(wish.partitions.len());
    for (at, partition) in wish.partitions.iter().enumerate() {
        let place = match wish.policy {
            SlotPolicy::RoundRobin => at % used.len(),
            SlotPolicy::LoadAware => lightest(&used, &mut load),
        };
        let replica = wish.copies.then(|| other(&used, &mut load, place, wish));
        slots.push(Slot { partition: *partition, primary: used[place].index, replica });
    }
    let have = |slot: &Slot| [Some(slot.primary), slot.replica];
    let named: BTreeSet<usize> = slots.iter().flat_map(have).flatten().collect();
    let extra = EXTRA_MIN.max(NAMED_MIN.saturating_sub(named.len()));
    let others = turned().map(|worker| worker.index).filter(|index| !named.contains(index));
    let extra = others.take(extra).collect();
    Some(Offer { slots, extra })
}

/// How much a worker would have with one more, for its weight.
fn filled(used: &[&Candidate], load: &[usize], at: usize) -> u64 {
    ((load[at] as u64 + 1) << 20) / used[at].weight
}

/// Who has the least for its weight; it has one more then.
fn lightest(used: &[&Candidate], load: &mut [usize]) -> usize {
    let chosen = (0..used.len()).min_by_key(|at| filled(used, load, *at)).unwrap_or(0);
    load[chosen] += 1;
    chosen
}

/// Who gets the second copy: the furthest away, of these the one that has the fewest.
fn other(used: &[&Candidate], load: &mut [usize], place: usize, wish: &Wish<'_>) -> usize {
    let others = (1..used.len()).map(|step| (place + step) % used.len());
    let held = |at: usize| match wish.policy {
        SlotPolicy::RoundRobin => load[at] as u64,
        SlotPolicy::LoadAware => filled(used, load, at),
    };
    let key = |at: &usize| (Reverse(distance(used[place], used[*at], wish.racks)), held(*at));
    let chosen = others.min_by_key(key).unwrap_or(place);
    load[chosen] += 1;
    used[chosen].index
}

/// How unlikely two workers are to go together.
fn distance(one: &Candidate, other: &Candidate, racks: bool) -> u8 {
    let host = u8::from(one.host != other.host);
    host + 2 * u8::from(racks && host == 1 && one.rack != other.rack)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn workers(hosts: &[&str]) -> Vec<Candidate> {
        let worker = |(index, host): (usize, &&str)| {
            let (rack, host) = host.split_once('/').unwrap_or(("", host));
            Candidate { host: host.to_owned(), rack: rack.to_owned(), index, weight: 1 }
        };
        hosts.iter().enumerate().map(worker).collect()
    }

    fn wish(partitions: &[i32]) -> Wish<'_> {
        let policy = SlotPolicy::RoundRobin;
        Wish { partitions, copies: false, racks: false, workers_max: 0, policy, chance: 0 }
    }

    #[test]
    fn by_load_shares_follow_the_room_and_copies_stay_apart() {
        let mut workers = workers(&["a", "b", "c"]);
        for (worker, weight) in workers.iter_mut().zip([600, 300, 100]) {
            worker.weight = weight << 10;
        }
        let partitions: Vec<i32> = (0..1000).collect();
        let policy = SlotPolicy::LoadAware;
        let count = |wish: &Wish<'_>| {
            let mut counts = [[0; 2]; 3];
            for slot in offer(&workers, wish).expect("enough").slots {
                counts[slot.primary][0] += 1;
                if let Some(replica) = slot.replica {
                    assert_ne!(slot.primary, replica);
                    counts[replica][1] += 1;
                }
            }
            counts
        };
        for chance in 0..3 {
            let counts = count(&Wish { policy, chance, ..wish(&partitions) });
            assert_eq!(counts, [[600, 0], [300, 0], [100, 0]], "{chance}");
            let counts = count(&Wish { policy, chance, copies: true, ..wish(&partitions) });
            let [a, b, c] = counts.map(|[first, second]| first + second);
            assert!(a > b && b > c && a <= 1000, "{counts:?}");
        }
    }

    #[test]
    fn a_weight_is_never_nothing_and_falls_with_memory() {
        assert_eq!(weight(0, 0), 1);
        assert_eq!(weight(1 << 30, 0), 1024);
        assert_eq!(weight(1 << 30, 100), 10);
        assert_eq!(weight(1 << 30, 200), 10);
        assert!(weight(1 << 30, 50) < 1024 / 2 + 10);
    }

    #[test]
    fn partitions_go_round_and_the_rest_is_named() {
        let workers = workers(&["a", "b", "c", "d", "e"]);
        let partitions = [5, 6, 7, 8];
        let two = Wish { workers_max: 2, chance: 4, ..wish(&partitions) };
        let offer = offer(&workers, &two).expect("enough");
        let primaries: Vec<_> =
            offer.slots.iter().map(|slot| (slot.partition, slot.primary)).collect();
        assert_eq!(primaries, [(5, 4), (6, 0), (7, 4), (8, 0)]);
        assert_eq!(offer.extra, [1, 2, 3]);
        assert!(offer.slots.iter().all(|slot| slot.replica.is_none()));
    }

    #[test]
    fn few_of_many_are_named() {
        let hosts: Vec<_> = (0..300).map(|n| format!("h{n}")).collect();
        let workers = workers(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
        let partitions: Vec<i32> = (0..300).collect();
        let named = |workers_max| {
            let wish = Wish { workers_max, ..wish(&partitions) };
            offer(&workers, &wish).expect("enough").extra.len()
        };
        assert_eq!((named(10), named(99), named(200), named(0)), (90, 2, 2, 0));
    }

    #[test]
    fn who_gets_nothing_for_lack_of_partitions_is_named() {
        let offer = offer(&workers(&["a", "b", "c"]), &wish(&[1])).expect("enough");
        assert_eq!((offer.slots[0].primary, offer.extra), (0, vec![1, 2]));
    }

    #[test]
    fn copies_are_on_another_worker_host_and_rack() {
        let partitions: Vec<i32> = (0..60).collect();
        let cases = [vec!["a", "b"], vec!["a", "a", "b"], vec!["r1/a", "r1/b", "r2/c", "r2/d"]];
        for (hosts, racks) in cases.iter().flat_map(|hosts| [(hosts, false), (hosts, true)]) {
            let workers = workers(hosts);
            let wish = Wish { copies: true, racks, chance: 1, ..wish(&partitions) };
            let mut load = BTreeMap::<usize, usize>::new();
            for slot in offer(&workers, &wish).expect("enough").slots {
                let replica = slot.replica.expect("a second copy");
                let (one, other) = (&workers[slot.primary], &workers[replica]);
                assert_ne!(one.host, other.host, "{hosts:?}");
                assert!(!racks || one.rack.is_empty() || one.rack != other.rack, "{hosts:?}");
                *load.entry(replica).or_default() += 1;
            }
            let even = hosts.iter().all(|host| hosts.iter().filter(|h| h == &host).count() == 1);
            let per = partitions.len() / hosts.len();
            assert!(!even || load.values().all(|n| *n == per), "{hosts:?} {racks}: {load:?}");
        }
    }

    #[test]
    fn two_workers_on_one_host_are_better_than_one_copy() {
        let workers = workers(&["a", "a"]);
        let offer = offer(&workers, &Wish { copies: true, ..wish(&[1]) }).expect("enough");
        assert_eq!((offer.slots[0].primary, offer.slots[0].replica), (0, Some(1)));
    }

    #[test]
    fn too_few_workers_are_no_offer() {
        assert_eq!(offer(&[], &wish(&[1])), None);
        assert_eq!(offer(&workers(&["a"]), &Wish { copies: true, ..wish(&[1]) }), None);
    }
}
