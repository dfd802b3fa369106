//! Which encoding a writer uses: told, or chosen by how fast its links are.

use crate::codec::Style;

/// How a writer encodes its blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Values as they are: least CPU.
    #[default]
    Plain,
    /// Small columns, and LZ4: about half of the bytes or less.
    Lz4,
    /// Small columns, and ZSTD: fewest bytes.
    Zstd,
    /// By the measured speed of the links to the workers.
    Auto,
}

impl Encoding {
    /// The style of the next blocks. `measured`: bytes a second, if that is known; `leaves_host`:
    /// whether some workers are on other machines.
    pub(crate) fn style(self, measured: Option<f64>, leaves_host: bool) -> Style {
        match self {
            Self::Plain => Style::PLAIN,
            Self::Lz4 => Style::LZ4,
            Self::Zstd => Style::ZSTD,
            Self::Auto => match measured {
                Some(bytes_s) => cheapest(bytes_s),
                None if leaves_host => Style::LZ4,
                None => Style::PLAIN,
            },
        }
    }
}

/// What a style costs: CPU seconds for each byte that is shown, on both ends, and the bytes that are
/// left of it.
struct Cost {
    style: Style,
    cpu_s: f64,
    left: f64,
}

/// Measured by `dunlin-bench shuffle --only encoding`, rounded.
const COSTS: [Cost; 3] = [
    Cost { style: Style::PLAIN, cpu_s: 0.3e-9, left: 1.0 },
    Cost { style: Style::LZ4, cpu_s: 1.5e-9, left: 0.4 },
    Cost { style: Style::ZSTD, cpu_s: 2.7e-9, left: 0.33 },
];

/// The style by which a byte takes the least time to be encoded, sent and decoded.
fn cheapest(bytes_s: f64) -> Style {
    let time = |cost: &Cost| cost.cpu_s + cost.left / bytes_s.max(1.0);
    let best = COSTS.iter().min_by(|a, b| time(a).total_cmp(&time(b)));
    best.map_or(Style::PLAIN, |cost| cost.style)
}
