//! What becomes of a push, before anything is done with its data: a pure function. The order of the
//! questions is that of Celeborn's worker, since clients act on the answers.

/// Above this a location of which the client was told to move takes nothing more.
pub(crate) const SOFT_MAX: u64 = 2 << 30;

/// A location with less than this is not given up for a disk that is full: the next one would be as
/// full, and the client would split for ever.
const SPLIT_MIN: u64 = 1 << 20;

/// When the client is told to go elsewhere: as the driver said when it reserved the location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Never, if not.
    pub(crate) enabled: bool,
    /// From so many bytes on.
    pub(crate) threshold: u64,
    /// Nothing is taken beyond the threshold; else until [`SOFT_MAX`].
    pub(crate) hard: bool,
}

impl Split {
    /// Never.
    pub(crate) const NEVER: Self = Self { enabled: false, threshold: 0, hard: false };
}

/// What a worker knows of the location that a push names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was reserved, and takes data.
    Open,
    /// It was committed.
    Closed,
    /// It was never reserved here, or it was destroyed. A commit may have named the map.
    Not {
        /// The attempt of the push's map that won; -1 while none has. `None`: no commit said.
        winner: Option<i32>,
        /// Something of the shuffle was committed here.
        committed: bool,
    },
}

/// What the verdict is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) known: Known,
    /// The worker is to go.
    pub(crate) going: bool,
    /// No tier takes anything more.
    pub(crate) full: bool,
    /// For a second copy the one who has the first one decides when to split.
    pub(crate) primary: bool,
    /// What the location holds.
    pub(crate) bytes: u64,
    pub(crate) split: Split,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is stored.
    Store,
    /// It is stored, and the next should go elsewhere.
    StoreAndMove,
    /// It is to go elsewhere; nothing was stored.
    HardSplit,
    /// Its map has ended with another attempt or this one: nobody will read it.
    MapEnded,
    /// There is no such location.
    Unknown,
}

pub(crate) fn judge(look: &Look) -> Verdict {
    match look.known {
        Known::Not { winner: Some(attempt), .. } if attempt != -1 => return Verdict::MapEnded,
        // It was committed after the client had been told to move.
        Known::Not { winner: Some(_), .. } | Known::Not { committed: true, .. } => {
            return Verdict::HardSplit;
        }
        Known::Not { .. } => return Verdict::Unknown,
        _ if look.going => return Verdict::HardSplit,
        Known::Closed => return Verdict::HardSplit,
        Known::Open => {}
    }
    if look.full && look.bytes > SPLIT_MIN {
        return Verdict::HardSplit;
    }
    let Split { enabled, threshold, hard } = look.split;
    match look.primary && enabled && look.bytes > threshold {
        false => Verdict::Store,
        true if !hard && look.bytes < SOFT_MAX => Verdict::StoreAndMove,
        true => Verdict::HardSplit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        let split = Split { enabled: true, threshold: 1 << 30, hard: false };
        Look { known: Known::Open, going: false, full: false, primary: true, bytes: 5, split }
    }

    #[test]
    fn an_open_location_stores_until_it_is_large() {
        let at =
            |bytes, hard| judge(&Look { bytes, split: Split { hard, ..look().split }, ..look() });
        assert_eq!(at(1 << 30, false), Verdict::Store);
        assert_eq!(at((1 << 30) + 1, false), Verdict::StoreAndMove);
        assert_eq!(at((1 << 30) + 1, true), Verdict::HardSplit);
        assert_eq!(at(SOFT_MAX, false), Verdict::HardSplit);
        let replica = Look { primary: false, bytes: SOFT_MAX, ..look() };
        assert_eq!(judge(&replica), Verdict::Store, "the primary decides");
        let never = Split { enabled: false, ..look().split };
        assert_eq!(judge(&Look { bytes: SOFT_MAX, split: never, ..look() }), Verdict::Store);
    }

    #[test]
    fn what_is_closed_going_or_full_is_left_by_the_client() {
        for look in [
            Look { known: Known::Closed, ..look() },
            Look { going: true, ..look() },
            Look { going: true, known: Known::Closed, ..look() },
            Look { full: true, bytes: (1 << 20) + 1, ..look() },
        ] {
            assert_eq!(judge(&look), Verdict::HardSplit, "{look:?}");
        }
        assert_eq!(judge(&Look { full: true, ..look() }), Verdict::Store, "too small to give up");
    }

    #[test]
    fn an_unknown_location_is_never_taken_for_an_empty_one() {
        let of =
            |winner, committed| judge(&Look { known: Known::Not { winner, committed }, ..look() });
        assert_eq!(of(None, false), Verdict::Unknown);
        assert_eq!(of(None, true), Verdict::HardSplit);
        assert_eq!(of(Some(-1), false), Verdict::HardSplit);
        assert_eq!(of(Some(0), true), Verdict::MapEnded);
    }
}
