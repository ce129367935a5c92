//! A batch as the engine reads it: validated as a whole, then read record by record without copying.

use super::compression::{self, wasm_compression};
use super::cursor::Cursor;
use super::header::{CRC_START, SIZE, wasm_batch_header};
use super::payload;
use super::varint::{self, unzigzag};
use crate::error::{Error, Kind, Result};

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

/// Where a record is and what its own fields say.
#[derive(Clone, Copy, Debug, Default)]
struct RecordPosition {
    /// Milliseconds since 1970.
    timestamp: i64,
    /// From the batch's base offset.
    offset_delta: u32,
    /// Where the payload begins.
    start: u32,
    /// Its bytes.
    size: u32,
    attributes: u8,
}

/// How many records are looked for ahead: they take 24 KiB.
const MOST_AHEAD: usize = 1024;

#[cold]
fn malformed(header: &wasm_batch_header, index: i32, what: &str) -> Error {
    Error::new(Kind::Malformed, format!("record {index} of the batch at offset {}: {what}", header.base_offset))
}

/// Bytes of a record without key, value and headers: length, attributes, two deltas, two lengths and a count.
const SMALLEST_RECORD: usize = 7;

/// What makes a record's timestamp of its delta.
#[derive(Clone, Copy, Debug)]
struct Times {
    base: i64,
    /// `Some` overrides the records' own times.
    append_time: Option<i64>,
}

impl Times {
    fn of(header: &wasm_batch_header) -> Self {
        Self { base: header.base_timestamp, append_time: header.is_append_time().then_some(header.max_timestamp) }
    }
}

struct RawRecord<'a> {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i64,
    payload: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// The next record if it is valid.
    #[inline(always)]
    fn check(rest: &mut Cursor<'a>, header: &wasm_batch_header, index: i32) -> Result<Self> {
        let raw = Self::take(rest)
            .ok_or_else(|| malformed(header, index, "the record is too short or its length or varints are invalid"))?;
        let delta_fits = (0..=i64::from(header.last_offset_delta)).contains(&raw.offset_delta);
        if !delta_fits || header.base_offset.checked_add(raw.offset_delta).is_none() {
            return Err(malformed(header, index, "the record's offset is outside of the batch"));
        }
        if header.base_timestamp.checked_add(raw.timestamp_delta).is_none() {
            return Err(malformed(header, index, "the record's timestamp overflows"));
        }
        if !payload::is_valid(raw.payload) {
            return Err(malformed(header, index, "key, value and headers do not fill the record exactly"));
        }
        Ok(raw)
    }

    #[inline(always)]
    fn take(rest: &mut Cursor<'a>) -> Option<Self> {
        let length = rest.length()?;
        let body = rest.bytes(length)?;
        // The smallest record has more than five bytes. Both deltas are within them if they have one or two bytes
        // each.
        let &[attributes, a, b, c, d] = body.first_chunk()?;
        let two = |low: u8, high: u8| u64::from(low & 0x7F) | u64::from(high) << 7;
        let (timestamp, offset, start) = match (a < 0x80, b < 0x80, c < 0x80, d < 0x80) {
            (true, true, ..) => (u64::from(a), u64::from(b), 3),
            (true, false, true, _) => (u64::from(a), two(b, c), 4),
            (false, true, true, _) => (two(a, b), u64::from(c), 4),
            (false, true, false, true) => (two(a, b), two(c, d), 5),
            _ => long_deltas(body)?,
        };
        Some(Self {
            attributes,
            timestamp_delta: unzigzag(timestamp),
            offset_delta: unzigzag(offset),
            payload: body.get(start..)?,
        })
    }

    /// What is to be remembered of a record that ends at `end`.
    #[inline(always)]
    fn found(&self, end: usize, times: Times) -> RecordPosition {
        // A batch has less than 4 GiB. No delta of a valid batch is larger.
        RecordPosition {
            timestamp: times.append_time.unwrap_or(times.base.wrapping_add(self.timestamp_delta)),
            offset_delta: self.offset_delta as u32,
            start: (end - self.payload.len()) as u32,
            size: self.payload.len() as u32,
            attributes: self.attributes,
        }
    }
}

/// Both deltas of a record before zigzag decoding and the start of the payload. The deltas may have any length.
#[cold]
fn long_deltas(body: &[u8]) -> Option<(u64, u64, usize)> {
    let (timestamp, at) = varint::raw(body, 1)?;
    let (offset, at) = varint::raw(body, at)?;
    Some((timestamp, offset, at))
}

/// A batch being read. It is validated as a whole first. Its records are read one by one afterwards. This struct and
/// its memory are reused from batch to batch and filled in place: building and moving it would cost a small batch a
/// tenth of its time.
///
/// Memory safety does not depend on the bytes. If the host changes a borrowed batch, the worst result is a wrong
/// record.
#[derive(Debug, Default)]
pub struct Records<'a> {
    /// The header.
    pub header: wasm_batch_header,
    /// Bytes of the largest payload.
    pub largest_payload: usize,
    /// The decompressed part of the batch after its header.
    bytes: &'a [u8],
    /// The next records as found by the validation or by `look_ahead`.
    ahead: Vec<RecordPosition>,
    /// The first of those that is not read.
    next: usize,
    /// Where the others begin.
    unread: usize,
    /// How many they are.
    left: usize,
}

