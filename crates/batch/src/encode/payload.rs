//! The payload of a record that is lent: its fields one by one, and their encoding.

use super::FEW_HEADERS;
use crate::error::{Error, Kind, Result};
use crate::input::{self, LentRecord, wasm_field, wasm_header, wasm_payload};
use crate::varint;

/// A field of a payload or the number of its headers.
pub enum Part<'a> {
    /// A key or a value.
    Field(&'a wasm_field),
    /// The number of headers.
    Count(usize),
}

/// Encodes a record of the common shape: a key of up to 63 bytes, a value of up to 8,191 and no headers. Returns where
/// the payload ends. None if the record has another shape or there is not enough room: `put` says which.
#[inline(always)]
#[allow(unsafe_code)]
pub fn put_plain(record: LentRecord<'_>, to: &mut [u8], at: usize) -> Option<usize> {
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
pub fn put(record: LentRecord<'_>, index: usize, to: &mut [u8], at: usize) -> Result<Option<usize>> {
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

/// The headers of a record if there can be so many.
pub fn headers<'a>(record: LentRecord<'a>, index: usize) -> Result<&'a [wasm_header]> {
    record.headers().ok_or_else(|| {
        let wasm_payload { headers, header_count, .. } = record.0.payload;
        input::invalid(index, &format!("{header_count} headers at {headers:p} cannot be in memory"))
    })
}

/// The part with this number, if it is valid.
pub fn part<'a>(record: LentRecord<'a>, headers: &'a [wasm_header], index: usize, number: usize) -> Result<Part<'a>> {
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
    pub fn number(&self) -> i64 {
        match self {
            Self::Field(field) => field.size,
            Self::Count(count) => *count as i64,
        }
    }

    /// The bytes behind that number.
    pub fn bytes(&self, record: LentRecord<'a>) -> &'a [u8] {
        match self {
            Self::Field(field) => record.bytes(field),
            Self::Count(_) => &[],
        }
    }

    /// Bytes of the encoding.
    pub fn size(&self) -> usize {
        let bytes = match self {
            Self::Field(field) => field.length(),
            Self::Count(_) => 0,
        };
        varint::len(self.number()).saturating_add(bytes)
    }
}
