//! Java's own UTF-8, as its streams have texts: a NUL is two bytes, and what is beyond the basic
//! plane is two surrogates of three bytes each.

use bytes::BufMut;
use dunlin_base::{Error, Result};

use crate::field::Fields;

/// Reads a text with the count of its bytes in two bytes before it.
pub(super) fn read(fields: &mut Fields) -> Result<String> {
    let length = fields.u16()?;
    let bytes = fields.take(usize::from(length))?;
    decode(&bytes).ok_or_else(|| fields.malformed("a text is not Java's UTF-8"))
}

/// Writes what [`read`] reads. `Invalid` if it is longer than two bytes can say.
pub(super) fn put(into: &mut impl BufMut, text: &str) -> Result<()> {
    let bytes = encode(text);
    let length = u16::try_from(bytes.len());
    let length = length.map_err(|_| Error::invalid("a text is too long for a Java stream"))?;
    into.put_u16(length);
    into.put_slice(&bytes);
    Ok(())
}

fn decode(bytes: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut left = bytes.iter().copied();
    let more = |left: &mut dyn Iterator<Item = u8>| {
        left.next().filter(|byte| byte & 0xc0 == 0x80).map(|byte| u16::from(byte & 0x3f))
    };
    while let Some(first) = left.next() {
        units.push(match first {
            0x01..=0x7f => u16::from(first),
            0xc0..=0xdf => u16::from(first & 0x1f) << 6 | more(&mut left)?,
            0xe0..=0xef => {
                let (second, third) = (more(&mut left)?, more(&mut left)?);
                u16::from(first & 0x0f) << 12 | second << 6 | third
            }
            _ => return None,
        });
    }
    String::from_utf16(&units).ok()
}

fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let six = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
        match unit {
            0x01..=0x7f => bytes.push(unit as u8),
            0 | 0x80..=0x7ff => bytes.extend([0xc0 | (unit >> 6) as u8, six(0)]),
            _ => bytes.extend([0xe0 | (unit >> 12) as u8, six(6), six(0)]),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_java_writes_them() {
        for (text, bytes) in [
            ("host", &b"host"[..]),
            ("a\0b", &[b'a', 0xc0, 0x80, b'b']),
            ("über", &[0xc3, 0xbc, b'b', b'e', b'r']),
            ("€", &[0xe2, 0x82, 0xac]),
            ("😀", &[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]),
        ] {
            assert_eq!(encode(text), bytes);
            assert_eq!(decode(bytes).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let surrogate: &[u8] = &[0xed, 0xa0, 0xbd];
        for bytes in [&[0][..], &[0x80], &[0xc3], &[0xe2, 0x82], &[0xf0, 0x9f], surrogate] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
        assert!(put(&mut Vec::new(), &"x".repeat(65_536)).is_err());
    }
}
