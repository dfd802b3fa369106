//! Texts and bytes: lengths and bytes, the different ones only, or without what each shares with the
//! one before.

use std::ops::Range;

use arrow::error::ArrowError;

use super::body::{Input, Output, tag};
use super::numbers::{self, Way};
use super::sample::{self, Distinct, TextWay};
use super::source::Texts;
use super::{FEW_ROWS, malformed};
use xxhash_rust::xxh3::xxh3_64;

/// How the texts are written that the block does not look at, or all of them.
pub(super) fn way(texts: &Texts<'_>, small: bool) -> TextWay {
    match small && texts.len() >= FEW_ROWS {
        true => sample::text_way(texts),
        false => TextWay::Lengths,
    }
}

/// Different texts and which of them each is; `None` if they are too many.
pub(super) fn few(texts: &Texts<'_>) -> Option<(Vec<usize>, Vec<i64>)> {
    let mut distinct = Distinct::new(texts.len());
    let mut which = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        let text = texts.get(row);
        which.push(distinct.index(xxh3_64(text), row, |first| texts.get(first) == text)?);
    }
    Some((distinct.firsts().collect(), which))
}

/// Writes them as lengths and bytes. `small`: in few bits, else quickly.
pub(super) fn write_lengths(texts: &Texts<'_>, small: bool, out: &mut Output<'_>) {
    let lengths = texts.lengths();
    match small {
        true => write_numbers(&lengths, out),
        false => numbers::write_quick(&lengths, out),
    }
    out.bytes(texts.bytes());
}

/// Writes what [`few`] found.
pub(super) fn write_few(
    texts: &Texts<'_>,
    (firsts, which): (Vec<usize>, Vec<i64>),
    out: &mut Output<'_>,
) {
    out.number(firsts.len() as u64);
    write_numbers(&which, out);
    let lengths: Vec<_> = firsts.iter().map(|row| texts.get(*row).len() as i64).collect();
    numbers::write(&lengths, Way::Packed, out);
    firsts.iter().for_each(|row| out.bytes(texts.get(*row)));
}

/// Writes them without what each shares with the one before.
pub(super) fn write_front(texts: &Texts<'_>, out: &mut Output<'_>) {
    let (mut shared, mut own) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
    let mut before: &[u8] = &[];
    for row in 0..texts.len() {
        let text = texts.get(row);
        let common = sample::common(before, text);
        shared.push(common as i64);
        own.push((text.len() - common) as i64);
        before = text;
    }
    write_numbers(&shared, out);
    write_numbers(&own, out);
    for (row, shared) in shared.iter().enumerate() {
        out.bytes(&texts.get(row)[*shared as usize..]);
    }
}

fn write_numbers(values: &[i64], out: &mut Output<'_>) {
    let way = if values.len() < FEW_ROWS { Way::Packed } else { sample::way(values).0 };
    numbers::write(values, way, out);
}

/// Where texts go that are read: bytes, and the end of each.
pub(super) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
    /// Appends again what it was given, from `from` bytes before its end on.
    fn again(&mut self, from: usize, length: usize) -> Option<()>;
    /// The text ends here, `length` bytes after the one before.
    fn end(&mut self, length: usize);
}

/// Reads `rows` texts of a tag.
pub(super) fn read(
    input: &mut Input<'_>,
    tag: u8,
    rows: usize,
    scratch: &mut Vec<i64>,
    into: &mut impl Sink,
) -> Result<(), ArrowError> {
    match tag {
        tag::LENGTHS => {
            numbers::read(input, rows, scratch)?;
            let sum = sum(scratch)?;
            into.bytes(input.bytes(sum, 1)?);
            scratch.iter().for_each(|length| into.end(*length as usize));
            Ok(())
        }
        tag::FEW => read_few(input, rows, scratch, into),
        tag::FRONT => read_front(input, rows, scratch, into),
        _ => Err(malformed("a way to write texts that is none")),
    }
}

/// The sum of lengths, none of them below zero.
fn sum(lengths: &[i64]) -> Result<usize, ArrowError> {
    let add = |sum: usize, n: &i64| sum.checked_add(usize::try_from(*n).ok()?);
    lengths.iter().try_fold(0, add).ok_or_else(|| malformed("lengths"))
}

fn read_few(
    input: &mut Input<'_>,
    rows: usize,
    which: &mut Vec<i64>,
    into: &mut impl Sink,
) -> Result<(), ArrowError> {
    let different = input.length()?;
    if different > rows {
        return Err(malformed("more than its rows"));
    }
    numbers::read(input, rows, which)?;
    let mut lengths = Vec::new();
    numbers::read(input, different, &mut lengths)?;
    let bytes = input.bytes(sum(&lengths)?, 1)?;
    let mut ends = 0;
    let texts = lengths.iter().map(|length| {
        let from = ends;
        ends += *length as usize;
        from..ends
    });
    let texts: Vec<Range<usize>> = texts.collect();
    let text = |which: &i64| usize::try_from(*which).ok().and_then(|at| texts.get(at));
    let length = |which| text(which).map(Range::len).ok_or_else(|| malformed("no such text"));
    let mut all = 0_usize;
    for which in &*which {
        all += length(which)?;
    }
    input.unfold(all)?;
    for range in which.iter().filter_map(text) {
        into.bytes(&bytes[range.clone()]);
        into.end(range.len());
    }
    Ok(())
}

fn read_front(
    input: &mut Input<'_>,
    rows: usize,
    shared: &mut Vec<i64>,
    into: &mut impl Sink,
) -> Result<(), ArrowError> {
    numbers::read(input, rows, shared)?;
    let mut own = Vec::new();
    numbers::read(input, rows, &mut own)?;
    let of_their_own = sum(&own)?;
    let all = sum(shared)?.checked_add(of_their_own).ok_or_else(|| malformed("lengths"))?;
    input.unfold(all)?;
    let mut bytes = input.bytes(of_their_own, 1)?;
    let mut before = 0;
    for (shared, own) in shared.iter().zip(&own) {
        let (shared, own) = (*shared as usize, *own as usize);
        if shared > before {
            return Err(malformed("shares more than there is"));
        }
        into.again(before, shared).ok_or_else(|| malformed("shares more than there is"))?;
        let (mine, rest) = bytes.split_at(own);
        into.bytes(mine);
        into.end(shared + own);
        (bytes, before) = (rest, shared + own);
    }
    Ok(())
}
