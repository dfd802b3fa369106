//! Just enough of Rust's grammar to measure functions: comments and literals are blanked out, then
//! braces are matched. Written by hand because a parser crate would rebuild half of the graph with
//! other features.

use std::collections::BTreeSet;

/// `text` with comments, strings and characters replaced by spaces; line breaks stay in place.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_length(bytes, at);
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Whole literals were replaced, byte by byte, with ASCII.
    String::from_utf8(out).expect("only whole characters were blanked")
}

/// The length of the comment or literal that starts at `at`; 0 if none does.
fn literal_length(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_name = at > 0 && is_name(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest),
        [b'r', b'"' | b'#', ..] if !in_name => raw_string(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_name => raw_string(rest, 2),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A raw string whose hashes start at `prefix`; 0 for a raw identifier.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let closing = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = &rest[open + 1..];
    let end = body.windows(closing.len()).position(|window| window == closing);
    end.map_or(rest.len(), |end| open + 1 + end + closing.len())
}

/// A character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|b| *b == b'\'');
        return end.map_or(0, |end| end + 4);
    }
    // One character of one to four bytes, then the closing quote.
    let end = rest.iter().skip(2).take(4).position(|b| *b == b'\'').map(|end| end + 2);
    let one = |end: usize| std::str::from_utf8(&rest[1..end]).is_ok_and(|s| s.chars().count() == 1);
    end.filter(|end| one(*end)).map_or(0, |end| end + 1)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// From the `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// The functions of blanked code, in order; a nested one counts for itself and in its parent.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let starts = code.match_indices("fn ").filter(|(at, _)| *at == 0 || !is_name(bytes[at - 1]));
    starts
        .filter_map(|(at, _)| {
            let after = code[at + 3..].trim_start();
            let name: String =
                after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let (_, end) = item_body(code, at)?;
            (!name.is_empty()).then(|| {
                let line = line_of(code, at);
                Function { name, line, lines: line_of(code, end) - line + 1 }
            })
        })
        .collect()
}

/// The lines of items under `#[cfg(test)]` that have a body.
pub(crate) fn test_lines(code: &str) -> BTreeSet<usize> {
    let marks = code.match_indices("#[cfg(test)]");
    let bodies = marks.filter_map(|(at, mark)| Some((at, item_body(code, at + mark.len())?.1)));
    bodies.flat_map(|(at, end)| line_of(code, at)..=line_of(code, end)).collect()
}

/// The places of the braces around the body of the item at `from`; `None` if a `;` ends it first.
fn item_body(code: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut nesting = 0_usize;
    let mut open = None;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' if open.is_none() => nesting += 1,
            b')' | b']' if open.is_none() => nesting = nesting.saturating_sub(1),
            b';' if open.is_none() && nesting == 0 => return None,
            b'{' if open.is_some() || nesting == 0 => {
                open.get_or_insert(at);
                nesting += 1;
            }
            b'}' if open.is_some() => {
                nesting -= 1;
                if nesting == 0 {
                    return open.map(|open| (open, at));
                }
            }
            _ => {}
        }
    }
    None
}

fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}
