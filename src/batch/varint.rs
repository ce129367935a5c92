//! Zigzag LEB128 integers of 64 bits, as in Protocol Buffers' `sint64` and in Kafka's records.

/// The longest encoding.
pub const MAX_LEN: usize = 10;

/// Takes an integer off the front of `bytes`. `None`: truncated, longer than 10 bytes, or wider than 64 bits.
#[inline(always)]
pub fn take(bytes: &mut &[u8]) -> Option<i64> {
    // One or two bytes are what records have nearly everywhere.
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(unzigzag(u64::from(first)))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(unzigzag(u64::from(first & 0x7F) | u64::from(second) << 7))
        }
        _ => take_long(bytes),
    }
}

#[cold]
fn take_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(MAX_LEN).enumerate() {
        if i == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(unzigzag(value));
        }
    }
    None
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends an integer.
pub fn put(out: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes `put` appends.
pub fn len(value: i64) -> usize {
    let value = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_can_be_taken(value: i64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), len(value));
            out.extend_from_slice(&tail);
            let mut rest = &out[..];
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &tail[..]);
        }
    }

    #[test]
    fn known_encodings() {
        for (value, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (63, &[126]), (64, &[0x80, 1]), (-65, &[0x81, 1])]
        {
            assert_eq!(take(&mut &bytes[..]), Some(value));
        }
    }

    #[test]
    fn truncated_and_over_long_ones_are_refused() {
        assert_eq!(take(&mut &[][..]), None);
        assert_eq!(take(&mut &[0x80][..]), None);
        assert_eq!(take(&mut &[0xFF; 10][..]), None);
        assert_eq!(take(&mut &[0x80; 11][..]), None);
        let mut max = vec![0xFF; 9];
        max.push(1);
        assert_eq!(take(&mut &max[..]), Some(i64::MIN));
        max[9] = 2;
        assert_eq!(take(&mut &max[..]), None, "wider than 64 bits");
    }
}
