//! Records of a host that has no batch, encoded for the guest in steps. Their payloads are copied once, into chunks of
//! the thread's. Their entries are made in the same pass. So whatever reads records reads these as those of a batch.

use crate::chunk;
use crate::decompress::Regions;
use crate::entries::{Entry, NATIVE};
use crate::error::{Error, Kind, Result};
use crate::header::{SIZE, wasm_batch_header};
use crate::input::{self, LentRecord, LentRecords, wasm_field, wasm_header, wasm_payload, wasm_record};
use crate::reader::Records;
use crate::varint;

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

/// A field of a payload or the number of its headers.
enum Part<'a> {
    Field(&'a wasm_field),
    Count(usize),
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
            let first = (self.regions.last().as_ptr().expose_provenance() as u64).wrapping_sub(NATIVE);
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
        let native = (region.as_ptr().expose_provenance() as u64).wrapping_sub(NATIVE);
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
        let native = (bytes.as_mut_ptr().expose_provenance() as u64).wrapping_sub(NATIVE);
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

/// Encodes a record of the common shape: a key of up to 63 bytes, a value of up to 8,191 and no headers. Returns where
/// the payload ends. None if the record has another shape or there is not enough room: `put` says which.
#[inline(always)]
#[allow(unsafe_code)]
fn put_plain(record: LentRecord<'_>, to: &mut [u8], at: usize) -> Option<usize> {
    let wasm_payload { key, value, header_count, .. } = &record.0.payload;
    let is_plain = *header_count == 0
        && (key.size as u64).wrapping_add(1) <= 64
        && (value.size as u64).wrapping_add(1) <= 8192
        && key.is_valid()
        && value.is_valid();
    if !is_plain {
        return None;
    }
    let (key_bytes, value_bytes) = (record.bytes(key), record.bytes(value));
    let length = zigzag(value.size) as u16;
    let digits = 1 + usize::from(length >= 0x80);
    let two = if length < 0x80 { length } else { length & 0x7F | 0x80 | length >> 7 << 8 };
    let room = to.get_mut(at..at + 4 + key_bytes.len() + value_bytes.len())?;
    // SAFETY: the room has four bytes more than key and value, and these are what is written: one for the key's length,
    // two for the value's and one behind. Checking each of them would take as long as all the rest.
    unsafe {
        let mut next = room.as_mut_ptr();
        // One byte: null is 1.
        next.write(zigzag(key.size) as u8);
        next = next.add(1);
        copy_short(next, key_bytes);
        next = next.add(key_bytes.len());
        next.cast::<[u8; 2]>().write(two.to_le_bytes());
        next = next.add(digits);
        copy_short(next, value_bytes);
        next.add(value_bytes.len()).write(0);
    }
    Some(at + 2 + digits + key_bytes.len() + value_bytes.len())
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Copies bytes. Most fields are short: two pieces of a fixed size, which may overlap, are faster than a call.
///
/// # Safety
///
/// As many bytes can be written at `to`, and they are not those of `from`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn copy_short(to: *mut u8, from: &[u8]) {
    /// # Safety
    ///
    /// As above, for `size` bytes, of which there are at least `N`.
    #[inline(always)]
    unsafe fn both<const N: usize>(to: *mut u8, from: *const u8, size: usize) {
        // SAFETY: both pieces are within the bytes.
        unsafe {
            let (first, last) = (from.cast::<[u8; N]>().read(), from.add(size - N).cast::<[u8; N]>().read());
            to.cast::<[u8; N]>().write(first);
            to.add(size - N).cast::<[u8; N]>().write(last);
        }
    }
    let (source, size) = (from.as_ptr(), from.len());
    // SAFETY: the caller promises room for the bytes. Each piece is at most as long as they are.
    unsafe {
        match size {
            0 => {}
            1 => to.write(source.read()),
            2..4 => both::<2>(to, source, size),
            4..8 => both::<4>(to, source, size),
            8..=16 => both::<8>(to, source, size),
            17..=32 => both::<16>(to, source, size),
            33..=64 => both::<32>(to, source, size),
            65..=128 => both::<64>(to, source, size),
            _ => core::ptr::copy_nonoverlapping(source, to, size),
        }
    }
}

/// Copies bytes to the front of `to`.
#[inline(always)]
#[allow(unsafe_code)]
fn copy(to: &mut [u8], from: &[u8]) {
    let to = &mut to[..from.len()];
    // SAFETY: there is room for them. It is borrowed, so the bytes are others.
    unsafe { copy_short(to.as_mut_ptr(), from) }
}

/// Encodes a record of any shape that is not large. Returns where the payload ends. None if there is not enough room or
/// the record has many headers.
#[inline(never)]
fn put(record: LentRecord<'_>, index: usize, to: &mut [u8], at: usize) -> Result<Option<usize>> {
    let payload = &record.0.payload;
    let headers = headers(record, index)?;
    let fields = [&payload.key, &payload.value];
    if headers.len() > FEW_HEADERS {
        return Ok(None);
    }
    let mut size = varint::len(headers.len() as i64);
    for (number, field) in fields.into_iter().chain(fields_of(headers)).enumerate() {
        // A header's key is not null. Here the count of headers has no number.
        if !field.is_valid() || number >= 2 && number % 2 == 0 && field.size < 0 {
            return Err(invalid_part(index, number + usize::from(number >= 2), field));
        }
        size = size.saturating_add(Part::Field(field).size());
    }
    let Some(room) = at.checked_add(size).and_then(|end| to.get_mut(at..end)) else { return Ok(None) };
    let mut next = 0;
    for field in fields {
        next += put_field(record, field, &mut room[next..]);
    }
    next += varint::write(&mut room[next..], headers.len() as i64);
    for field in fields_of(headers) {
        next += put_field(record, field, &mut room[next..]);
    }
    Ok(Some(at + next))
}

fn fields_of(headers: &[wasm_header]) -> impl Iterator<Item = &wasm_field> {
    headers.iter().flat_map(|header| [&header.key, &header.value])
}

#[inline(always)]
fn put_field(record: LentRecord<'_>, field: &wasm_field, room: &mut [u8]) -> usize {
    let digits = varint::write(room, field.size);
    let bytes = record.bytes(field);
    copy(&mut room[digits..], bytes);
    digits + bytes.len()
}

fn headers<'a>(record: LentRecord<'a>, index: usize) -> Result<&'a [wasm_header]> {
    record.headers().ok_or_else(|| {
        let wasm_payload { headers, header_count, .. } = record.0.payload;
        input::invalid(index, &format!("{header_count} headers at {headers:p} cannot be in memory"))
    })
}

