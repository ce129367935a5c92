//! A batch as the engine reads it: checked as a whole, then read record by record without copying.

use crate::check::Check;
use crate::cursor::Cursor;
use crate::decompress::{FREED_AT_ONCE, Regions};
use crate::header::{SIZE, wasm_batch_header};
use crate::record::{RawRecord, RecordPosition, Times};

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Attributes. No bit is in use.
    pub attributes: u8,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Kafka offset.
    pub offset: i64,
    /// Key, value and headers.
    pub payload: &'a [u8],
}

/// How many records are looked for ahead: they take 32 KiB.
pub(crate) const MOST_AHEAD: usize = 1024;

/// A batch being read. It is checked as a whole first (`begin` and `check`). Its records are read one by one
/// afterwards. This struct and its memory are reused from batch to batch and filled in place: building and moving it
/// would cost a small batch a tenth of its time.
///
/// Memory safety does not depend on the bytes. If the host changes a borrowed batch, the worst result is a wrong
/// record.
#[derive(Debug, Default)]
pub struct Records<'a> {
    /// The header.
    pub header: wasm_batch_header,
    /// Bytes of the largest payload.
    pub largest_payload: usize,
    /// All of the batch.
    pub(crate) batch: &'a [u8],
    /// The batch is being checked.
    pub(crate) check: Check,
    /// The decompressed part of a compressed batch after its header.
    pub(crate) regions: Regions,
    /// Index of the region that is being read.
    pub(crate) place: usize,
    /// That region: of `regions`, or the batch after its header. Lent no longer than `self` is borrowed.
    region: &'a [u8],
    /// The next records of the region as found by the check or by `look_ahead`.
    pub(crate) ahead: Vec<RecordPosition>,
    /// The first of those that is not read.
    next: usize,
    /// Where the others begin in the region.
    pub(crate) unread: usize,
    /// How many they are in this region and those behind it.
    pub(crate) left: usize,
}

impl<'a> Records<'a> {
    /// There is nothing to be read any more. `free_some` follows after a large batch, else the next one frees it.
    #[inline]
    pub fn end(&mut self) {
        self.batch = &[];
        self.region = &[];
        self.check.end();
        // A large batch is freed by `free_some`.
        if self.regions.count() > 0 && self.regions.count() <= FREED_AT_ONCE {
            self.regions.clear();
        }
        self.place = 0;
        self.ahead.clear();
        self.next = 0;
        self.unread = 0;
        self.left = 0;
        self.largest_payload = 0;
    }

    /// Takes a step in freeing what a batch that has ended leaves. True if nothing is left.
    #[inline]
    pub fn free_some(&mut self) -> bool {
        self.regions.count() == 0 || self.regions.free_some()
    }

    /// The region with this index is read next.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn enter(&mut self, place: usize) {
        self.place = place;
        self.region = match self.regions.get(place) {
            // SAFETY: the bytes of a region stay in place until `end` clears the regions, which also ends this. Nothing
            // writes them once the batch is checked. They are lent for as long as `self` is borrowed.
            Some(region) => unsafe { core::slice::from_raw_parts(region.as_ptr(), region.len()) },
            None => self.batch.get(SIZE..).unwrap_or_default(),
        };
    }

    /// The next record. `advance` moves past this record.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<Record<'_>> {
        if self.next >= self.ahead.len() {
            self.look_ahead();
        }
        self.record(self.ahead.get(self.next)?)
    }

    #[inline(always)]
    fn record(&self, found: &RecordPosition) -> Option<Record<'_>> {
        let start = found.start as usize;
        Some(Record {
            attributes: found.attributes,
            timestamp: found.timestamp,
            offset: self.header.base_offset.wrapping_add(i64::from(found.offset_delta)),
            payload: self.region.get(start..start + found.size as usize)?,
        })
    }

    /// Goes past the record that `peek` gave.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// The record that `advance` went past last, unless `peek` was called since.
    pub fn latest(&self) -> Option<Record<'_>> {
        self.record(self.ahead.get(self.next.checked_sub(1)?)?)
    }

    /// Parses some more.
    #[cold]
    #[inline(never)]
    fn look_ahead(&mut self) {
        self.next = 0;
        self.ahead.clear();
        if self.unread == self.region.len() && self.left > 0 && self.place + 1 < self.regions.count() {
            self.enter(self.place + 1);
            self.unread = 0;
        }
        let times = Times::of(&self.header);
        let mut rest = Cursor::at(self.region, self.unread);
        // The check has reserved as much as can be needed.
        for _ in 0..self.left.min(self.ahead.capacity()).min(MOST_AHEAD) {
            let Some(raw) = RawRecord::take(&mut rest) else { break };
            self.ahead.push(raw.found(self.region.len() - rest.left(), times));
        }
        self.left -= self.ahead.len();
        self.unread = self.region.len() - rest.left();
    }
}

#[cfg(test)]
mod tests;
