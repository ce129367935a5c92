//! A batch as the engine reads it: checked as a whole, then read record by record without copying.

use crate::check::Check;
use crate::cursor::Cursor;
use crate::decompress::{FREED_AT_ONCE, Regions};
use crate::entries::{END, Entries, Entry, NATIVE};
use crate::header::{SIZE, wasm_batch_header};
use crate::input::LentRecords;
use crate::record::{RawRecord, Times};

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
    /// Records without a batch.
    pub(crate) lent: LentRecords<'a>,
    /// A batch or records have begun and not ended.
    pub(crate) begun: bool,
    /// The batch is being checked.
    pub(crate) check: Check,
    /// The decompressed part of a compressed batch after its header.
    pub(crate) regions: Regions,
    /// Where the records are.
    pub entries: Entries,
    /// How many records come after those. Then the next two fields say where.
    pub(crate) left: usize,
    /// The index of a region.
    pub(crate) place: usize,
    /// Where the next record begins there.
    pub(crate) unread: usize,
}

impl<'a> Records<'a> {
    /// There is nothing to be read any more. `free_some` follows after a large batch, else the next one frees it.
    #[inline]
    pub fn end(&mut self) {
        self.begun = false;
        self.batch = &[];
        self.lent = LentRecords::default();
        self.check.end();
        // A large batch is freed by `free_some`.
        if !self.regions.is_empty() && self.regions.count() <= FREED_AT_ONCE {
            self.regions.clear();
        }
        self.entries.clear();
        self.left = 0;
        self.largest_payload = 0;
    }

    /// Takes a step in freeing what a batch that has ended leaves. True if nothing is left.
    #[inline]
    pub fn free_some(&mut self) -> bool {
        self.regions.is_empty() || self.regions.free_some()
    }

    /// The region with this index: of `regions`, or the batch after its header.
    pub(crate) fn region(&self, place: usize) -> &[u8] {
        self.regions.get(place).unwrap_or_else(|| self.batch.get(SIZE..).unwrap_or_default())
    }

    /// The next record. `advance` moves past this record.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<Record<'_>> {
        if self.entries.peek().is_none() && !self.go_on() {
            return None;
        }
        self.entries.peek().map(|entry| self.record(entry))
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn record(&self, entry: &Entry) -> Record<'_> {
        let start = core::ptr::with_exposed_provenance(entry.start.wrapping_add(NATIVE) as usize);
        // SAFETY: the check or `look_further` found the payload in the batch, which outlives this, or in a region. The
        // bytes of a region stay in place until `end` clears the regions. It clears the entries too. Nothing writes
        // them once the batch is checked, and `checked` exposed them then. They are lent for as long as `self` is
        // borrowed.
        let payload = unsafe { core::slice::from_raw_parts(start, entry.size as usize) };
        Record { attributes: entry.attributes as u8, timestamp: entry.timestamp, offset: entry.offset, payload }
    }

    /// Goes past the record that `peek` gave.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.entries.advance();
    }

    /// The record that `advance` went past last. None before the first.
    pub fn latest(&self) -> Option<Record<'_>> {
        self.entries.latest().filter(|entry| entry.size != END).map(|entry| self.record(entry))
    }

    /// Goes on behind the last entry of a segment. False if there is no other record.
    #[cold]
    #[inline(never)]
    fn go_on(&mut self) -> bool {
        self.entries.enter_next() || self.left > 0 && self.look_further() > 0
    }

    /// Parses some more. Returns how many records were found.
    fn look_further(&mut self) -> usize {
        if self.unread == self.region(self.place).len() && self.place + 1 < self.regions.count() {
            (self.place, self.unread) = (self.place + 1, 0);
        }
        if !self.lent.is_empty() {
            return self.look_further_in_lent();
        }
        let mut entries = core::mem::take(&mut self.entries);
        let (times, base_offset) = (Times::of(&self.header), self.header.base_offset);
        let mut rest = Cursor::at(self.region(self.place), self.unread);
        let most = self.left;
        let mut taken = 0;
        let found = entries.refill(|| {
            taken += 1;
            if taken > most { None } else { RawRecord::take(&mut rest).map(|raw| raw.entry(base_offset, times)) }
        });
        self.unread = self.region(self.place).len() - rest.left();
        self.left -= found;
        self.entries = entries;
        found
    }
}

#[cfg(test)]
mod tests;
