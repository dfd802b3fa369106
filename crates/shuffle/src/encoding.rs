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
    /// The one of this name, as settings have it; `None` if there is none.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "plain" => Some(Self::Plain),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The style of the next blocks. `leaves_host`: whether some workers are on other machines;
    /// within a machine the CPU is what is short, whatever was measured. `bytes_s`: of the links, if
    /// that is known.
    pub(crate) fn style(self, leaves_host: bool, bytes_s: impl FnOnce() -> Option<f64>) -> Style {
        match self {
            Self::Plain => Style::PLAIN,
            Self::Lz4 => Style::LZ4,
            Self::Zstd => Style::ZSTD,
            Self::Auto if !leaves_host => Style::PLAIN,
            Self::Auto => bytes_s().map_or(Style::LZ4, cheapest),
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

/// Measured by `dunlin-bench shuffle --only encoding` on what TPC-H shuffles.
const COSTS: [Cost; 3] = [
    Cost { style: Style::PLAIN, cpu_s: 0.34e-9, left: 1.0 },
    Cost { style: Style::LZ4, cpu_s: 0.94e-9, left: 0.18 },
    Cost { style: Style::ZSTD, cpu_s: 1.17e-9, left: 0.164 },
];

/// The style by which a byte takes the least time to be encoded, sent and decoded.
fn cheapest(bytes_s: f64) -> Style {
    let time = |cost: &Cost| cost.cpu_s + cost.left / bytes_s.max(1.0);
    let best = COSTS.iter().min_by(|a, b| time(a).total_cmp(&time(b)));
    best.map_or(Style::PLAIN, |cost| cost.style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_links_get_fewer_bytes_and_fast_ones_less_work() {
        let style = |bytes_s| Encoding::Auto.style(true, || bytes_s);
        assert_eq!(style(Some(10e6)), Style::ZSTD);
        assert_eq!(style(Some(100e9)), Style::PLAIN);
        let speeds = (0..60).map(|n| 1e6 * 1.2_f64.powi(n));
        let styles: Vec<_> = speeds.map(|bytes_s| style(Some(bytes_s))).collect();
        let work = |style: &Style| COSTS.iter().position(|cost| cost.style == *style);
        assert!(styles.iter().map(work).rev().is_sorted(), "less work, the faster: {styles:?}");
        assert_eq!(style(None), Style::LZ4, "nothing was measured");
        assert_eq!(Encoding::Auto.style(false, || Some(1.0)), Style::PLAIN, "within the machine");
        assert_eq!(Encoding::Zstd.style(false, || None), Style::ZSTD, "told");
    }
}
