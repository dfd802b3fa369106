//! Numbers in few bits: columns of fixed width, lengths of texts, and which of the different values.

use arrow::error::ArrowError;

use super::body::{Input, Output};
use super::malformed;
use super::sample::Distinct;

/// How numbers are written. The number is that in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Way {
    /// Their distances from the least.
    Packed = 0,
    /// Their distances from the ones before.
    Steps = 1,
    /// Values and how often each comes in a row.
    Runs = 2,
    /// The different values, and which one each is.
    Few = 3,
}

/// Bytes behind packed numbers, so that each can be loaded as a word.
const BEHIND: usize = 8;

/// Writes numbers in a way, or in the first one if that does not fit them.
pub(super) fn write(values: &[i64], way: Way, out: &mut Output<'_>) {
    let Some((&first, rest)) = values.split_first() else {
        return write_packed(values, out);
    };
    match way {
        Way::Packed => write_packed(values, out),
        Way::Steps => {
            let before = values.iter();
            let steps: Vec<_> = rest.iter().zip(before).map(|(n, b)| n.wrapping_sub(*b)).collect();
            out.byte(Way::Steps as u8);
            out.signed(first);
            packed(&steps, out);
        }
        Way::Runs => {
            let (mut runs, mut lengths) = (vec![first], vec![1]);
            for value in rest {
                match (runs.last() == Some(value), lengths.last_mut()) {
                    (true, Some(length)) => *length += 1,
                    _ => {
                        runs.push(*value);
                        lengths.push(1);
                    }
                }
            }
            out.byte(Way::Runs as u8);
            out.number(runs.len() as u64);
            packed(&runs, out);
            packed(&lengths, out);
        }
        Way::Few => write_few(values, out),
    }
}

/// Writes numbers that are not negative in whole bytes: quick, for blocks of few rows.
pub(super) fn write_quick(values: &[i64], out: &mut Output<'_>) {
    let (least, most) = ends(values);
    if least == most {
        return write_packed(values, out);
    }
    let bits = match most {
        0..=0xff => 8,
        0x100..=0xffff => 16,
        0x1_0000..=0xffff_ffff => 32,
        _ => 64,
    };
    out.byte(Way::Packed as u8);
    out.signed(0);
    out.byte(bits);
    pack(values, 0, u32::from(bits), out);
}

fn write_packed(values: &[i64], out: &mut Output<'_>) {
    out.byte(Way::Packed as u8);
    packed(values, out);
}

fn write_few(values: &[i64], out: &mut Output<'_>) {
    let mut distinct = Distinct::new(values.len());
    let mut which = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let same = |first: usize| values[first] == *value;
        match distinct.index(hash(*value), row, same) {
            Some(index) => which.push(index),
            None => return write_packed(values, out),
        }
    }
    let different: Vec<_> = distinct.firsts().map(|row| values[row]).collect();
    out.byte(Way::Few as u8);
    out.number(different.len() as u64);
    packed(&different, out);
    packed(&which, out);
}

