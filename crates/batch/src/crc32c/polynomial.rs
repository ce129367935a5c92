//! Arithmetic modulo the polynomial of CRC-32C, for the constants of the kernels. All of it runs at compile time.
//!
//! A message is a polynomial over GF(2) and its CRC is the remainder of message · x³². The lowest bit of the first
//! byte has the highest power. So a number of n bits has xⁿ⁻¹ in its lowest bit and 1 in its highest.

/// The polynomial without x³².
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// x to this power is 1: the polynomial is x + 1 times a primitive one of degree 31.
pub const PERIOD: i64 = (1 << 31) - 1;

/// a · b.
const fn multiply(mut a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a = a >> 1 ^ if a & 1 == 1 { POLYNOMIAL } else { 0 }; // times x
    }
    product
}

/// x to the power of n, which may be negative.
pub const fn power(n: i64) -> u32 {
    let mut n = n.rem_euclid(PERIOD);
    let (mut result, mut square) = (1 << 31, 1 << 30); // 1 and x
    while n > 0 {
        if n & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
        n >>= 1;
    }
    result
}

/// What moves 16 bytes `bits` bits towards the front of a message: a factor for each half of them.
///
/// Let the halves be H and L. Wanted is (H · x⁶⁴ + L) · xⁿ. A carry-less product of two numbers of 64 bits has 127 and
/// is taken as a number of 128 bits. That is the product times x. A factor of 32 bits in the low half of 64 is itself
/// times x³². So H · k · x³³ = H · xⁿ⁺⁶⁴ if k = xⁿ⁺³¹, and L · k · x³³ = L · xⁿ if k = xⁿ⁻³³.
pub const fn shift(bits: i64) -> [u64; 2] {
    [power(bits + 31) as u64, power(bits - 33) as u64]
}

/// `shift` by so many units and by one more each time.
pub const fn shifts<const N: usize>(unit: i64, first: i64) -> [[u64; 2]; N] {
    let mut table = [[0; 2]; N];
    let mut i = 0;
    while i < N {
        table[i] = shift(unit * (first + i as i64));
        i += 1;
    }
    table
}
