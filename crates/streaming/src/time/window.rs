//! Which windows a row belongs to: tumbling, hopping and cumulating ones. Sessions are in `session`.

use dunlin_base::{Error, Result};

/// Most windows that one row may belong to: more is a mistake in the query, and state without bound.
pub const WINDOWS_PER_ROW_MAX: i64 = 4096;

/// A time range, `start` included, `end` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Milliseconds since 1970.
    pub start: i64,
    /// Milliseconds since 1970.
    pub end: i64,
}

/// A kind of window that is fixed beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    kind: Kind,
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A window of `size` begins at each multiple of `hop`.
    Hopping { size: i64, hop: i64 },
    /// Windows of `step`, two `step`, ... `size` begin at each multiple of `size`.
    Cumulating { size: i64, step: i64 },
}

impl Windows {
    /// Windows of `size` side by side; one begins at `offset`. `Invalid` unless `size` is positive.
    pub fn tumbling(size_ms: i64, offset_ms: i64) -> Result<Self> {
        Self::hopping(size_ms, size_ms, offset_ms)
    }

    /// A window of `size` every `hop`, which need not divide it; a hop larger than the size leaves rows
    /// without a window. `Invalid` unless both are positive and a row has a bounded number of windows.
    pub fn hopping(size_ms: i64, hop_ms: i64, offset_ms: i64) -> Result<Self> {
        positive("window size", size_ms)?;
        positive("hop", hop_ms)?;
        bounded(size_ms, hop_ms)?;
        Ok(Self { kind: Kind::Hopping { size: size_ms, hop: hop_ms }, offset: offset_ms })
    }

    /// Windows that begin together every `size` and end one `step` apart. `Invalid` unless `step`
    /// divides `size`: the last window would have no end that all agree on.
    pub fn cumulating(size_ms: i64, step_ms: i64, offset_ms: i64) -> Result<Self> {
        positive("window size", size_ms)?;
        positive("step", step_ms)?;
        bounded(size_ms, step_ms)?;
        if size_ms % step_ms != 0 {
            return Err(Error::invalid(format!(
                "a cumulating window of {size_ms} ms is not a multiple of its step of {step_ms} ms"
            )));
        }
        Ok(Self { kind: Kind::Cumulating { size: size_ms, step: step_ms }, offset: offset_ms })
    }

    /// The windows of a row, by start, then end. `Invalid` for a time so far away that a window would
    /// leave the range of timestamps: a dead letter.
    pub fn of(&self, time_ms: i64) -> Result<Vec<Window>> {
        // Wide enough for any sum of three times.
        let time = i128::from(time_ms);
        let since = time - i128::from(self.offset);
        match self.kind {
            Kind::Hopping { size, hop } => {
                let last = time - since.rem_euclid(i128::from(hop));
                let back = (i128::from(size) - 1 - (time - last)).div_euclid(i128::from(hop));
                let first = last - back * i128::from(hop);
                let count = if back < 0 { 0 } else { back + 1 };
                (0..count)
                    .map(|n| window(time_ms, first + n * i128::from(hop), i128::from(size)))
                    .collect()
            }
            Kind::Cumulating { size, step } => {
                let start = time - since.rem_euclid(i128::from(size));
                let first = (time - start).div_euclid(i128::from(step)) + 1;
                (first..=i128::from(size / step))
                    .map(|n| window(time_ms, start, n * i128::from(step)))
                    .collect()
            }
        }
    }
}

fn positive(what: &str, value: i64) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::invalid(format!("a {what} of {value} ms is not positive")))
}

fn bounded(size: i64, step: i64) -> Result<()> {
    let most = size / step;
    if most < WINDOWS_PER_ROW_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a row would belong to {most} windows, more than {WINDOWS_PER_ROW_MAX}"
    ))
    .with_hint("use a larger hop or step"))
}

fn window(time: i64, start: i128, size: i128) -> Result<Window> {
    let (Ok(start), Ok(end)) = (i64::try_from(start), i64::try_from(start + size)) else {
        return Err(Error::invalid(format!("timestamp {time} ms is too far away for a window")));
    };
    Ok(Window { start, end })
}

#[cfg(test)]
mod tests {
    use dunlin_fuzz::Chance;

    use super::*;

    fn of(windows: Windows, time: i64) -> Vec<(i64, i64)> {
        windows.of(time).expect("in range").iter().map(|w| (w.start, w.end)).collect()
    }

    #[test]
    fn trap_06_windows_before_1970_and_hops_that_do_not_divide() {
        let tumbling = Windows::tumbling(10, 0).expect("valid");
        assert_eq!(of(tumbling, -1), [(-10, 0)]);
        assert_eq!(of(tumbling, 0), [(0, 10)]);
        assert_eq!(of(tumbling, -10), [(-10, 0)]);
        let shifted = Windows::tumbling(10, 3).expect("valid");
        assert_eq!(of(shifted, 2), [(-7, 3)]);
        let hopping = Windows::hopping(10, 4, 0).expect("valid");
        assert_eq!(of(hopping, 0), [(-8, 2), (-4, 6), (0, 10)]);
        assert_eq!(of(hopping, 2), [(-4, 6), (0, 10)]);
        let gaps = Windows::hopping(2, 5, 0).expect("valid");
        assert_eq!(of(gaps, -5), [(-5, -3)]);
        assert_eq!(of(gaps, -3), []);
        let cumulating = Windows::cumulating(9, 3, 0).expect("valid");
        assert_eq!(of(cumulating, -4), [(-9, -3), (-9, 0)]);
        assert_eq!(of(cumulating, -9), [(-9, -6), (-9, -3), (-9, 0)]);
    }

    /// Every window of a kind near a time, found by trying them all.
    fn by_trying(kind: Kind, offset: i64, time: i64) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        for start in time - 400..=time {
            match kind {
                Kind::Hopping { size, hop } => {
                    if (start - offset).rem_euclid(hop) == 0 && time < start + size {
                        found.push((start, start + size));
                    }
                }
                Kind::Cumulating { size, step } => {
                    if (start - offset).rem_euclid(size) == 0 {
                        let ends = (1..=size / step).map(|n| start + n * step);
                        found.extend(ends.filter(|end| time < *end).map(|end| (start, end)));
                    }
                }
            }
        }
        found
    }

    #[test]
    fn trap_06_windows_are_those_that_trying_finds() {
        for seed in 0..5000 {
            let mut chance = Chance::new(seed);
            let mut upto = |most: usize| 1 + chance.below(most) as i64;
            let (size, step, offset) = (upto(60), upto(40), upto(100) - 50);
            let time = upto(400) - 200;
            let windows = if seed % 2 == 0 {
                Windows::hopping(size, step, offset)
            } else {
                Windows::cumulating(size * step.min(5), size, offset)
            };
            let windows = windows.expect("valid");
            assert_eq!(of(windows, time), by_trying(windows.kind, offset, time), "seed {seed}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for bad in [
            Windows::tumbling(0, 0),
            Windows::hopping(10, -1, 0),
            Windows::hopping(1_000_000, 1, 0),
            Windows::cumulating(10, 3, 0),
        ] {
            assert_eq!(bad.expect_err("refused").kind(), dunlin_base::Kind::Invalid);
        }
        let windows = Windows::tumbling(10, i64::MIN).expect("valid");
        for far in [i64::MIN, i64::MAX] {
            let _ = windows.of(far);
            assert!(Windows::tumbling(10, 0).expect("valid").of(far).is_err());
        }
    }
}
