//! Which input record an output record belongs to and the how manieth of that record's it is.

/// The index of no record: what a guest writes before it takes one.
const NONE: u32 = u32::MAX;

/// The position of the next output record: the index of the current input record in the low half and the number of
/// output records that it has in the high half. Compiled guests know this and have it in one load and one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Position(u64);

impl Default for Position {
    fn default() -> Self {
        Self::of(NONE)
    }
}

impl Position {
    /// Of the first output of the record with this index.
    #[inline(always)]
    pub fn of(index: u32) -> Self {
        Self(index as u64)
    }

    /// The same record's output with this ordinal.
    pub fn at(self, ordinal: u32) -> Self {
        Self(u64::from(ordinal) << 32 | u64::from(self.index()))
    }

    /// Behind the output that was written here.
    #[inline(always)]
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1 << 32))
    }

    /// Index of the input record in its batch. `u32::MAX` before the first one.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// Counts from 0 for each input record.
    #[inline(always)]
    pub fn ordinal(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_stays_whatever_the_ordinal_does() {
        let start = Position::default();
        assert_eq!((start.index(), start.ordinal()), (u32::MAX, 0));
        assert_eq!((start.next().index(), start.next().ordinal()), (u32::MAX, 1));
        let last = Position::of(7).at(u32::MAX);
        assert_eq!((last.index(), last.ordinal()), (7, u32::MAX));
        assert_eq!(last.next(), Position::of(7), "from here on ordinals repeat");
    }
}
