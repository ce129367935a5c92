//! One record in a batch: `length | attributes | timestamp delta | offset delta | payload`. The length, which does not
//! count itself, and the deltas are varints.

use crate::cursor::Cursor;
use crate::entries::{Entry, NATIVE};
use crate::error::{Error, Kind};
use crate::header::wasm_batch_header;
use crate::payload::{self, HeaderCheck, Validity};
use crate::varint::{self, unzigzag};

/// Bytes of a record without key, value and headers: length, attributes, two deltas, two lengths and a count.
pub const SMALLEST: usize = 7;

/// What makes a record's timestamp of its delta.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    base: i64,
    /// `Some` overrides the records' own times.
    append_time: Option<i64>,
}

impl Times {
    /// Those of a batch.
    pub fn of(header: &wasm_batch_header) -> Self {
        Self { base: header.base_timestamp, append_time: header.is_append_time().then_some(header.max_timestamp) }
    }
}

/// A record whose fields are read and whose payload is not.
pub struct RawRecord<'a> {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i64,
    /// Key, value and headers.
    pub payload: &'a [u8],
}

/// Why there is no record.
pub enum NoRecord {
    /// There is none or it is malformed: what the message says.
    Malformed(&'static str),
    /// So far it is valid. The check of its headers takes steps.
    Unknown(HeaderCheck),
}

impl NoRecord {
    /// The error at the record with this index.
    #[cold]
    pub fn error(what: &str, header: &wasm_batch_header, index: i32) -> Error {
        Error::new(Kind::Malformed, format!("record {index} of the batch at offset {}: {what}", header.base_offset))
    }
}

/// The record does not end where the bytes end.
pub const TOO_SHORT: &str = "the record is too short or its length or varints are invalid";
/// The payload is none.
pub const BAD_PAYLOAD: &str = "key, value and headers do not fill the record exactly";

impl<'a> RawRecord<'a> {
    /// The next record if it is valid. `largest_delta` is the header's `largest_offset_delta`.
    #[inline(always)]
    pub fn check(rest: &mut Cursor<'a>, header: &wasm_batch_header, largest_delta: i64) -> Result<Self, NoRecord> {
        let raw = Self::take(rest).ok_or(NoRecord::Malformed(TOO_SHORT))?;
        let delta_fits = (0..=largest_delta).contains(&raw.offset_delta);
        if !delta_fits || header.base_offset.checked_add(raw.offset_delta).is_none() {
            return Err(NoRecord::Malformed("the record's offset is outside of the batch"));
        }
        if header.base_timestamp.checked_add(raw.timestamp_delta).is_none() {
            return Err(NoRecord::Malformed("the record's timestamp overflows"));
        }
        match payload::validity(raw.payload) {
            Validity::Valid => Ok(raw),
            Validity::Invalid => Err(NoRecord::Malformed(BAD_PAYLOAD)),
            Validity::Unknown(check) => Err(NoRecord::Unknown(check)),
        }
    }

    /// The next record.
    #[inline(always)]
    pub fn take(rest: &mut Cursor<'a>) -> Option<Self> {
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

    /// Where the record is and what it says.
    #[inline(always)]
    pub fn entry(&self, base_offset: i64, times: Times) -> Entry {
        Entry {
            offset: base_offset.wrapping_add(self.offset_delta),
            timestamp: times.append_time.unwrap_or(times.base.wrapping_add(self.timestamp_delta)),
            start: (self.payload.as_ptr().expose_provenance() as u64).wrapping_sub(NATIVE),
            // A batch has less than 4 GiB.
            size: self.payload.len() as u32,
            attributes: u32::from(self.attributes),
        }
    }
}

/// Whether the bytes from `at` on can be the front of a record. Then the bytes that the whole record takes, or 0 if
/// even its length is not complete.
pub fn front(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = Cursor::at(bytes, at);
    let there = rest.left();
    match rest.length() {
        Some(length) => length.checked_add(there - rest.left()).filter(|&size| size > there),
        None => {
            let unfinished = there < varint::MAX_LEN && rest.rest().iter().all(|&byte| byte >= 0x80);
            unfinished.then_some(0)
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
