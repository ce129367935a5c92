//! Records of a host that has no batch, encoded for the guest in steps. Their payloads are copied once, into chunks of
//! the thread's. Their entries are made in the same pass. So whatever reads records reads these as those of a batch.

use crate::chunk;
use crate::decompress::Regions;
use crate::entries::{Entry, NATIVE};
use crate::error::{Error, Kind, Result};
use crate::header::{SIZE, wasm_batch_header};
use crate::input::{self, LentRecord, LentRecords, wasm_record};
use crate::reader::Records;
use crate::varint;
use payload::{headers, part, put, put_plain};

mod payload;

/// Headers that are encoded together with their record.
const FEW_HEADERS: usize = 64;

/// Fields of a large record that a step looks at or copies.
const FIELDS_PIECE: usize = 4096;

/// Bytes of the size before each payload of which no entry is remembered.
const LEAD: usize = size_of::<u32>();

/// A record that takes steps.
#[derive(Debug, Default)]
pub struct LargeRecord {
    /// Its payload's bytes as far as they are counted.
    size: usize,
    /// All are counted. There is room for them.
    counted: bool,
    /// The field that comes next: key, value, count of headers, then key and value of each header.
    field: usize,
    /// Bytes of that field's encoding that are copied.
    copied: usize,
    /// Where the payload begins in its region.
    start: usize,
}

/// Why a step ends.
enum Stopped {
    /// The region or the segment is full, or all is encoded.
    Full,
    /// The next record takes steps.
    Large,
}

impl<'a> Records<'a> {
    /// Begins with records that have no batch. `first` is the first one to be read: those before are not looked at.
    pub fn begin_records(&mut self, records: LentRecords<'a>, first: u32, limit: usize) -> Result<()> {
        self.end();
        self.begun = true;
        self.regions.begin(limit);
        let Ok(count) = i32::try_from(records.len()) else {
            let count = records.len();
            return Err(Error::new(Kind::TooLarge, format!("{count} records are given; at most {} can be", i32::MAX)));
        };
        self.header = header_of(records.from(0), count);
        self.lent = records;
        self.check.begin_encoding(first, limit);
        Ok(())
    }

    /// Encodes some of the records. True if all are. Apart from the check of small batches, which is faster for that.
    #[inline(never)]
    pub(crate) fn encode(&mut self) -> Result<bool> {
        if self.check.large.is_some() {
            self.encode_large()?;
            return Ok(false);
        }
        let index = self.check.index as usize;
        if index >= self.lent.len() {
            self.header.total_size = (SIZE + self.regions.total()) as u64;
            return self.checked().map(|()| true);
        }
        if self.regions.count() == 0 {
            self.regions.make_room(0, 0)?;
        }
        match self.encode_small(index)? {
            Stopped::Large => self.check.large = Some(Box::default()),
            Stopped::Full if self.check.index as usize == index => {
                // The chunk has no room even for one record.
                let end = self.regions.last().len();
                self.regions.make_room(end, 0)?;
            }
            Stopped::Full => {}
        }
        Ok(false)
    }

    /// Encodes records as long as they are small and there is room.
    #[inline(always)]
    fn encode_small(&mut self, index: usize) -> Result<Stopped> {
        let records = self.lent.from(index);
        if self.left > 0 {
            return self.encode_unread(index);
        }
        let Some(room) = self.entries.room(records.len())? else {
            self.begin_unread();
            return self.encode_unread(index);
        };
        let mut run = Run { largest: self.largest_payload, newest: self.header.max_timestamp, found: 0 };
        let stopped = run.encode(records, room, index, 0, &mut self.regions)?;
        self.entries.fill(run.found);
        self.note(&run);
        Ok(stopped)
    }

