//! A batch as the engine reads it: checked as a whole when it comes in, then record by record without copying.

use super::compression::{self, wasm_compression};
use super::cursor::Cursor;
use super::header::{CRC_START, SIZE, wasm_batch_header};
use super::payload;
use super::varint::{self, unzigzag};
use crate::error::{Error, Result};
use crate::status::wasm_status as Status;

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Attributes; no bit is in use.
    pub attributes: u8,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Kafka offset.
    pub offset: i64,
    /// Key, value and headers.
    pub payload: &'a [u8],
}

/// What the check of a batch found.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// The header.
    pub header: wasm_batch_header,
    /// Bytes of the largest payload.
    pub largest_payload: usize,
    /// Whether the records are in the scratch buffer, decompressed, instead of in the batch.
    pub decompressed: bool,
}

/// Checks everything about a batch: nothing of a batch that fails reaches a guest. `scratch` takes the records of a
/// compressed batch and nothing else.
pub fn check(bytes: &[u8], limit: usize, check_crc: bool, scratch: &mut Vec<u8>) -> Result<Checked> {
    if bytes.len() > limit {
        return Err(Error::new(
            Status::BatchTooLarge,
            format!("the batch has {} bytes, more than max_batch_size, {limit}", bytes.len()),
        ));
    }
    let header = wasm_batch_header::parse(bytes)?;
    if header.total_size != bytes.len() as u64 {
        return Err(Error::new(
            Status::BatchMalformed,
            format!(
                "the batch has {} bytes, but {} were given; give one batch at a time",
                header.total_size,
                bytes.len()
            ),
        ));
    }
    if check_crc {
        let crc = crc_fast::crc32_iscsi(&bytes[CRC_START..]);
        if crc != header.crc {
            return Err(Error::new(
                Status::BatchCrc,
                format!("the batch's CRC-32C is {:08x}, but its content has {crc:08x}", header.crc),
            ));
        }
    }
    header.check_counts()?;
    if header.is_control() {
        return Err(Error::new(
            Status::BatchControl,
            "this is a control batch; it holds transaction markers and no records: leave it out",
        ));
    }
    let codec = wasm_compression::from_code(header.compression()).ok_or_else(|| {
        Error::new(Status::BatchCompression, format!("compression code {} is unknown", header.compression()))
    })?;
    let decompressed = codec != wasm_compression::None;
    let records = if decompressed {
        compression::decompress(codec, &bytes[SIZE..], limit, scratch)?;
        &scratch[..]
    } else {
        &bytes[SIZE..]
    };
    let largest_payload = check_records(&header, records)?;
    Ok(Checked { header, largest_payload, decompressed })
}

fn check_records(header: &wasm_batch_header, records: &[u8]) -> Result<usize> {
    let malformed = |index: i32, what: &str| {
        Error::new(
            Status::BatchMalformed,
            format!("record {index} of the batch at offset {}: {what}", header.base_offset),
        )
    };
    let mut largest = 0;
    let mut rest = Cursor::new(records);
    for index in 0..header.record_count {
        let raw = RawRecord::take(&mut rest)
            .ok_or_else(|| malformed(index, "it is too short, or its length or varints are broken"))?;
        let delta_fits = (0..=i64::from(header.last_offset_delta)).contains(&raw.offset_delta);
        if !delta_fits || header.base_offset.checked_add(raw.offset_delta).is_none() {
            return Err(malformed(index, "its offset is outside of the batch"));
        }
        if header.base_timestamp.checked_add(raw.timestamp_delta).is_none() {
            return Err(malformed(index, "its timestamp overflows"));
        }
        if !payload::is_valid(raw.payload) {
            return Err(malformed(index, "key, value and headers do not fill it exactly"));
        }
        largest = largest.max(raw.payload.len());
    }
    if rest.left() > 0 {
        return Err(malformed(header.record_count, "bytes follow the last record"));
    }
    Ok(largest)
}

struct RawRecord<'a> {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i64,
    payload: &'a [u8],
}

impl<'a> RawRecord<'a> {
    #[inline(always)]
    fn take(rest: &mut Cursor<'a>) -> Option<Self> {
        let length = rest.length()?;
        let body = rest.bytes(length)?;
        // The smallest record has more than five bytes. Within them are both deltas, if they have one or two bytes each.
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
}

/// Both deltas of a record, whatever their length, before they are unzigzagged; and where the payload starts.
#[cold]
fn long_deltas(body: &[u8]) -> Option<(u64, u64, usize)> {
    let (timestamp, at) = varint::raw(body, 1)?;
    let (offset, at) = varint::raw(body, at)?;
    Some((timestamp, offset, at))
}

/// Reads the records of a checked batch one after the other.
///
/// It trusts nothing for the sake of memory: should the host change a batch while it is borrowed, the worst that
/// follows is a wrong record.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: i32,
    base_offset: i64,
    base_timestamp: i64,
    /// `Some` overrides the records' own times.
    append_time: Option<i64>,
}

impl<'a> Records<'a> {
    /// Leaves out the first `count` records.
    pub fn skip(&mut self, count: u32) {
        for _ in 0..count {
            let Some(peeked) = self.peek() else { return };
            self.advance(&peeked);
        }
    }

    /// A reader of `records`, the part of a batch after its header, decompressed.
    pub fn new(header: &wasm_batch_header, records: &'a [u8]) -> Self {
        Self {
            rest: records,
            left: header.record_count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: header.is_append_time().then_some(header.max_timestamp),
        }
    }

    /// The next record; call `advance` with it to go on.
    #[inline(always)]
    pub fn peek(&self) -> Option<Peeked<'a>> {
        if self.left <= 0 {
            return None;
        }
        let mut rest = Cursor::new(self.rest);
        let raw = RawRecord::take(&mut rest)?;
        let record = Record {
            attributes: raw.attributes,
            timestamp: self.append_time.unwrap_or(self.base_timestamp.wrapping_add(raw.timestamp_delta)),
            offset: self.base_offset.wrapping_add(raw.offset_delta),
            payload: raw.payload,
        };
        Some(Peeked { record, rest: rest.rest() })
    }

    /// Goes past a record that `peek` gave.
    #[inline(always)]
    pub fn advance(&mut self, peeked: &Peeked<'a>) {
        self.rest = peeked.rest;
        self.left -= 1;
    }
}

/// A record, and what comes after it.
#[derive(Clone, Copy, Debug)]
pub struct Peeked<'a> {
    /// The record.
    pub record: Record<'a>,
    rest: &'a [u8],
}
