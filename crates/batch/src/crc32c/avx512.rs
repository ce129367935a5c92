//! Lengths from 64 bytes on by carry-less multiplication of vectors of 64 bytes. Such a vector is a block here.
//!
//! A block times x to the power of the bits between it and a later block can be added to the later one. The remainder
//! stays the same and the message gets shorter.

use super::polynomial::{shift, shifts};
use core::arch::x86_64::*;

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// Shifts by 1 to 6 blocks.
pub static BLOCKS: [[u64; 2]; 6] = shifts(8 * BLOCK as i64, 1);

/// Shifts by 0 to 63 bytes.
static BYTES: [[u64; 2]; BLOCK] = shifts(8, 0);

/// The state after `data`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,vpclmulqdq,pclmulqdq,sse4.2")]
pub fn update(state: u32, data: &[u8]) -> u32 {
    let Some((first, rest)) = data.as_chunks::<BLOCK>().0.split_first() else {
        return super::sse42::update(state, data);
    };
    finish(fold(begin(state, first), rest), data)
}

/// The first block of a message.
#[target_feature(enable = "avx512f")]
#[inline]
pub fn begin(state: u32, first: &[u8; BLOCK]) -> __m512i {
    _mm512_xor_si512(load(first), _mm512_zextsi128_si512(_mm_cvtsi32_si128(state as i32)))
}

/// The sum of a block and those after it.
#[target_feature(enable = "avx512f,vpclmulqdq")]
#[inline]
pub fn fold(mut sum: __m512i, rest: &[[u8; BLOCK]]) -> __m512i {
    let (fours, rest) = rest.as_chunks::<4>();
    for [a, b, c, d] in fours {
        // Only one of these products depends on the four blocks before.
        let [b, c] = [shifted(load(b), &BLOCKS[1], load(d)), shifted(load(c), &BLOCKS[0], _mm512_setzero_si512())];
        let a = shifted(load(a), &BLOCKS[2], _mm512_xor_si512(b, c));
        sum = shifted(sum, &BLOCKS[3], a);
    }
    for block in rest {
        sum = shifted(sum, &BLOCKS[0], load(block));
    }
    sum
}

/// The state after `data`, whose whole blocks have this sum. There is at least one.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,vpclmulqdq,pclmulqdq,sse4.2")]
#[inline]
pub fn finish(mut sum: __m512i, data: &[u8]) -> u32 {
    let tail = data.len() % BLOCK;
    if let Some(last) = data.last_chunk::<BLOCK>() {
        // The tail is the end of the last 64 bytes. What is before it has been added.
        let block = _mm512_maskz_mov_epi8(!(u64::MAX >> tail), load(last));
        sum = shifted(sum, &BYTES[tail], block);
    }
    // All is added to the last 16 bytes, whose CRC the instruction computes.
    const PARTS: [[u64; 2]; 4] = [shift(384), shift(256), shift(128), [0; 2]];
    const FACTORS: [u8; BLOCK] = {
        let mut bytes = [0; BLOCK];
        let mut i = 0;
        while i < BLOCK {
            bytes[i] = (PARTS[i / 16][i / 8 % 2] >> (8 * (i % 8))) as u8;
            i += 1;
        }
        bytes
    };
    let parts = product(sum, load(&FACTORS));
    let part = _mm_xor_si128(
        _mm_xor_si128(_mm512_castsi512_si128(parts), _mm512_extracti32x4_epi32::<1>(parts)),
        _mm_xor_si128(_mm512_extracti32x4_epi32::<2>(parts), _mm512_extracti32x4_epi32::<3>(sum)),
    );
    let state = _mm_crc32_u64(0, _mm_cvtsi128_si64(part) as u64);
    _mm_crc32_u64(state, _mm_extract_epi64::<1>(part) as u64) as u32
}

/// The sum of the products of both halves, for each 16 bytes.
#[target_feature(enable = "avx512f,vpclmulqdq")]
#[inline]
fn product(block: __m512i, factors: __m512i) -> __m512i {
    _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x00>(block, factors), _mm512_clmulepi64_epi128::<0x11>(block, factors))
}

/// A block shifted, and `other` added.
#[target_feature(enable = "avx512f,vpclmulqdq")]
#[inline]
pub fn shifted(block: __m512i, by: &[u64; 2], other: __m512i) -> __m512i {
    let factors = _mm512_broadcast_i32x4(load_factors(by));
    _mm512_xor_si512(product(block, factors), other)
}

/// A block from memory.
#[target_feature(enable = "avx512f")]
#[inline]
pub fn load(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: 64 bytes are read, which the array has. They need not be aligned.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(block.as_ptr().cast())
    }
}

/// Both factors of a shift.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_factors(factors: &[u64; 2]) -> __m128i {
    // SAFETY: 16 bytes are read, which the array has. They need not be aligned.
    #[allow(unsafe_code)]
    unsafe {
        _mm_loadu_si128(factors.as_ptr().cast())
    }
}
