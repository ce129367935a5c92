//! The part of a record that guests read and write: key, value and headers.
//!
//! `key length | key | value length | value | header count | (key length | key | value length | value)*`. All lengths
//! and the count are varints, which may be padded. −1 stands for a null key or value. Nothing follows the last header.
//! This is the tail of a record in a Kafka batch, so the payload is passed to the guest and back without being parsed.

use super::cursor::Cursor;
use super::varint;

/// Headers that are checked together with their record.
const FEW_HEADERS: usize = 64;
/// Headers that a step checks: some twenty microseconds.
const HEADERS_AT_ONCE: usize = 2048;

/// Whether bytes are one well-formed payload and nothing else.
#[derive(Debug)]
pub enum Validity {
    /// They are.
    Valid,
    /// They are not.
    Invalid,
    /// So far they are. There are many headers, whose check takes steps.
    Unknown(HeaderCheck),
}

/// The check of many headers.
#[derive(Clone, Copy, Debug)]
pub struct HeaderCheck {
    at: usize,
    left: usize,
}

/// Whether `payload` is one well-formed payload and nothing else. Takes as long as there are headers.
#[inline(always)]
pub fn is_valid(payload: &[u8]) -> bool {
    match validity(payload) {
        Validity::Valid => true,
        Validity::Invalid => false,
        Validity::Unknown(mut check) => check.finish(payload),
    }
}

/// As `is_valid` in bounded time.
#[inline(always)]
pub fn validity(payload: &[u8]) -> Validity {
    if is_plain(payload) { Validity::Valid } else { general(payload).unwrap_or(Validity::Invalid) }
}

/// Which part of a payload that is not valid is wrong. For messages. Takes the same time for any number of headers.
pub fn malformed_part(payload: &[u8]) -> &'static str {
    let mut cursor = Cursor::new(payload);
    if skip_nullable(&mut cursor).is_none() {
        return "the key's length is malformed or leads outside";
    }
    if skip_nullable(&mut cursor).is_none() {
        return "the value's length is malformed or leads outside";
    }
    match take_count(&mut cursor) {
        None => "the number of headers is malformed or more than there can be",
        Some(0) => "bytes follow the number of headers, which is 0",
        Some(_) => "the headers are malformed or do not end with it",
    }
}

#[inline(never)]
fn general(payload: &[u8]) -> Option<Validity> {
    let mut cursor = Cursor::new(payload);
    skip_nullable(&mut cursor)?;
    skip_nullable(&mut cursor)?;
    let headers = take_count(&mut cursor)?;
    if headers > FEW_HEADERS {
        return Some(Validity::Unknown(HeaderCheck { at: payload.len() - cursor.left(), left: headers }));
    }
    for _ in 0..headers {
        skip_header(&mut cursor)?;
    }
    (cursor.left() == 0).then_some(Validity::Valid)
}

#[inline(always)]
fn skip_header(cursor: &mut Cursor<'_>) -> Option<()> {
    let key = cursor.length()?;
    cursor.skip(key)?;
    skip_nullable(cursor)
}

impl HeaderCheck {
    /// Checks some more of the headers of the same payload. None if there are more.
    pub fn step(&mut self, payload: &[u8]) -> Option<bool> {
        let mut cursor = Cursor::at(payload, self.at);
        for _ in 0..self.left.min(HEADERS_AT_ONCE) {
            if skip_header(&mut cursor).is_none() {
                return Some(false);
            }
        }
        self.at = payload.len() - cursor.left();
        self.left -= self.left.min(HEADERS_AT_ONCE);
        (self.left == 0).then_some(cursor.left() == 0)
    }

    #[cold]
    fn finish(&mut self, payload: &[u8]) -> bool {
        loop {
            if let Some(valid) = self.step(payload) {
                return valid;
            }
        }
    }
}

/// Whether `payload` is valid and has the common shape: a key of up to 63 bytes, a value of up to 8,191 and no
/// headers. Takes half as many instructions as the general check.
#[inline(always)]
fn is_plain(payload: &[u8]) -> bool {
    let Some(&key) = payload.first() else { return false };
    // Null is encoded as 1 and has no bytes. Half of 1 is 0.
    if key >= 0x80 || key & 1 == 1 && key != 1 {
        return false;
    }
    let at = 1 + usize::from(key >> 1);
    // There are two: the count of headers is behind.
    let Some(&[low, high]) = payload.get(at..at + 2) else { return false };
    let (value, at) = match (low < 0x80, high < 0x80) {
        (true, _) if low & 1 == 0 || low == 1 => (usize::from(low >> 1), at + 1),
        (false, true) if low & 1 == 0 => (usize::from(low & 0x7F) >> 1 | usize::from(high) << 6, at + 2),
        _ => return false,
    };
    at + value + 1 == payload.len() && payload.last() == Some(&0)
}

