//! The table: what was measured, beside the limit of the machine and the target.

use crate::report::Sheet;

use super::args::ShuffleArgs;

/// The rows of the report.
pub(super) struct Lines {
    sheet: Sheet,
    pub(super) runs: u32,
}

/// One row. What does not apply is left out.
#[derive(Default)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) measured: String,
    pub(super) limit: String,
    pub(super) ratio: Option<f64>,
    pub(super) target: Option<Target>,
    pub(super) cpu_s_per_gb: Option<f64>,
}

/// What the ratio is to be.
#[derive(Clone, Copy)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {bound:.2}"),
            Self::AtMost(bound) => format!("at most {bound:.2}"),
        }
    }
}

impl Lines {
    pub(super) fn new(mut sheet: Sheet, args: &ShuffleArgs) -> Self {
        sheet.says(format!(
            "Medians of {} runs. Blocks and rows go over TCP (loopback) through the door of a \
             worker in this process: {} threads write and read rows, one serves the sockets of all \
             clients, one those of each worker. CPU is that of both ends. The limits of the machine \
             are measured in the same run: two threads with a bare socket, one with the bare disk.",
            args.runs,
            args.threads()
        ));
        sheet.columns(&["what", "measured", "limit", "ratio", "target", "met", "CPU-s/GB"]);
        Self { sheet, runs: args.runs }
    }

    pub(super) fn says(&mut self, sentence: String) {
        self.sheet.says(sentence);
    }

    pub(super) fn add(&mut self, line: Line) {
        let Line { what, measured, limit, ratio, target, cpu_s_per_gb } = line;
        let ratio_text = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let met = ratio.zip(target).map(|(ratio, target)| target.is_met(ratio));
        let met = met.map_or("", |met| if met { "yes" } else { "no" }).to_owned();
        let target = target.map(Target::text).unwrap_or_default();
        let cpu = cpu_s_per_gb.map(|cpu| format!("{cpu:.2}")).unwrap_or_default();
        self.sheet.row([what, measured, limit, ratio_text, target, met, cpu]);
    }

    pub(super) fn done(self) -> Sheet {
        self.sheet
    }
}

/// A throughput for people: decimal, as links and disks are sold.
pub(super) fn gb_s(bytes_s: f64) -> String {
    format!("{:.2} GB/s", bytes_s / 1e9)
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_target_is_met_on_its_own_side_only() {
        assert!(Target::AtLeast(0.5).is_met(0.5) && !Target::AtLeast(0.5).is_met(0.49));
        assert!(Target::AtMost(1.15).is_met(1.15) && !Target::AtMost(1.15).is_met(1.2));
        assert!(!Target::AtMost(2.0).is_met(f64::NAN), "no figure, no success");
    }
}
