//! On which disk the next extent goes, as a pure function: the fastest class first, then by
//! weights, so that disks fill evenly and slow ones get less. Called by `aim`.

use crate::options::Class;

/// A disk that can take an extent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Its index among the disks of the worker.
    pub(crate) disk: usize,
    pub(crate) class: Class,
    /// Bytes that it may still take.
    pub(crate) room: u64,
    /// Measured bytes per second of writes; 0 if nothing was measured yet.
    pub(crate) speed: u64,
    /// It has enough to do.
    pub(crate) busy: bool,
}

/// The disk for a new extent; `None` if those that it should be are busy, or there is none. `random`
/// decides between disks of the best class, each as likely as its share of free space times speed.
/// `shunned` is taken only if there is no other: the partition has just failed there.
pub(crate) fn choose(
    candidates: &[Candidate],
    shunned: Option<usize>,
    random: impl FnOnce() -> u64,
) -> Option<usize> {
    let others: Vec<_> = candidates.iter().filter(|c| Some(c.disk) != shunned).collect();
    let all = if others.is_empty() { candidates.iter().collect() } else { others };
    let best = all.iter().map(|c| c.class).min()?;
    let class: Vec<_> = all.into_iter().filter(|c| c.class == best && !c.busy).collect();
    if let [only] = class[..] {
        return Some(only.disk);
    }
    // A disk that nobody has measured is taken to be as fast as the others.
    let known = class.iter().map(|c| c.speed).filter(|speed| *speed > 0);
    let usual = (known.clone().sum::<u64>() / (known.count() as u64).max(1)).max(1);
    let weight = |c: &Candidate| {
        let speed = if c.speed == 0 { usual } else { c.speed };
        u128::from(c.room.max(1)) * u128::from(speed)
    };
    let total: u128 = class.iter().map(|c| weight(c)).sum();
    // 64 random bits as a share of the total.
    let mut left = (total >> 32) * u128::from(random() >> 32) + (total & 0xffff_ffff) / 2;
    left = left.min(total.saturating_sub(1));
    let chosen = class.iter().find(|c| {
        let mine = weight(c);
        let here = left < mine;
        left = left.saturating_sub(mine);
        here
    });
    chosen.or(class.last()).map(|c| c.disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn candidate(disk: usize, class: Class, room: u64, speed: u64) -> Candidate {
        Candidate { disk, class, room, speed, busy: false }
    }

    /// How often each of three disks is chosen over evenly spread chances.
    fn counts(candidates: &[Candidate]) -> [u32; 3] {
        let mut counts = [0; 3];
        for n in 0..1000 {
            let random = u64::MAX / 1000 * n;
            counts[choose(candidates, None, || random).expect("there are some")] += 1;
        }
        counts
    }

    #[test]
    fn the_class_comes_first_then_space_and_speed() {
        let hdd = candidate(0, Class::Hdd, 1000 * GIB, 1 << 40);
        let (small, large) =
            (candidate(1, Class::Ssd, GIB, 100), candidate(2, Class::Ssd, 3 * GIB, 100));
        let [none, one, three] = counts(&[hdd, small, large]);
        assert_eq!(none, 0);
        assert!((240..=260).contains(&one) && (740..=760).contains(&three), "{one} {three}");
        let fast = candidate(1, Class::Ssd, GIB, 300);
        let [_, fast, slow] = counts(&[fast, large]);
        assert!((490..=510).contains(&fast) && (490..=510).contains(&slow), "{fast} {slow}");
        let unknown = candidate(1, Class::Ssd, 3 * GIB, 0);
        let [_, unknown, known] = counts(&[unknown, large]);
        assert!((490..=510).contains(&unknown) && (490..=510).contains(&known));
        assert_eq!(counts(&[hdd])[0], 1000, "the slow class is better than nothing");
        assert_eq!(choose(&[], None, || 0), None);
    }

    #[test]
    fn where_the_partition_failed_is_the_last_choice() {
        let (ssd, hdd) = (candidate(0, Class::Ssd, GIB, 9), candidate(1, Class::Hdd, GIB, 1));
        assert_eq!(choose(&[ssd, hdd], Some(0), || 0), Some(1));
        assert_eq!(choose(&[ssd], Some(0), || 0), Some(0));
    }

    #[test]
    fn the_slow_class_is_not_taken_because_the_fast_one_is_busy() {
        let hdd = candidate(0, Class::Hdd, GIB, 1);
        let busy = Candidate { busy: true, ..candidate(1, Class::Ssd, GIB, 1) };
        assert_eq!(choose(&[hdd, busy], None, || 0), None);
        assert_eq!(choose(&[hdd, busy, candidate(2, Class::Ssd, 1, 1)], None, || 0), Some(2));
        assert_eq!(choose(&[hdd, busy], Some(1), || 0), Some(0));
    }

    #[test]
    fn nothing_overflows() {
        let huge = [0, 1, 2].map(|disk| candidate(disk, Class::Hdd, u64::MAX, u64::MAX / 4));
        assert!(choose(&huge, None, || u64::MAX).is_some());
        let empty = [0, 1, 2].map(|disk| candidate(disk, Class::Hdd, 0, 0));
        assert!(choose(&empty, None, || u64::MAX).is_some());
    }
}
