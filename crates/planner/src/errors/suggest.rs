//! "Did you mean": the nearest of the names that exist.

/// The candidate nearest to `wrong`, if one is near enough to be a slip of the finger: at most one
/// change for every three letters.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let limit = (wrong.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|name| (distance(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// A hint about `wrong`: the nearest name, or the names that exist when they are few.
pub(crate) fn did_you_mean(wrong: &str, what: &str, candidates: &[String]) -> Option<String> {
    if let Some(name) = nearest(wrong, candidates.iter().map(String::as_str)) {
        return Some(format!("did you mean '{name}'?"));
    }
    const SHOWN: usize = 12;
    if candidates.is_empty() {
        return None;
    }
    let shown: Vec<_> = candidates.iter().take(SHOWN).map(String::as_str).collect();
    let more = candidates.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("{what}: {}{rest}", shown.join(", ")))
}

/// Edits from `a` to `b`: insert, delete, change, and swap of neighbours, each counted once.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let change = last[j] + usize::from(a[i] != b[j]);
            let mut best = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                let swap: &Vec<usize> = &before_last;
                best = best.min(swap[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = ["lineitem", "orders", "part", "partsupp"];
        for (wrong, right) in [
            ("linitem", Some("lineitem")),
            ("LINEITEM", Some("lineitem")),
            ("odrers", Some("orders")),
            ("prat", Some("part")),
            ("supplier", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, names), right, "{wrong}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
