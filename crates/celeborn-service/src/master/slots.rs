//! Which worker gets which partition: a pure function of the workers, the request and chance.
//!
//! A client reallocates only among workers that it was given, so some that get nothing are named, too.
//! The rules are those that Celeborn's master has for its round-robin policy.

use std::cmp::Reverse;

/// Without copies one worker would do; with them two.
const WORKERS_MIN: [usize; 2] = [1, 2];

/// At least so many workers are named that get nothing, as far as there are any,
const EXTRA_MIN: usize = 2;

/// and so many in all.
const NAMED_MIN: usize = 100;

/// A worker that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The machine that it is on.
    pub host: String,
    /// The rack that its machine is in, if known.
    pub rack: String,
    /// Its index in the caller's list.
    pub index: usize,
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
        let place = at % used.len();
        let replica = wish.copies.then(|| other(&used, &mut load, place, wish.racks));
        slots.push(Slot { partition: *partition, primary: used[place].index, replica });
    }
    let extra = EXTRA_MIN.max(NAMED_MIN.saturating_sub(most));
    let extra = turned().skip(most).take(extra).map(|worker| worker.index).collect();
    Some(Offer { slots, extra })
}

/// Who gets the second copy: the furthest away, of these the one that has the fewest.
fn other(used: &[&Candidate], load: &mut [usize], place: usize, racks: bool) -> usize {
    let others = (1..used.len()).map(|step| (place + step) % used.len());
    let key = |at: &usize| (Reverse(distance(used[place], used[*at], racks)), load[*at]);
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
            Candidate { host: host.to_owned(), rack: rack.to_owned(), index }
        };
        hosts.iter().enumerate().map(worker).collect()
    }

    fn wish(partitions: &[i32]) -> Wish<'_> {
        Wish { partitions, copies: false, racks: false, workers_max: 0, chance: 0 }
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
        let named = |workers_max| {
            let offer = offer(&workers, &Wish { workers_max, ..wish(&[1]) }).expect("enough");
            offer.extra.len()
        };
        assert_eq!((named(10), named(99), named(200), named(0)), (90, 2, 2, 0));
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
