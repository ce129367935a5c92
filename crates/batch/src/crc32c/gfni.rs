//! Long inputs by products of bit matrices (`GF2P8AFFINEQB`) beside carry-less multiplication.
//!
//! Both run in the same two units of the processor. Carry-less multiplication needs two instructions for a block, but
//! only one begins in two cycles. Matrix products need four, and one begins in each unit and cycle. So of six blocks
//! four go by matrices and two by multiplication: 20 instructions in 10 cycles. Multiplication alone would take 24.
//!
//! **The matrices.** A byte v of a block is replaced by bytes u₃ … u₆ at the same place of the blocks that come 3 to 6
//! later. These are 32 bits, as many as a remainder has. If the powers of x that they stand for are linearly
//! independent, there is one way to choose them for each v. Each bit of u is a sum of bits of v. So each u is a matrix
//! times v. The matrices are the same for all places, because both sides have the same power of x as a factor.

use super::avx512::{self, BLOCK, BLOCKS, begin, finish, fold, load, shifted};
use super::polynomial::power;
use core::arch::x86_64::*;

/// Blocks of a group, which stays in registers.
const GROUP: usize = 6;

/// The shortest input that does not go to `avx512`.
pub const LEAST: usize = 2 * GROUP * BLOCK;

/// So many groups ahead, 4 KiB, data is fetched from the second-level cache and beyond.
const AHEAD: usize = 11;

/// The distances in blocks of what replaces a byte. What is nearer would have to be waited for.
const NEAREST: usize = 3;
const FARTHEST: usize = 6;

/// The matrix for each distance. Row 7 − i has the bits of v that make bit i of u.
const MATRICES: [u64; FARTHEST + 1 - NEAREST] = matrices();

/// Solves 8 systems of 32 linear equations, one for each bit of v.
const fn matrices() -> [u64; FARTHEST + 1 - NEAREST] {
    // The bits of a byte are x⁷ to 1, lowest first. Each block nearer than the farthest makes that x⁵¹² times more.
    const fn value(bit: usize, distance: usize) -> u32 {
        power(7 - bit as i64 + 8 * BLOCK as i64 * (FARTHEST - distance) as i64)
    }
    // By elimination: `reduced[i]` has i as its lowest bit and is the sum of the values of the bits of u in `sums[i]`.
    let (mut reduced, mut sums) = ([0u32; 32], [0u32; 32]);
    let mut unknown = 0;
    while unknown < 32 {
        let (mut rest, mut sum) = (value(unknown % 8, NEAREST + unknown / 8), 1 << unknown);
        while reduced[rest.trailing_zeros() as usize] != 0 {
            let i = rest.trailing_zeros() as usize;
            (rest, sum) = (rest ^ reduced[i], sum ^ sums[i]);
        }
        // If the values depended on each other, the rest would be 0 and the index 32, which does not compile.
        let i = rest.trailing_zeros() as usize;
        (reduced[i], sums[i]) = (rest, sum);
        unknown += 1;
    }
    let mut matrices = [0; FARTHEST + 1 - NEAREST];
    let mut bit = 0;
    while bit < 8 {
        let (mut rest, mut sum) = (value(bit, 0), 0);
        while rest != 0 {
            let i = rest.trailing_zeros() as usize;
            (rest, sum) = (rest ^ reduced[i], sum ^ sums[i]);
        }
        let mut unknown = 0;
        while unknown < 32 {
            if sum >> unknown & 1 == 1 {
                matrices[unknown / 8] |= 1 << (8 * (7 - unknown % 8) + bit);
            }
            unknown += 1;
        }
        bit += 1;
    }
    matrices
}

/// The state after `data`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni,vpclmulqdq,pclmulqdq,sse4.2")]
pub fn update(state: u32, data: &[u8]) -> u32 {
    let (groups, rest) = data.as_chunks::<BLOCK>().0.as_chunks::<GROUP>();
    let [first, middle @ .., last] = groups else { return avx512::update(state, data) };
    let mut group = loaded(first);
    group[0] = begin(state, &first[0]);
    group = within(group);
    for (i, next) in middle.iter().enumerate() {
        if let Some(ahead) = middle.get(i + AHEAD) {
            for block in ahead {
                prefetch(block);
            }
        }
        group = within(onto(group, loaded(next)));
    }
    group = onto(group, loaded(last));
    let [a, b, c, d, e, f] = group;
    let sum = xor(
        xor(shifted(a, &BLOCKS[4], f), shifted(b, &BLOCKS[3], shifted(c, &BLOCKS[2], _mm512_setzero_si512()))),
        shifted(d, &BLOCKS[1], shifted(e, &BLOCKS[0], _mm512_setzero_si512())),
    );
    finish(fold(sum, rest), data)
}

/// Asks for a block that is needed soon.
#[target_feature(enable = "sse")]
#[inline]
fn prefetch(block: &[u8; BLOCK]) {
    _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().cast());
}

/// A group from memory.
#[target_feature(enable = "avx512f")]
#[inline]
fn loaded(group: &[[u8; BLOCK]; GROUP]) -> [__m512i; GROUP] {
    let [a, b, c, d, e, f] = group;
    [load(a), load(b), load(c), load(d), load(e), load(f)]
}

/// A group whose blocks are added to the next group, as far as they have not been added to their own. Every third block
/// goes by multiplication.
#[target_feature(enable = "avx512f,gfni,vpclmulqdq")]
#[inline]
fn onto(group: [__m512i; GROUP], next: [__m512i; GROUP]) -> [__m512i; GROUP] {
    let [a, b, c, d, e, f] = group;
    [
        xor(xor(next[0], moved::<6>(a)), xor(moved::<5>(b), moved::<3>(d))),
        xor(xor(next[1], moved::<6>(b)), xor(moved::<4>(d), moved::<3>(e))),
        xor(shifted(c, &BLOCKS[GROUP - 1], next[2]), xor(moved::<5>(d), moved::<4>(e))),
        xor(xor(next[3], moved::<6>(d)), moved::<5>(e)),
        xor(next[4], moved::<6>(e)),
        shifted(f, &BLOCKS[GROUP - 1], next[5]),
    ]
}

/// A group whose blocks are added to later ones of the same group.
#[target_feature(enable = "avx512f,gfni")]
#[inline]
fn within(group: [__m512i; GROUP]) -> [__m512i; GROUP] {
    let [a, b, c, d, e, f] = group;
    let (d, e) = (xor(d, moved::<3>(a)), xor(e, xor(moved::<4>(a), moved::<3>(b))));
    [a, b, c, d, e, xor(f, xor(moved::<5>(a), moved::<4>(b)))]
}

/// What is added to the block that is so many blocks later.
#[target_feature(enable = "avx512f,gfni")]
#[inline]
fn moved<const DISTANCE: usize>(block: __m512i) -> __m512i {
    let matrix = const { MATRICES[DISTANCE - NEAREST] };
    _mm512_gf2p8affine_epi64_epi8::<0>(block, _mm512_set1_epi64(matrix as i64))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn xor(a: __m512i, b: __m512i) -> __m512i {
    _mm512_xor_si512(a, b)
}