/// A key or a value or null.
pub type Field<'a> = Option<&'a [u8]>;

/// A payload taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The record's key.
    pub key: Field<'a>,
    /// The record's value.
    pub value: Field<'a>,
    /// Header keys and values in order.
    pub headers: Vec<(&'a [u8], Field<'a>)>,
}

impl<'a> Payload<'a> {
    /// Parses a payload. `None` if the payload is malformed. Allocates for the headers: see `Parts`.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let parts = Parts::of(payload)?;
        Some(Self { key: parts.key, value: parts.value, headers: parts.headers.collect() })
    }

    /// Bytes that the encoding takes at most.
    pub fn encoded_size(&self) -> usize {
        let field = |field: Field<'_>| varint::MAX_LEN + field.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|(key, value)| field(Some(key)) + field(*value));
        field(self.key) + field(self.value) + varint::MAX_LEN + headers.sum::<usize>()
    }

    /// Appends the payload's encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_nullable(out, self.key);
        put_nullable(out, self.value);
        varint::put(out, self.headers.len() as i64);
        for (key, value) in &self.headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
    }
}

/// A payload taken apart without an allocation.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The record's key.
    pub key: Field<'a>,
    /// The record's value.
    pub value: Field<'a>,
    /// The headers in order.
    pub headers: Headers<'a>,
}

/// The headers of a payload.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: Cursor<'a>,
    left: usize,
}

impl<'a> Parts<'a> {
    /// Those of a payload. `None` if it is malformed.
    pub fn of(payload: &'a [u8]) -> Option<Self> {
        if is_valid(payload) { Self::checked(payload) } else { None }
    }

    /// Those of a payload that was checked. The headers end early if it was not.
    #[inline]
    pub fn checked(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Cursor::new(payload);
        let key = take_nullable(&mut rest)?;
        let value = take_nullable(&mut rest)?;
        let left = take_count(&mut rest)?;
        Some(Self { key, value, headers: Headers { rest, left } })
    }
}

