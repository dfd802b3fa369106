//! Where the acknowledged blocks of one partition of a writer are. Pure.

use dunlin_proto::output::Part;

use crate::push::At;

/// Location of each block by its number. Mostly there is one for all, which takes no allocation: a writer
/// has one of these for each of thousands of partitions.
#[derive(Clone)]
pub(crate) enum Went {
    /// The first so many are there, and no others are anywhere.
    Same(At, u32),
    /// [`NOWHERE`]: not acknowledged.
    Each(Vec<At>),
}

const NOWHERE: At = At::MAX;

impl Default for Went {
    fn default() -> Self {
        Self::Same(NOWHERE, 0)
    }
}

impl Went {
    /// The block of this number is at this location.
    pub(crate) fn put(&mut self, batch: u32, at: At) {
        if let Self::Same(there, count) = self
            && *count == batch
            && (*count == 0 || *there == at)
        {
            (*there, *count) = (at, batch + 1);
            return;
        }
        let mut each = match std::mem::take(self) {
            Self::Same(there, count) => vec![there; count as usize],
            Self::Each(each) => each,
        };
        let batch = batch as usize;
        if each.len() <= batch {
            each.resize(batch + 1, NOWHERE);
        }
        each[batch] = at;
        *self = Self::Each(each);
    }

    /// Where all blocks are, if they are at one location. `used` is the table that it is an index of.
    pub(crate) fn only(&self, used: &mut Vec<At>) -> Option<u32> {
        let first = match self {
            Self::Same(_, 0) => return None,
            Self::Same(at, _) => at,
            Self::Each(each) => each.first().filter(|first| each.iter().all(|at| at == *first))?,
        };
        Some(place(*first, used))
    }

    /// The blocks by location, in order.
    pub(crate) fn runs(&self, used: &mut Vec<At>) -> Vec<Part> {
        let each = match self {
            Self::Same(_, 0) => return Vec::new(),
            Self::Same(at, count) => {
                return vec![Part { blocks: *count, location: place(*at, used) }];
            }
            Self::Each(each) => each,
        };
        let mut parts: Vec<Part> = Vec::new();
        for at in each {
            let location = place(*at, used);
            match parts.last_mut() {
                Some(last) if last.location == location => last.blocks += 1,
                _ => parts.push(Part { blocks: 1, location }),
            }
        }
        parts
    }
}

/// The index of a location in a table of those that were used.
fn place(at: At, used: &mut Vec<At>) -> u32 {
    let known = used.iter().position(|other| *other == at);
    let place = known.unwrap_or_else(|| {
        used.push(at);
        used.len() - 1
    });
    place as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn went(blocks: &[(u32, At)]) -> Went {
        let mut went = Went::default();
        blocks.iter().for_each(|(batch, at)| went.put(*batch, *at));
        went
    }

    #[test]
    fn whatever_the_order_of_the_answers() {
        let mut used = vec![9];
        for order in [[(0, 4), (1, 4), (2, 4)], [(2, 4), (0, 4), (1, 4)], [(0, 4), (2, 4), (1, 4)]]
        {
            assert_eq!(went(&order).only(&mut used), Some(1));
        }
        let part = |blocks, location| Part { blocks, location };
        for order in [[(0, 4), (1, 4), (2, 5)], [(2, 5), (1, 4), (0, 4)]] {
            assert_eq!(went(&order).only(&mut used), None);
            assert_eq!(went(&order).runs(&mut used), [part(2, 1), part(1, 2)]);
        }
        assert_eq!(went(&[(0, 5), (1, 5)]).runs(&mut used), [part(2, 2)]);
        assert_eq!(went(&[]).only(&mut used), None);
        assert_eq!(
            went(&[(0, 4), (0, 5)]).only(&mut used),
            Some(2),
            "it was pushed again elsewhere"
        );
        assert_eq!(used, [9, 4, 5]);
    }
}