impl<'a> Records<'a> {
    /// Validates the whole batch. No record of an invalid batch reaches a guest. `scratch` receives the records of a
    /// compressed batch only. The result says whether it did. Call `begin` afterwards to read the records.
    pub fn check(&mut self, bytes: &[u8], limit: usize, check_crc: bool, scratch: &mut Vec<u8>) -> Result<bool> {
        self.end();
        // What was found before a failure is dropped.
        self.check_all(bytes, limit, check_crc, scratch).inspect_err(|_| self.end())
    }

    fn check_all(&mut self, bytes: &[u8], limit: usize, check_crc: bool, scratch: &mut Vec<u8>) -> Result<bool> {
        if bytes.len() > limit {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the batch has {} bytes, more than max_batch_size ({limit})", bytes.len()),
            ));
        }
        let header = &mut self.header;
        header.read(bytes)?;
        if header.total_size != bytes.len() as u64 {
            return Err(Error::new(
                Kind::Malformed,
                format!(
                    "the batch has {} bytes, but {} were given. Give one batch at a time",
                    header.total_size,
                    bytes.len()
                ),
            ));
        }
        if check_crc {
            let crc = crc_fast::crc32_iscsi(&bytes[CRC_START..]);
            if crc != header.crc {
                return Err(Error::new(
                    Kind::Crc,
                    format!("the batch's CRC-32C is {:08x}, but its content has {crc:08x}", header.crc),
                ));
            }
        }
        header.check_counts()?;
        if header.is_control() {
            return Err(Error::new(
                Kind::Control,
                "this is a control batch: it holds transaction markers and no records. Leave the batch out",
            ));
        }
        let codec = wasm_compression::from_code(header.compression()).ok_or_else(|| {
            Error::new(Kind::Compression, format!("compression code {} is unknown", header.compression()))
        })?;
        let decompressed = codec != wasm_compression::None;
        if decompressed {
            compression::decompress(codec, &bytes[SIZE..], limit, scratch)?;
            self.check_records(scratch)?;
        } else {
            self.check_records(&bytes[SIZE..])?;
        }
        Ok(decompressed)
    }

    fn check_records(&mut self, records: &[u8]) -> Result<()> {
        let header = &self.header;
        let mut largest = 0;
        let mut rest = Cursor::new(records);
        let times = Times::of(header);
        let count = usize::try_from(header.record_count).unwrap_or(0);
        // Bounded by the bytes: the count is only the header's claim.
        let most = count.min(MOST_AHEAD).min(records.len() / SMALLEST_RECORD + 1);
        self.ahead.resize(most, RecordPosition::default());
        let mut index = 0;
        for found in &mut self.ahead {
            let raw = RawRecord::check(&mut rest, header, index)?;
            *found = raw.found(records.len() - rest.left(), times);
            largest = largest.max(raw.payload.len());
            index += 1;
        }
        self.unread = records.len() - rest.left();
        for index in index..header.record_count {
            largest = largest.max(RawRecord::check(&mut rest, header, index)?.payload.len());
        }
        if rest.left() > 0 {
            return Err(malformed(header, header.record_count, "bytes follow the last record"));
        }
        self.largest_payload = largest;
        self.left = count - most;
        Ok(())
    }

    /// Moves to the front of `records`: the decompressed records of the batch that `check` just validated.
    #[inline]
    pub fn begin(&mut self, records: &'a [u8]) {
        self.bytes = records;
    }

    /// There is nothing to be read any more.
    #[inline]
    pub fn end(&mut self) {
        self.bytes = &[];
        self.ahead.clear();
        self.next = 0;
        self.left = 0;
    }

    /// Leaves out the first `count` records.
    pub fn skip(&mut self, count: u32) {
        for _ in 0..count {
            if self.peek().is_none() {
                return;
            }
            self.advance();
        }
    }

    /// The next record. `advance` moves past this record.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<Record<'a>> {
        if self.next >= self.ahead.len() {
            self.look_ahead();
        }
        self.record(self.ahead.get(self.next)?)
    }

    #[inline(always)]
    fn record(&self, found: &RecordPosition) -> Option<Record<'a>> {
        let start = found.start as usize;
        Some(Record {
            attributes: found.attributes,
            timestamp: found.timestamp,
            offset: self.header.base_offset.wrapping_add(i64::from(found.offset_delta)),
            payload: self.bytes.get(start..start + found.size as usize)?,
        })
    }

    /// Goes past the record that `peek` gave.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// The record that `advance` went past last, unless `peek` was called since.
    pub fn latest(&self) -> Option<Record<'a>> {
        self.record(self.ahead.get(self.next.checked_sub(1)?)?)
    }

    /// Parses some more.
    #[cold]
    #[inline(never)]
    fn look_ahead(&mut self) {
        self.next = 0;
        self.ahead.clear();
        let times = Times::of(&self.header);
        let mut rest = Cursor::new(self.bytes.get(self.unread..).unwrap_or_default());
        for _ in 0..self.left.min(MOST_AHEAD) {
            let Some(raw) = RawRecord::take(&mut rest) else { break };
            self.ahead.push(raw.found(self.bytes.len() - rest.left(), times));
        }
        self.left -= self.ahead.len();
        self.unread = self.bytes.len() - rest.left();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::payload::Payload;

    const LIMIT: usize = 1 << 20;

    fn batch(count: usize, codec: wasm_compression, append_time: Option<i64>) -> Vec<u8> {
        let mut builder = Builder::new(codec, 1_000_000, append_time);
        for i in 0..count {
            let (value, mut payload) = (i.to_string(), Vec::new());
            Payload { value: Some(value.as_bytes()), ..Payload::default() }.put(&mut payload);
            // Offsets with gaps and times that rise and fall.
            builder.add(Some(1_000_000 + 3 * i as i64), 50_000 + (i as i64 * 7919) % 1_000, &payload).unwrap();
        }
        builder.finish().unwrap().to_vec()
    }

    /// Index, offset and time of the remaining records.
    fn read(records: &mut Records<'_>) -> Vec<(usize, i64, i64)> {
        let mut all = Vec::new();
        while let Some(record) = records.peek() {
            let payload = Payload::parse(record.payload).unwrap();
            let value = core::str::from_utf8(payload.value.unwrap()).unwrap();
            all.push((value.parse().unwrap(), record.offset, record.timestamp));
            records.advance();
            assert_eq!(records.latest(), Some(record));
        }
        assert_eq!(records.peek(), None, "the end is final");
        all
    }

    #[test]
    fn all_records_are_read_whatever_the_batch_size() {
        for codec in [wasm_compression::None, wasm_compression::Zstd] {
            for append_time in [None, Some(77)] {
                for count in [1, MOST_AHEAD - 1, MOST_AHEAD, MOST_AHEAD + 1, 2 * MOST_AHEAD, 3 * MOST_AHEAD + 5] {
                    let bytes = batch(count, codec, append_time);
                    let time = |i: usize| append_time.unwrap_or(50_000 + (i as i64 * 7919) % 1_000);
                    let expected: Vec<_> = (0..count).map(|i| (i, 1_000_000 + 3 * i as i64, time(i))).collect();
                    for skipped in [0, 1, count / 2, count - 1, count] {
                        let (mut records, mut scratch) = (Records::default(), Vec::new());
                        let decompressed = records.check(&bytes, LIMIT, true, &mut scratch).unwrap();
                        records.begin(if decompressed { &scratch } else { &bytes[SIZE..] });
                        records.skip(skipped as u32);
                        assert_eq!(read(&mut records), expected[skipped..]);
                        assert!(records.ahead.capacity() <= MOST_AHEAD.max(4), "{}", records.ahead.capacity());
                    }
                }
            }
        }
    }

    #[test]
    fn a_batch_leaves_no_records_to_the_next() {
        let large = batch(MOST_AHEAD + 10, wasm_compression::None, None);
        let small = batch(2, wasm_compression::None, Some(5));
        let mut broken = batch(MOST_AHEAD + 20, wasm_compression::None, None);
        *broken.last_mut().unwrap() = 9;
        let mut broken_first_record = small.clone();
        broken_first_record[SIZE] = 1;
        let mut records = Records::default();
        for (bytes, expected) in [
            (&large, MOST_AHEAD + 10),
            (&broken, 0),
            (&small, 2),
            (&broken_first_record, 0),
            (&broken, 0),
            (&large, MOST_AHEAD + 10),
        ] {
            match records.check(bytes, LIMIT, false, &mut Vec::new()) {
                Ok(_) => {
                    records.begin(&bytes[SIZE..]);
                    assert_eq!(read(&mut records).len(), expected);
                }
                Err(_) => assert_eq!(expected, 0),
            }
            for _ in 0..2 {
                assert_eq!(records.peek(), None, "no records are left after a batch was read or refused");
                records.end();
            }
        }
    }

    #[test]
    fn a_batch_changed_while_it_is_read_gives_wrong_records_only() {
        let bytes = batch(3 * MOST_AHEAD, wasm_compression::None, None);
        let mut other = bytes.clone();
        other[SIZE..].fill(0xFF);
        let mut records = Records::default();
        records.check(&bytes, LIMIT, true, &mut Vec::new()).unwrap();
        // As if the host had written to the batch after the check.
        records.begin(&other[SIZE..]);
        let mut count = 0;
        while let Some(record) = records.peek() {
            assert!(record.payload.iter().all(|&byte| byte == 0xFF));
            records.advance();
            count += 1;
        }
        assert_eq!(count, MOST_AHEAD, "only the records that were found ahead");
    }
}