/// Close numbers get distant hashes.
pub(super) fn hash(value: i64) -> u64 {
    let mixed = (value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 29
}

/// The least and the greatest; zeros if there is none.
pub(super) fn ends(values: &[i64]) -> (i64, i64) {
    let first = values.first().copied().unwrap_or_default();
    let wider = |(least, most): (i64, i64), n: &i64| (least.min(*n), most.max(*n));
    values.iter().fold((first, first), wider)
}

/// Bits that the distance of these takes.
pub(super) fn bits((least, most): (i64, i64)) -> u32 {
    64 - (most.wrapping_sub(least) as u64).leading_zeros()
}

/// The least, how many bits each takes, and those.
fn packed(values: &[i64], out: &mut Output<'_>) {
    let ends = ends(values);
    // Above this, a number could begin and end beyond the word that it is loaded with.
    let bits = Some(bits(ends)).filter(|bits| *bits <= 57).unwrap_or(64);
    out.signed(ends.0);
    out.byte(bits as u8);
    pack(values, ends.0, bits, out);
}

fn pack(values: &[i64], base: i64, bits: u32, out: &mut Output<'_>) {
    let from_base = values.iter().map(|n| n.wrapping_sub(base) as u64);
    let data = &mut out.data;
    match bits {
        0 => {}
        8 => data.extend(from_base.map(|n| n as u8)),
        16 => data.extend(from_base.map(|n| n as u16)),
        32 => data.extend(from_base.map(|n| n as u32)),
        64 => data.extend(from_base),
        _ => {
            data.reserve(packed_len(values.len(), bits).unwrap_or(0));
            let from = data.len();
            let (mut word, mut filled) = (0_u64, 0);
            for n in from_base {
                word |= n << filled;
                filled += bits;
                if filled >= 64 {
                    data.push(word);
                    filled -= 64;
                    word = n >> (bits - filled - 1) >> 1;
                }
            }
            data.push(word);
            let to = from + packed_len(values.len(), bits).unwrap_or(0);
            data.resize(to, 0);
        }
    }
}

fn is_whole(bits: u32) -> bool {
    matches!(bits, 0 | 8 | 16 | 32 | 64)
}

/// Bytes of packed numbers.
fn packed_len(count: usize, bits: u32) -> Option<usize> {
    let length = count.checked_mul(bits as usize)?.div_ceil(8);
    Some(length + if is_whole(bits) { 0 } else { BEHIND })
}

/// Reads `count` numbers. The caller has bounded `count`: they may take no bytes at all.
pub(super) fn read(
    input: &mut Input<'_>,
    count: usize,
    into: &mut Vec<i64>,
) -> Result<(), ArrowError> {
    into.clear();
    match input.byte()? {
        0 => unpack(input, count, into),
        1 => {
            let mut value = input.signed()?;
            let steps = count.checked_sub(1).ok_or_else(|| malformed("steps of nothing"))?;
            unpack(input, steps, into)?;
            for step in &mut *into {
                let next = value.wrapping_add(*step);
                *step = std::mem::replace(&mut value, next);
            }
            into.push(value);
            Ok(())
        }
        2 => {
            let runs = counted(input, count)?;
            let (mut values, mut lengths) = (Vec::new(), Vec::new());
            unpack(input, runs, &mut values)?;
            unpack(input, runs, &mut lengths)?;
            for (value, length) in values.iter().zip(&lengths) {
                let left = count - into.len();
                let length = usize::try_from(*length).ok().filter(|length| *length <= left);
                let length = length.ok_or_else(|| malformed("runs"))?;
                into.resize(into.len() + length, *value);
            }
            if into.len() == count { Ok(()) } else { Err(malformed("runs")) }
        }
        3 => {
            let different = counted(input, count)?;
            let mut values = Vec::new();
            unpack(input, different, &mut values)?;
            unpack(input, count, into)?;
            for which in &mut *into {
                let value = usize::try_from(*which).ok().and_then(|at| values.get(at));
                *which = *value.ok_or_else(|| malformed("no such value"))?;
            }
            Ok(())
        }
        _ => Err(malformed("a way to write numbers that is none")),
    }
}

fn counted(input: &mut Input<'_>, most: usize) -> Result<usize, ArrowError> {
    let count = input.length()?;
    if count <= most { Ok(count) } else { Err(malformed("more than its rows")) }
}

fn unpack(input: &mut Input<'_>, count: usize, into: &mut Vec<i64>) -> Result<(), ArrowError> {
    let base = input.signed()?;
    let bits = u32::from(input.byte()?);
    if bits > 64 || (bits > 57 && bits < 64) {
        return Err(malformed("bits"));
    }
    let length = packed_len(count, bits).ok_or_else(|| malformed("a length"))?;
    let bytes = input.bytes(length, 1)?;
    into.reserve(count);
    let add = |n: u64| base.wrapping_add(n as i64);
    match bits {
        0 => into.resize(into.len() + count, base),
        8 => into.extend(bytes.iter().map(|n| add(u64::from(*n)))),
        16 => into.extend(words(bytes).map(|word| add(u64::from(u16::from_le_bytes(word))))),
        32 => into.extend(words(bytes).map(|word| add(u64::from(u32::from_le_bytes(word))))),
        64 => into.extend(words(bytes).map(|word| add(u64::from_le_bytes(word)))),
        _ => {
            let mask = (1_u64 << bits) - 1;
            let bits = bits as usize;
            into.extend((0..count).map(|n| {
                let at = n * bits;
                let word = bytes[at / 8..].first_chunk().copied().map_or(0, u64::from_le_bytes);
                add(word >> (at % 8) & mask)
            }));
        }
    }
    Ok(())
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).map(|word| word.first_chunk().copied().unwrap_or([0; N]))
}

#[cfg(test)]
mod tests {
    use arrow::buffer::MutableBuffer;
    use proptest::prelude::*;

    use super::*;

    fn come_back(values: &[i64], write: impl Fn(&mut Output<'_>)) -> usize {
        let (mut data, mut says) = (MutableBuffer::new(0), Vec::new());
        let mut out = Output::new(&mut data, &mut says);
        write(&mut out);
        let (says, length) = out.end();
        let mut input = Input::new(&data, says).expect("its own");
        let mut got = Vec::new();
        read(&mut input, values.len(), &mut got).expect("its own");
        input.check_end().expect("nothing else was written");
        assert_eq!(got, values);
        length
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn numbers_come_back_whatever_the_way(
            values in prop::collection::vec(any::<i64>(), 0..300),
            shift in 0..64_u32,
            repeat in 1..5_usize,
        ) {
            let narrow = values.iter().map(|n| n >> shift);
            let values: Vec<_> = narrow.flat_map(|n| std::iter::repeat_n(n, repeat)).collect();
            for way in [Way::Packed, Way::Steps, Way::Runs, Way::Few] {
                come_back(&values, |out| write(&values, way, out));
            }
            let lengths: Vec<_> = values.iter().map(|n| n & i64::MAX).collect();
            come_back(&lengths, |out| write_quick(&lengths, out));
        }
    }

    #[test]
    fn each_way_is_short_for_what_it_is_for() {
        let len = |values: &[i64], way| come_back(values, |out| write(values, way, out));
        let numbers = || 0..8192_i64;
        let small: Vec<_> = numbers().map(|n| 1_000_000 + n * 7919 % 64).collect();
        assert!(len(&small, Way::Packed) < 8192 * 6 / 8 + 32);
        let ascending: Vec<_> = numbers().map(|n| n * 1000 + n % 3).collect();
        assert!(len(&ascending, Way::Steps) < 8192 * 2 / 8 + 32);
        let runs: Vec<_> = numbers().map(|n| n / 100 * 1_000_003).collect();
        assert!(len(&runs, Way::Runs) < 82 * 6 + 32);
        let few: Vec<_> = numbers().map(|n| (n * 7919 % 16) << 50).collect();
        assert!(len(&few, Way::Few) < 8192 / 2 + 16 * 8 + 32);
        assert!(len(&[7; 8192], Way::Packed) < 16, "a constant takes nothing");
        assert!(len(&ascending, Way::Few) < 8192 * 3, "too many: packed after all");
    }
}