/// The part with this number, if it is valid.
fn part<'a>(record: LentRecord<'a>, headers: &'a [wasm_header], index: usize, number: usize) -> Result<Part<'a>> {
    let payload = &record.0.payload;
    let field = match number {
        0 => &payload.key,
        1 => &payload.value,
        2 => return Ok(Part::Count(headers.len())),
        _ => match headers.get((number - 3) / 2) {
            Some(header) if number % 2 == 1 => &header.key,
            Some(header) => &header.value,
            None => return Err(Error::new(Kind::Internal, "a header is lost")),
        },
    };
    let is_header_key = number > 2 && number % 2 == 1;
    if !field.is_valid() || is_header_key && field.size < 0 {
        return Err(invalid_part(index, number, field));
    }
    Ok(Part::Field(field))
}

#[cold]
fn invalid_part(index: usize, number: usize, field: &wasm_field) -> Error {
    let name = match number {
        0 => "its key".to_owned(),
        1 => "its value".to_owned(),
        _ if number % 2 == 1 => format!("the key of header {}", (number - 3) / 2),
        _ => format!("the value of header {}", (number - 3) / 2),
    };
    input::invalid_field(index, &name, field)
}

impl<'a> Part<'a> {
    /// The number that the encoding begins with.
    fn number(&self) -> i64 {
        match self {
            Self::Field(field) => field.size,
            Self::Count(count) => *count as i64,
        }
    }

    fn bytes(&self, record: LentRecord<'a>) -> &'a [u8] {
        match self {
            Self::Field(field) => record.bytes(field),
            Self::Count(_) => &[],
        }
    }

    /// Bytes of the encoding.
    fn size(&self) -> usize {
        let bytes = match self {
            Self::Field(field) => field.length(),
            Self::Count(_) => 0,
        };
        varint::len(self.number()).saturating_add(bytes)
    }
}

#[cfg(test)]
mod tests;
