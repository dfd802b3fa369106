//! Who is told to push more slowly when memory is short, as a pure function: those that hold most of
//! it. Who holds little need not wait because another one fills the worker, and who runs many queries
//! gets no more than who runs one.

/// The memory of a worker at the moment of an acknowledgement, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Of the budget, all things counted.
    pub(crate) used: u64,
    /// Above it data leave memory.
    pub(crate) mark: u64,
    /// Never exceeded: above it pushes wait.
    pub(crate) limit: u64,
    /// Bodies of the user who has pushed, in all queries.
    pub(crate) mine: u64,
    /// Bodies of all users.
    pub(crate) all: u64,
    /// Users who have any.
    pub(crate) users: u64,
}

/// Whether the user who has pushed is to push more slowly. Below the mark nobody is. Above it those
/// are that hold at least the mean of all: there is always one, and a user alone is it. Half-way from
/// there to the limit all are, since pushes soon wait without a word.
pub(crate) fn is_slow(look: Look) -> bool {
    let Look { used, mark, limit, mine, all, users } = look;
    if used <= mark {
        return false;
    }
    let last = mark + limit.saturating_sub(mark) / 2;
    used > last || u128::from(mine) * u128::from(users) >= u128::from(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bodies: &[u64], used: u64) -> Vec<bool> {
        let users = bodies.iter().filter(|bytes| **bytes > 0).count() as u64;
        let all = bodies.iter().sum();
        let one = |mine: &u64| Look { used, mark: 750, limit: 1000, mine: *mine, all, users };
        bodies.iter().map(|mine| is_slow(one(mine))).collect()
    }

    #[test]
    fn nobody_is_told_below_the_mark_and_everybody_near_the_limit() {
        assert_eq!(told(&[700, 50], 750), [false, false]);
        assert_eq!(told(&[700, 51], 751), [true, false]);
        assert_eq!(told(&[800, 75], 875), [true, false]);
        assert_eq!(told(&[800, 76], 876), [true, true]);
    }

    #[test]
    fn who_holds_most_is_told_and_who_holds_little_is_not() {
        assert_eq!(told(&[760], 760), [true], "who is alone has no excuse");
        assert_eq!(told(&[400, 400], 800), [true, true], "equals are told alike");
        assert_eq!(told(&[500, 200, 100], 800), [true, false, false]);
        assert_eq!(told(&[390, 390, 20], 800), [true, true, false]);
        assert_eq!(told(&[800, 0], 800), [true, false], "who comes only now");
        assert_eq!(told(&[0], 800), [true], "entries alone fill it");
        assert!(is_slow(Look {
            used: u64::MAX,
            mark: 1,
            limit: u64::MAX,
            mine: u64::MAX,
            all: u64::MAX,
            users: u64::MAX
        }));
    }

    #[test]
    fn somebody_is_told_whatever_the_shares() {
        let mut state = 7_u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..2000 {
            let bodies: Vec<u64> = (0..=next(8)).map(|_| next(300)).collect();
            let told = told(&bodies, 751 + next(249));
            let largest = bodies.iter().max().expect("one at least");
            let of_largest = bodies.iter().zip(&told).filter(|(bytes, _)| *bytes == largest);
            assert!(of_largest.into_iter().all(|(_, told)| *told), "{bodies:?} {told:?}");
        }
    }
}
