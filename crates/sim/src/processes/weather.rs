//! How a connection through a proxy is: pure, so that it can be tested without one.

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// As the machine gives it.
    #[default]
    Open,
    /// Nothing arrives, and nobody is told: a cut cable, or a peer that went without a word. What
    /// was sent arrives once the flow is open again, as TCP would send it again.
    Held,
    /// No more than so many bytes a second.
    Slow(u32),
}

/// Both directions, for all connections of a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// From whoever connected.
    pub there: Flow,
    /// To whoever connected.
    pub back: Flow,
    /// Connections are ended at once, those that there are and new ones.
    pub refused: bool,
    /// One bit is turned every so many bytes, in both directions; 0 is never.
    pub flip_every: u32,
}

impl Weather {
    /// As the machine gives it.
    pub const FINE: Self =
        Self { there: Flow::Open, back: Flow::Open, refused: false, flip_every: 0 };

    /// Nothing arrives on either side.
    pub const CUT: Self = Self { there: Flow::Held, back: Flow::Held, ..Self::FINE };

    /// Who was connected to hears nothing.
    pub const DEAF: Self = Self { there: Flow::Held, ..Self::FINE };

    /// Who was connected to cannot make itself heard.
    pub const MUTE: Self = Self { back: Flow::Held, ..Self::FINE };

    /// Connections break, and cannot be made.
    pub const REFUSED: Self = Self { refused: true, ..Self::FINE };

    /// Both directions at this many bytes a second.
    pub const fn slow(bytes_per_second: u32) -> Self {
        let flow = Flow::Slow(bytes_per_second);
        Self { there: flow, back: flow, ..Self::FINE }
    }

    /// One bit is turned every so many bytes.
    pub const fn flipping(every: u32) -> Self {
        Self { flip_every: every, ..Self::FINE }
    }
}

/// Turns a bit in `bytes` wherever the count of bytes so far passes a multiple of `every`; how many
/// it turned.
pub(super) fn flip(bytes: &mut [u8], before: u64, every: u32) -> u64 {
    if every == 0 {
        return 0;
    }
    let every = u64::from(every);
    let mut turned = 0;
    let mut next = every - before % every;
    while let Some(byte) = bytes.get_mut(next as usize - 1) {
        // Which bit depends on the place, so that all are turned in time.
        *byte ^= 1 << ((before + next) / every % 8);
        turned += 1;
        next += every;
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_turned_at_even_distances_however_the_bytes_are_cut() {
        let mut whole = [0_u8; 100];
        assert_eq!(flip(&mut whole, 0, 30), 3);
        let mut parts = [0_u8; 100];
        let (left, right) = parts.split_at_mut(37);
        assert_eq!(flip(left, 0, 30) + flip(right, 37, 30), 3);
        assert_eq!(whole, parts);
        let turned: Vec<usize> = (0..100).filter(|at| whole[*at] != 0).collect();
        assert_eq!(turned, [29, 59, 89]);
        assert_eq!(flip(&mut whole, 0, 0), 0);
    }
}
