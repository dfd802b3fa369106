//! Verifies the blocks of an extent while its bytes pass by in pieces.

use std::io;

use bytes::BytesMut;
use dunlin_proto::block::{Block, HEADER_LEN};

/// Bytes that are looked at together: what is not a whole block yet is copied.
const STEP: usize = 64 << 10;

/// What has passed by of an extent, as far as its last block is not whole yet.
#[derive(Default)]
pub(crate) struct Verifier {
    pending: BytesMut,
}

impl Verifier {
    /// Takes the bytes at `at` of an extent of `total` bytes; those at 0 begin anew.
    pub(crate) fn take(&mut self, at: u64, bytes: &[u8], total: u64) -> io::Result<()> {
        if at == 0 {
            self.pending.clear();
        }
        bytes.chunks(STEP).try_for_each(|some| self.step(some))?;
        if at + bytes.len() as u64 == total && !self.pending.is_empty() {
            return Err(io::Error::other("the last block of the extent is not whole"));
        }
        Ok(())
    }

    fn step(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        let corrupt = |_| io::Error::other("corrupt shuffle block");
        while self.pending.len() >= HEADER_LEN {
            let (block, length) = Block::parse_header(&self.pending).map_err(corrupt)?;
            let Some(end) = length.checked_add(HEADER_LEN) else { break };
            if self.pending.len() < end {
                break;
            }
            let header = self.pending.split_to(HEADER_LEN);
            let body = self.pending.split_to(length).freeze();
            let block = Block { body, ..block };
            block.verify().map_err(corrupt)?;
            // Also the bytes that mean nothing are what they were: readers compare them.
            if header != block.header()[..] {
                return Err(io::Error::other("corrupt shuffle block"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dunlin_base::{Attempt, PartitionId, QueryId, StageEpoch, StageId};
    use dunlin_proto::block::{BlockId, Codec, ShuffleId};

    use super::*;

    fn extent() -> Vec<u8> {
        let query = QueryId::from_u128(1);
        let shuffle = ShuffleId { query, stage: StageId(1), epoch: StageEpoch(0) };
        let id = |batch| BlockId {
            shuffle,
            partition: PartitionId(1),
            map: 0,
            attempt: Attempt(0),
            batch,
        };
        let block = |n: u32| Block::new(id(n), 1, Codec::Plain, Bytes::from(vec![7; n as usize]));
        let bytes = |block: Block| [&block.header()[..], &block.body].concat();
        (0..4).flat_map(|n| bytes(block(n * 5))).collect()
    }

    #[test]
    fn whole_blocks_pass_however_they_are_cut_and_changed_ones_do_not() {
        let whole = extent();
        let total = whole.len() as u64;
        let mut verifier = Verifier::default();
        for cut in 1..whole.len() {
            for (n, piece) in whole.chunks(cut).enumerate() {
                verifier.take((n * cut) as u64, piece, total).expect("whole");
            }
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(verifier.take(0, &changed, total).is_err(), "byte {at}");
        }
        assert!(verifier.take(0, &whole[..total as usize - 1], total - 1).is_err(), "cut short");
    }
}
