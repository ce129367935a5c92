//! The part of a record that guests read and write: key, value and headers.
//!
//! `key length | key | value length | value | header count | (key length | key | value length | value)*`, all lengths and
//! the count varints, −1 for a null key or value, nothing after the last header. It is the tail of a record in a Kafka
//! batch, so it travels from the batch to the guest and back without being taken apart.

use super::varint;

/// Whether `payload` is one well-formed payload and nothing else.
#[inline(always)]
pub fn is_valid(payload: &[u8]) -> bool {
    valid_or_none(payload).is_some()
}

#[inline(always)]
fn valid_or_none(mut rest: &[u8]) -> Option<()> {
    skip_nullable(&mut rest)?;
    skip_nullable(&mut rest)?;
    let headers = take_count(&mut rest)?;
    for _ in 0..headers {
        take_bytes(&mut rest)?;
        skip_nullable(&mut rest)?;
    }
    rest.is_empty().then_some(())
}

/// A key, a value, or null.
pub type Field<'a> = Option<&'a [u8]>;

/// A payload taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The record's key.
    pub key: Field<'a>,
    /// The record's value.
    pub value: Field<'a>,
    /// Header keys and values, in order.
    pub headers: Vec<(&'a [u8], Field<'a>)>,
}

impl<'a> Payload<'a> {
    /// Takes a payload apart; `None` if it is malformed.
    pub fn parse(mut rest: &'a [u8]) -> Option<Self> {
        let key = take_nullable(&mut rest)?;
        let value = take_nullable(&mut rest)?;
        let count = take_count(&mut rest)?;
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            headers.push((take_bytes(&mut rest)?, take_nullable(&mut rest)?));
        }
        rest.is_empty().then_some(Self { key, value, headers })
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

/// Takes a count of headers off the front; more than could possibly follow are refused, so it may size a buffer.
fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(varint::take(rest)?).ok()?;
    (count <= rest.len() / 2).then_some(count)
}

#[inline(always)]
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

#[inline(always)]
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    if rest.first() == Some(&1) {
        // The varint −1.
        *rest = &rest[1..];
        return Some(None);
    }
    take_bytes(rest).map(Some)
}

#[inline(always)]
fn skip_nullable(rest: &mut &[u8]) -> Option<()> {
    take_nullable(rest).map(|_| ())
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
        fn truncated_or_over_long_ones_are_refused(owned: Owned, cut in 1usize..64, extra in 1usize..4) {
            let mut bytes = encode(&owned);
            prop_assert!(!is_valid(&bytes[..bytes.len() - cut.min(bytes.len())]));
            bytes.resize(bytes.len() + extra, 0);
            prop_assert!(!is_valid(&bytes));
        }

        #[test]
        fn both_readers_agree_on_garbage(bytes: Vec<u8>) {
            prop_assert_eq!(is_valid(&bytes), Payload::parse(&bytes).is_some());
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in [
            &[3, 0, 0][..],
            &[0, 3, 0],
            &[0, 0, 1],
            &[0, 0, 2],
            &[0, 0, 2, 1, 0],
            &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0],
        ] {
            assert!(!is_valid(bytes), "{bytes:?}");
        }
    }
}
