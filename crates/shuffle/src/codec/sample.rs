//! How a column is written, from a look at some of its values.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::numbers::{self, Way, bits, ends};
use super::source::Texts;

/// Values that are looked at: so many spans of so many.
const SPANS: usize = 8;
const SPAN: usize = 32;

/// Different values of a column that is written as few.
const DIFFERENT_MAX: usize = 4096;

const SLOTS: usize = 4 * DIFFERENT_MAX;

/// A way must save this much, of a hundred, to be worth more than the simplest one.
const WORTH: u32 = 85;

/// The different values of a column: the row where each came first.
pub(super) struct Distinct {
    /// Number of a value and one; zero if there is none.
    slots: Vec<u16>,
    firsts: Vec<usize>,
    most: usize,
}

impl Distinct {
    /// For a column of so many rows.
    pub(super) fn new(rows: usize) -> Self {
        let most = (rows / 4).clamp(16, DIFFERENT_MAX);
        Self { slots: vec![0; SLOTS], firsts: Vec::new(), most }
    }

    /// The number of the value in this row; `None` if there are too many different ones. `same` says
    /// whether an earlier row has the same.
    pub(super) fn index(
        &mut self,
        hash: u64,
        row: usize,
        same: impl Fn(usize) -> bool,
    ) -> Option<i64> {
        let mut at = hash as usize % SLOTS;
        while let Some(index) = usize::from(self.slots[at]).checked_sub(1) {
            if same(self.firsts[index]) {
                return Some(index as i64);
            }
            at = (at + 1) % SLOTS;
        }
        if self.firsts.len() == self.most {
            return None;
        }
        self.firsts.push(row);
        self.slots[at] = self.firsts.len() as u16;
        Some(self.firsts.len() as i64 - 1)
    }

    /// The first rows, in the order of the numbers.
    pub(super) fn firsts(&self) -> impl ExactSizeIterator<Item = usize> {
        self.firsts.iter().copied()
    }
}

/// The spans of a column that are looked at.
fn spans(rows: usize) -> impl Iterator<Item = Range<usize>> {
    let apart = (rows / SPANS).max(SPAN);
    (0..SPANS).map(move |n| n * apart..n * apart + SPAN).filter(move |span| span.end <= rows)
}

fn different(hashes: &mut Vec<u64>) -> usize {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len()
}

/// The way for numbers, and the bits that one takes then, about.
pub(super) fn way(values: &[i64]) -> (Way, u32) {
    let packed = bits(ends(values));
    let mut hashes = Vec::with_capacity(SPANS * SPAN);
    let (mut steps, mut changes, mut pairs) = (Vec::with_capacity(SPANS * SPAN), 0, 0);
    for span in spans(values.len()).map(|span| &values[span]) {
        hashes.extend(span.iter().map(|n| numbers::hash(*n)));
        for pair in span.windows(2) {
            steps.push(pair[1].wrapping_sub(pair[0]));
            changes += u32::from(pair[1] != pair[0]);
            pairs += 1;
        }
    }
    if pairs == 0 || packed == 0 {
        return (Way::Packed, packed);
    }
    let sampled = hashes.len();
    let different = different(&mut hashes);
    let mut best = (Way::Packed, packed * WORTH / 100);
    let mut consider = |way, bits: u32| {
        if bits < best.1 {
            best = (way, bits);
        }
    };
    consider(Way::Steps, bits(ends(&steps)) + 1);
    // A run has a value and a length.
    consider(Way::Runs, (packed + 10) * changes / pairs + 1);
    if different <= sampled / 3 {
        let more = usize::BITS - (different * 5 / 4).leading_zeros();
        consider(Way::Few, more + (different * packed as usize / values.len()) as u32);
    }
    if best.0 == Way::Packed { (Way::Packed, packed) } else { best }
}

/// How texts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextWay {
    Lengths,
    Few,
    Front,
}

/// The way for texts.
pub(super) fn text_way(texts: &Texts<'_>) -> TextWay {
    let mut hashes = Vec::with_capacity(SPANS * SPAN);
    let (mut shared, mut bytes) = (0, 0);
    for span in spans(texts.len()) {
        let mut before: &[u8] = &[];
        for row in span {
            let text = texts.get(row);
            hashes.push(xxh3_64(text));
            shared += common(before, text);
            bytes += text.len();
            before = text;
        }
    }
    let sampled = hashes.len();
    if sampled == 0 || bytes < sampled {
        return TextWay::Lengths;
    }
    if different(&mut hashes) <= sampled / 3 {
        return TextWay::Few;
    }
    // A shared length costs most of a byte.
    if shared > 2 * sampled && shared * 3 > bytes { TextWay::Front } else { TextWay::Lengths }
}

/// How many bytes two texts share at their beginning.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_that_of_the_least_bits() {
        let way_of = |of: &dyn Fn(i64) -> i64| way(&(0..8192).map(of).collect::<Vec<_>>()).0;
        let random = |n: i64| numbers::hash(n) as i64;
        assert_eq!(way_of(&|n| random(n) & 0xffff), Way::Packed);
        assert_eq!(way_of(&|n| n * 100 + (random(n) & 7)), Way::Steps);
        assert_eq!(way_of(&|n| random(n / 50)), Way::Runs);
        assert_eq!(way_of(&|n| random(n).rem_euclid(9) << 40), Way::Few);
        assert_eq!(way_of(&|_| 5), Way::Packed, "a constant");
        assert_eq!(way(&[1, 2, 3]).0, Way::Packed, "too few to look at");
    }

    #[test]
    fn texts_are_looked_at_for_repeats_and_beginnings() {
        let way_of = |of: &dyn Fn(usize) -> String| {
            let all: Vec<_> = (0..2048).map(of).collect();
            let array = arrow::array::StringArray::from_iter_values(&all);
            text_way(&Texts::small(array.value_offsets(), array.value_data()))
        };
        let random = |n: usize| numbers::hash(n as i64);
        assert_eq!(way_of(&|n| format!("status {}", random(n) % 5)), TextWay::Few);
        assert_eq!(way_of(&|n| format!("Customer#{n:09}")), TextWay::Front);
        assert_eq!(way_of(&|n| format!("{:x}", random(n))), TextWay::Lengths);
        assert_eq!(way_of(&|_| String::new()), TextWay::Lengths);
    }
}