    /// The same without entries. Each payload is behind its size.
    #[cold]
    #[inline(never)]
    fn encode_unread(&mut self, index: usize) -> Result<Stopped> {
        let mut forgotten = [Entry::default(); 64];
        let mut run = Run { largest: self.largest_payload, newest: self.header.max_timestamp, found: 0 };
        let stopped = run.encode(self.lent.from(index), &mut forgotten, index, LEAD, &mut self.regions)?;
        self.note(&run);
        Ok(stopped)
    }

    #[inline(always)]
    fn note(&mut self, run: &Run) {
        self.largest_payload = run.largest;
        self.header.max_timestamp = run.newest;
        self.check.index += run.found as i32;
    }

    /// From here on no entries are remembered.
    #[cold]
    fn begin_unread(&mut self) {
        self.place = self.regions.count().saturating_sub(1);
        self.unread = self.regions.last().len();
        self.left = self.lent.len() - self.check.index as usize;
    }

    /// Counts or copies some of a record that takes steps.
    #[cold]
    fn encode_large(&mut self) -> Result<()> {
        let index = self.check.index as usize;
        let (Some(record), Some(large)) = (self.lent.get(index), self.check.large.as_mut()) else {
            return Err(Error::new(Kind::Internal, "the record that is being encoded is lost"));
        };
        let headers = headers(record, index)?;
        let fields = 3 + 2 * headers.len();
        if !large.counted {
            let lead = if self.left > 0 { LEAD } else { 0 };
            let left = self.regions.left().saturating_sub(lead);
            // Each takes two bytes. More than there can be are not looked at.
            if headers.len() > left / 2 {
                return Err(input::too_large(index, headers.len().saturating_mul(2), self.regions.limit()));
            }
            let end = fields.min(large.field + FIELDS_PIECE);
            for field in large.field..end {
                let size = part(record, headers, index, field)?.size();
                large.size = large.size.saturating_add(size);
            }
            large.field = end;
            let size = large.size;
            if size > left || size > i32::MAX as usize {
                return Err(input::too_large(index, size, self.regions.limit()));
            }
            if end < fields {
                return Ok(());
            }
            (large.counted, large.field) = (true, 0);
            let end = self.regions.last().len();
            self.regions.make_room(end, lead + size)?;
            if lead > 0 {
                self.regions.put(&(size as u32).to_le_bytes())?;
                large.start = LEAD;
            }
            return Ok(());
        }
        let (mut budget, end) = (chunk::SIZE, fields.min(large.field + FIELDS_PIECE));
        while large.field < end && budget > 0 {
            let part = part(record, headers, index, large.field)?;
            let mut number = [0; varint::MAX_LEN];
            let digits = varint::write(&mut number, part.number());
            let bytes = part.bytes(record);
            let (piece, whole) = match number[..digits].get(large.copied..) {
                Some(rest) if !rest.is_empty() => (rest, digits),
                _ => (bytes.get(large.copied - digits..).unwrap_or_default(), digits + bytes.len()),
            };
            let mut rest = &piece[..piece.len().min(budget)];
            while !rest.is_empty() {
                let count = self.regions.put(rest)?;
                if count == 0 {
                    return Err(Error::new(Kind::Internal, "the room for a large record is too small"));
                }
                rest = &rest[count..];
                large.copied += count;
                budget -= count;
            }
            if large.copied == whole && (whole > digits || bytes.is_empty()) {
                (large.field, large.copied) = (large.field + 1, 0);
            }
        }
        if large.field == fields {
            let (start, size) = (large.start, large.size);
            self.check.large = None;
            self.end_large(record, start, size)?;
        }
        Ok(())
    }

    /// A record that took steps is encoded.
    fn end_large(&mut self, record: LentRecord<'_>, start: usize, size: usize) -> Result<()> {
        if self.regions.last().len() != start + size {
            return Err(Error::new(Kind::Internal, "a record has changed while it was encoded"));
        }
        if self.left == 0 {
            // The step that found the record large had room, too.
            let Some([entry, ..]) = self.entries.room(1)? else {
                return Err(Error::new(Kind::Internal, "the entry of a large record is lost"));
            };
            let first = (self.regions.last().as_ptr().addr() as u64).wrapping_sub(NATIVE);
            *entry = entry_of(record.0, first.wrapping_add(start as u64), size);
            self.entries.fill(1);
        }
        self.largest_payload = self.largest_payload.max(size);
        self.header.max_timestamp = self.header.max_timestamp.max(record.0.timestamp);
        self.check.index += 1;
        Ok(())
    }

