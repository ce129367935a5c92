//! Zigzag LEB128 integers of 64 bits. Protocol Buffers' `sint64` and Kafka's records use this encoding.

/// The longest encoding.
pub const MAX_LEN: usize = 10;

/// Takes an integer off the front of `bytes`. `None` if the integer is truncated or longer than 10 bytes or wider
/// than 64 bits.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Option<i64> {
    let (value, after) = raw(bytes, 0)?;
    *bytes = bytes.get(after..)?;
    Some(unzigzag(value))
}

/// The integer at `at` before zigzag decoding and the position after it. `None` as for `take`.
#[inline(always)]
pub fn raw(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    // One or two bytes are what records have nearly everywhere.
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((u64::from(first), at + 1));
    }
    let second = *bytes.get(at + 1)?;
    if second < 0x80 {
        return Some((u64::from(first & 0x7F) | u64::from(second) << 7, at + 2));
    }
    let (value, after) = long(bytes, at);
    if after == 0 { None } else { Some((value, after)) }
}

/// As `raw`. The position is 0 if there is no integer. A pair is returned in registers. An `Option` of a pair is
/// returned in memory and would slow down short integers.
#[cold]
#[inline(never)]
fn long(bytes: &[u8], at: usize) -> (u64, usize) {
    let mut value = 0u64;
    for (i, &byte) in bytes.get(at..).unwrap_or_default().iter().take(MAX_LEN).enumerate() {
        if i == MAX_LEN - 1 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            return (value, at + i + 1);
        }
    }
    (0, 0)
}

/// Even numbers stand for 0 and up. Odd numbers stand for −1 and down.
#[inline(always)]
pub fn unzigzag(value: u64) -> i64 {
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

/// As `put` at the front of `out`, which has room for it. Returns how many bytes that takes.
#[inline(always)]
pub fn write(out: &mut [u8], value: i64) -> usize {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
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
        fn put_and_take_are_inverse(value: i64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), len(value));
            let mut room = [0; MAX_LEN];
            let size = write(&mut room, value);
            prop_assert_eq!(&room[..size], &out[..]);
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
    fn truncated_and_overlong_varints_are_refused() {
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