impl<'a> Headers<'a> {
    /// How many are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Their encoding without the count.
    pub fn encoded(&self) -> &'a [u8] {
        self.rest.rest()
    }

    /// Where they begin if `payload` is what they are of. With that and their number `at` goes on later.
    pub fn position(&self, payload: &[u8]) -> usize {
        payload.len() - self.rest.left()
    }

    /// The last `left` headers of a payload, which begin at `position`.
    pub fn at(payload: &'a [u8], position: usize, left: usize) -> Self {
        Self { rest: Cursor::at(payload, position), left }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let length = self.rest.length()?;
        Some((self.rest.bytes(length)?, take_nullable(&mut self.rest)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Takes a count of headers off the front. A count for which there are too few bytes is refused, so the count may
/// size a buffer.
#[inline(always)]
fn take_count(cursor: &mut Cursor<'_>) -> Option<usize> {
    let count = cursor.length()?;
    (count <= cursor.left() / 2).then_some(count)
}

#[inline(always)]
fn take_nullable<'a>(cursor: &mut Cursor<'a>) -> Option<Field<'a>> {
    match cursor.nullable()? {
        None => Some(None),
        Some(length) => cursor.bytes(length).map(Some),
    }
}

#[inline(always)]
fn skip_nullable(cursor: &mut Cursor<'_>) -> Option<()> {
    let length = cursor.nullable()?.unwrap_or(0);
    cursor.skip(length)
}

fn put_nullable(out: &mut Vec<u8>, field: Field<'_>) {
    match field {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn encode(owned: &Owned) -> Vec<u8> {
        let mut out = Vec::new();
        view(owned).put(&mut out);
        out
    }
    fn view(owned: &Owned) -> Payload<'_> {
        Payload {
            key: owned.0.as_deref(),
            value: owned.1.as_deref(),
            headers: owned.2.iter().map(|(k, v)| (&k[..], v.as_deref())).collect(),
        }
    }

    proptest! {
        #[test]
        fn round_trip(owned: Owned) {
            let bytes = encode(&owned);
            prop_assert!(is_valid(&bytes));
            prop_assert_eq!(Payload::parse(&bytes), Some(view(&owned)));
        }

        #[test]
        fn truncated_or_overlong_encodings_are_refused(owned: Owned, cut in 1usize..64, extra in 1usize..4) {
            let mut bytes = encode(&owned);
            prop_assert!(!is_valid(&bytes[..bytes.len() - cut.min(bytes.len())]));
            bytes.resize(bytes.len() + extra, 0);
            prop_assert!(!is_valid(&bytes));
        }

        #[test]
        fn all_readers_agree_on_garbage(bytes: Vec<u8>) {
            prop_assert_eq!(is_valid(&bytes), Payload::parse(&bytes).is_some());
            prop_assert!(!is_plain(&bytes) || matches!(general(&bytes), Some(Validity::Valid)));
        }

        #[test]
        fn all_readers_agree_on_nearly_plain_payloads(
            key in prop_oneof![0u8..8, any::<u8>()], length: [u8; 2], of_two: bool, tail in 0usize..3, zero in 0u8..2
        ) {
            let mut bytes = vec![key];
            bytes.resize(1 + usize::from(key >> 1), 7);
            bytes.extend(&length[..1 + usize::from(of_two)]);
            let value = if of_two { usize::from(length[0] & 0x7F) >> 1 | usize::from(length[1]) << 6 } else { usize::from(length[0] >> 1) };
            bytes.resize(bytes.len() + value, 7);
            bytes.resize(bytes.len() + tail, zero);
            let parsed = Payload::parse(&bytes);
            prop_assert_eq!(is_valid(&bytes), parsed.is_some());
            prop_assert!(!is_plain(&bytes) || parsed.is_some());
        }
    }

    #[test]
    fn many_headers_are_checked_in_steps() {
        for count in [
            FEW_HEADERS,
            FEW_HEADERS + 1,
            HEADERS_AT_ONCE,
            HEADERS_AT_ONCE + 1,
            3 * HEADERS_AT_ONCE,
            3 * HEADERS_AT_ONCE + 1,
        ] {
            let bytes = encode(&(None, None, vec![(b"k".to_vec(), None); count]));
            let steps = |bytes: &[u8]| match validity(bytes) {
                Validity::Valid => (0, true),
                Validity::Invalid => (0, false),
                Validity::Unknown(mut check) => {
                    let mut steps = 1;
                    loop {
                        if let Some(valid) = check.step(bytes) {
                            break (steps, valid);
                        }
                        steps += 1;
                    }
                }
            };
            let wanted = if count > FEW_HEADERS { count.div_ceil(HEADERS_AT_ONCE) } else { 0 };
            assert_eq!(steps(&bytes), (wanted, true));
            let mut long = bytes.clone();
            long.push(0);
            assert!(!steps(&long).1 && !is_valid(&long), "a byte follows");
            let mut broken = bytes.clone();
            *broken.last_mut().unwrap() = 2;
            assert!(!steps(&broken).1 && !is_valid(&broken), "the last value is cut off");
        }
    }

    #[test]
    fn plain_payloads_are_recognized() {
        for (key, value) in
            [(None, None), (Some(0), Some(0)), (Some(63), Some(63)), (None, Some(64)), (Some(1), Some(8191))]
        {
            let (key, value) = (key.map(|n| vec![7; n]), value.map(|n| vec![7; n]));
            assert!(is_plain(&encode(&(key, value, Vec::new()))));
        }
        for (key, value) in [(Some(64), None), (None, Some(8192))] {
            let (key, value) = (key.map(|n| vec![7; n]), value.map(|n| vec![7; n]));
            let bytes = encode(&(key, value, Vec::new()));
            assert!(!is_plain(&bytes) && is_valid(&bytes));
        }
    }

    #[test]
    fn a_padded_null_is_null() {
        let padded = [0x81, 0, 0x81, 0x80, 0, 2, 0, 0x81, 0];
        let same = Payload { headers: vec![(&[][..], None)], ..Payload::default() };
        assert_eq!(Payload::parse(&padded), Some(same));
    }

    #[test]
    fn false_lengths_are_refused() {
        for bytes in [
            &[3, 0, 0][..],
            &[0, 3, 0],
            &[0, 0, 1],
            &[0, 0, 2],
            &[0, 0, 2, 1, 0],
            &[0x83, 0, 0, 0],
            &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0],
        ] {
            assert!(!is_valid(bytes), "{bytes:?}");
        }
    }
}