    /// Finds records of which no entry was remembered. Returns how many.
    pub(crate) fn look_further_in_lent(&mut self) -> usize {
        let mut entries = core::mem::take(&mut self.entries);
        let region = self.region(self.place);
        let native = (region.as_ptr().addr() as u64).wrapping_sub(NATIVE);
        let records = self.lent.from(self.lent.len() - self.left);
        let (mut at, mut index) = (self.unread, 0);
        let found = entries.refill(|| {
            let record = records.get(index)?;
            let size = u32::from_le_bytes(*region.get(at..)?.first_chunk()?);
            let start = at + LEAD;
            let payload = region.get(start..start.checked_add(size as usize)?)?;
            at = start + payload.len();
            index += 1;
            Some(entry_of(record, native.wrapping_add(start as u64), payload.len()))
        });
        (self.unread, self.left, self.entries) = (at, self.left - found, entries);
        found
    }
}

/// The records that a step encodes.
struct Run {
    largest: usize,
    newest: i64,
    found: usize,
}

impl Run {
    /// Encodes records behind what the last region has. `lead` bytes before each are for its size.
    #[inline(always)]
    fn encode(
        &mut self,
        records: &[wasm_record],
        room: &mut [Entry],
        index: usize,
        lead: usize,
        regions: &mut Regions,
    ) -> Result<Stopped> {
        let left = regions.left();
        let (bytes, begun) = regions.last_bytes();
        let end = bytes.len().min(begun.saturating_add(left));
        let bytes = &mut bytes[..end];
        let native = (bytes.as_ptr().addr() as u64).wrapping_sub(NATIVE);
        let (mut at, mut stopped) = (begun, Stopped::Full);
        let (mut largest, mut newest, mut found) = (self.largest, self.newest, 0);
        for (record, entry) in records.iter().zip(room) {
            let lent = LentRecord(record);
            let start = at + lead;
            let after = match put_plain(lent, bytes, start) {
                Some(after) => after,
                None => match put(lent, index + found, bytes, start)? {
                    Some(after) => after,
                    None => {
                        if at == 0 {
                            stopped = Stopped::Large;
                        }
                        break;
                    }
                },
            };
            let size = after - start;
            if lead > 0 {
                bytes[at..start].copy_from_slice(&(size as u32).to_le_bytes());
            }
            *entry = entry_of(record, native.wrapping_add(start as u64), size);
            largest = largest.max(size);
            newest = newest.max(record.timestamp);
            found += 1;
            at = after;
        }
        (self.largest, self.newest, self.found) = (largest, newest, found);
        regions.fill_last(at);
        Ok(stopped)
    }
}

/// What the guest is told of a batch that there is none of.
fn header_of(records: &[wasm_record], count: i32) -> wasm_batch_header {
    let first = records.first().map_or((0, 0), |record| (record.offset, record.timestamp));
    let last = records.last().map_or(0, |record| record.offset);
    wasm_batch_header {
        base_offset: first.0,
        partition_leader_epoch: -1,
        last_offset_delta: last.saturating_sub(first.0).clamp(0, i64::from(i32::MAX)) as i32,
        base_timestamp: first.1,
        max_timestamp: first.1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
        ..wasm_batch_header::default()
    }
}

#[inline(always)]
fn entry_of(record: &wasm_record, start: u64, size: usize) -> Entry {
    Entry {
        offset: record.offset,
        timestamp: record.timestamp,
        start,
        size: size as u32,
        attributes: u32::from(record.attributes),
    }
}

#[cfg(test)]
mod tests;
