//! Tokens of DIGEST-MD5: names with values, some of them in quotes, with commas between.

use dunlin_base::{Error, Result};

use super::TOKEN_LEN_MAX;

/// More of them than this nobody has a use for.
const DIRECTIVES_MAX: usize = 32;

/// What a token says, in order.
#[derive(Debug)]
pub(super) struct Directives(Vec<(String, Vec<u8>)>);

impl Directives {
    /// `Invalid`: not such a list, or longer than the limits.
    pub(super) fn parse(token: &[u8]) -> Result<Self> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(malformed("it is too long"));
        }
        let (mut all, mut rest) = (Vec::new(), token);
        loop {
            rest = skip(rest, |byte| is_space(byte) || byte == b',');
            if rest.is_empty() {
                return Ok(Self(all));
            }
            if all.len() == DIRECTIVES_MAX {
                return Err(malformed("it says too many things"));
            }
            let (name, behind) = word(rest);
            let name = std::str::from_utf8(name).unwrap_or_default().to_ascii_lowercase();
            let behind = skip(behind, is_space);
            let Some((b'=', behind)) = behind.split_first().filter(|_| !name.is_empty()) else {
                return Err(malformed("something in it has no name or no value"));
            };
            let (value, behind) = value(skip(behind, is_space))?;
            all.push((name, value));
            rest = skip(behind, is_space);
            if rest.first().is_some_and(|byte| *byte != b',') {
                return Err(malformed("there is no comma between two parts of it"));
            }
        }
    }

    /// What is said of this. `Invalid`: more than one thing.
    pub(super) fn find(&self, name: &str) -> Result<Option<&[u8]>> {
        let mut found = self.0.iter().filter(|(of, _)| of == name);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(malformed(&format!("it says '{name}' twice"))),
            (found, None) => Ok(found.map(|(_, value)| &value[..])),
        }
    }

    /// The same where something has to be said.
    pub(super) fn get(&self, name: &str) -> Result<&[u8]> {
        self.find(name)?.ok_or_else(|| malformed(&format!("it does not say '{name}'")))
    }

    /// What is said of this is that, if anything.
    pub(super) fn expect(&self, name: &str, wanted: &str) -> Result<()> {
        match self.find(name)? {
            Some(value) if value != wanted.as_bytes() => {
                Err(malformed(&format!("its '{name}' is not '{wanted}'")))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn malformed(why: &str) -> Error {
    Error::invalid(format!("a proof of DIGEST-MD5 cannot be used: {why}"))
}

/// A value as it may stand between quotes. For who writes tokens.
pub(super) fn quoted(value: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        other => vec![*other],
    };
    [vec![b'"'], value.iter().flat_map(escape).collect(), vec![b'"']].concat()
}

fn value(rest: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let Some((b'"', mut rest)) = rest.split_first() else {
        let (value, behind) = word(rest);
        return match value.is_empty() {
            true => Err(malformed("something in it has no value")),
            false => Ok((value.to_vec(), behind)),
        };
    };
    let mut value = Vec::new();
    loop {
        match rest {
            [b'"', behind @ ..] => return Ok((value, behind)),
            [b'\\', byte, behind @ ..] | [byte, behind @ ..] => {
                value.push(*byte);
                rest = behind;
            }
            [] => return Err(malformed("a quote in it does not end")),
        }
    }
}

fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| is_space(*byte) || matches!(byte, b',' | b'=' | b'"');
    bytes.split_at(bytes.iter().position(ends).unwrap_or(bytes.len()))
}

fn skip(bytes: &[u8], what: impl Fn(u8) -> bool) -> &[u8] {
    &bytes[bytes.iter().position(|byte| !what(*byte)).unwrap_or(bytes.len())..]
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
