//! What a process has used, from `/proc`.

use anyhow::{Context, Result};

/// Ticks of `/proc/*/stat` in a second: 100 on every Linux that this runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// CPU seconds of this process so far, of all its threads, also of those that have ended.
pub(super) fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("cannot read the CPU time")?;
    ticks(&stat).map(|ticks| ticks as f64 / TICKS_A_SECOND).context("/proc/self/stat is odd")
}

/// User and system time. The name, in brackets, may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Bytes of memory that a process has resident.
pub(super) fn resident_bytes(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} names no VmRSS"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_strange_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 9";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(ticks("7 S"), None);
        assert!(resident_bytes(std::process::id()).expect("ours") > 0);
    }
}
