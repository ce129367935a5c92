//! Reads bytes from front to back.
//!
//! A cursor is an index into a slice. Neither is held by reference, so both stay in registers and each varint of a
//! record costs a handful of instructions.

use super::varint;

/// How far a slice was read.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    /// Never more than the slice's length.
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the front of `bytes`.
    #[inline(always)]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// At `at`, which may be the end.
    #[inline(always)]
    pub fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at: at.min(bytes.len()) }
    }

    /// How many bytes are left.
    #[inline(always)]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is left.
    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// So many bytes.
    #[inline(always)]
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        if count > self.left() {
            return None;
        }
        let bytes = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(bytes)
    }

    /// Goes past so many bytes.
    #[inline(always)]
    pub fn skip(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.at += count;
        Some(())
    }

    /// An integer that is not negative.
    #[inline(always)]
    pub fn length(&mut self) -> Option<usize> {
        let raw = self.raw()?;
        if raw & 1 == 0 { usize::try_from(raw >> 1).ok() } else { None }
    }

    /// A length. `Some(None)` is null: −1, which need not be encoded in the fewest bytes.
    #[inline(always)]
    pub fn nullable(&mut self) -> Option<Option<usize>> {
        let raw = self.raw()?;
        if raw == 1 {
            return Some(None);
        }
        if raw & 1 == 0 { usize::try_from(raw >> 1).ok().map(Some) } else { None }
    }

    /// A varint before zigzag decoding.
    #[inline(always)]
    fn raw(&mut self) -> Option<u64> {
        let (raw, after) = varint::raw(self.bytes, self.at)?;
        self.at = after;
        Some(raw)
    }
}
