//! Short inputs by the processor's instruction for CRC-32C, 8 bytes at a time.

use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};

/// The state after `data`.
#[target_feature(enable = "sse4.2")]
#[inline]
pub fn update(state: u32, data: &[u8]) -> u32 {
    let (words, tail) = data.as_chunks::<8>();
    let mut state = u64::from(state);
    for word in words {
        state = _mm_crc32_u64(state, u64::from_le_bytes(*word));
    }
    match data.last_chunk::<8>() {
        _ if tail.is_empty() => state as u32,
        // The tail at once, as the end of 8 bytes: zeros in front do not change a CRC that begins with 0. What of the
        // state lies beyond the tail stays.
        Some(last) => {
            let before = 64 - 8 * tail.len();
            let word = (u64::from_le_bytes(*last) >> before ^ state) << before;
            (_mm_crc32_u64(0, word) ^ state >> (8 * tail.len())) as u32
        }
        None => few(state as u32, tail),
    }
}

/// Fewer than 8 bytes.
#[target_feature(enable = "sse4.2")]
fn few(mut state: u32, mut data: &[u8]) -> u32 {
    if let Some((word, rest)) = data.split_first_chunk::<4>() {
        (state, data) = (_mm_crc32_u32(state, u32::from_le_bytes(*word)), rest);
    }
    if let Some((word, rest)) = data.split_first_chunk::<2>() {
        (state, data) = (_mm_crc32_u16(state, u16::from_le_bytes(*word)), rest);
    }
    if let Some(byte) = data.first() {
        state = _mm_crc32_u8(state, *byte);
    }
    state
}
