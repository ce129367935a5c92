//! What a host gives an engine: a batch, or records for which it has none.
#![allow(unsafe_code)]

use crate::error::{Error, Kind};
use crate::payload::Field;

/// A key or a value: bytes or null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_field {
    /// The first byte. May be NULL when `size` is not positive.
    pub data: *const u8,
    /// Number of bytes. −1 for null.
    pub size: i64,
}

/// A header of a record.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_header {
    /// The header's key. Must not be null.
    pub key: wasm_field,
    /// The header's value.
    pub value: wasm_field,
}

/// A record's key, value and headers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_payload {
    /// The record's key.
    pub key: wasm_field,
    /// The record's value.
    pub value: wasm_field,
    /// The headers.
    pub headers: *const wasm_header,
    /// Number of headers.
    pub header_count: usize,
}

/// A record of a host that has no batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_record {
    /// Key, value and headers.
    pub payload: wasm_payload,
    /// What the guest sees as the record's offset and what output and errors name it by. Any number in any order.
    pub offset: i64,
    /// Milliseconds since 1970. Any number in any order.
    pub timestamp: i64,
    /// The record's attributes. Kafka uses none.
    pub attributes: u8,
}

impl wasm_field {
    /// As C sees it.
    pub fn of(field: Field<'_>) -> Self {
        match field {
            None => Self { data: core::ptr::null(), size: -1 },
            Some(bytes) => Self { data: bytes.as_ptr(), size: bytes.len() as i64 },
        }
    }

    /// How many bytes there are. 0 for null.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        self.size.max(0) as usize
    }

    /// Whether there can be such bytes.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.size <= 0 && self.size >= -1 || self.size > 0 && !self.data.is_null()
    }
}

/// Records whose fields can be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LentRecords<'a>(&'a [wasm_record]);

impl<'a> LentRecords<'a> {
    /// Offset of the last record.
    pub fn last_offset(&self) -> Option<i64> {
        self.0.last().map(|record| record.offset)
    }

    /// # Safety
    ///
    /// The bytes of all fields and the headers can be read and do not change for `'a`. What `check` refuses is exempt.
    #[must_use]
    pub const unsafe fn new(records: &'a [wasm_record]) -> Self {
        Self(records)
    }

    /// How many there are.
    #[must_use]
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The records from this one on.
    #[inline(always)]
    pub(crate) fn from(&self, first: usize) -> &'a [wasm_record] {
        self.0.get(first..).unwrap_or_default()
    }

    /// One of them.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<LentRecord<'a>> {
        self.0.get(index).map(LentRecord)
    }
}

/// One of the records that are lent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LentRecord<'a>(pub &'a wasm_record);

impl<'a> LentRecord<'a> {
    /// The bytes of a field that is valid.
    #[inline(always)]
    pub(crate) fn bytes(self, field: &wasm_field) -> &'a [u8] {
        if field.size <= 0 {
            return &[];
        }
        // SAFETY: only fields of this record come here, after `is_valid`. Whoever made `LentRecords` says that they can
        // be read.
        unsafe { core::slice::from_raw_parts(field.data, field.length()) }
    }

    /// The headers if there can be so many.
    #[inline]
    pub(crate) fn headers(self) -> Option<&'a [wasm_header]> {
        let wasm_payload { headers, header_count, .. } = self.0.payload;
        if header_count == 0 {
            return Some(&[]);
        }
        let most = isize::MAX as usize / size_of::<wasm_header>();
        if headers.is_null() || !headers.is_aligned() || header_count > most {
            return None;
        }
        // SAFETY: neither NULL nor misaligned nor too many. Whoever made `LentRecords` says that they can be read.
        Some(unsafe { core::slice::from_raw_parts(headers, header_count) })
    }
}

/// A batch or records.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A batch as it is on the wire.
    Batch(&'a [u8]),
    /// Records without a batch.
    Records(LentRecords<'a>),
}

impl Default for Input<'_> {
    fn default() -> Self {
        Self::Batch(&[])
    }
}

impl<'a> From<&'a [u8]> for Input<'a> {
    #[inline(always)]
    fn from(batch: &'a [u8]) -> Self {
        Self::Batch(batch)
    }
}

impl<'a> From<LentRecords<'a>> for Input<'a> {
    fn from(records: LentRecords<'a>) -> Self {
        Self::Records(records)
    }
}

impl<'a> Input<'a> {
    /// The batch. Empty if there is none.
    #[must_use]
    #[inline(always)]
    pub fn batch(&self) -> &'a [u8] {
        match self {
            Self::Batch(bytes) => bytes,
            Self::Records(_) => &[],
        }
    }

    /// Bytes of the batch. Of records: what their array takes, as a measure of how many there are.
    #[must_use]
    #[inline(always)]
    pub fn size(&self) -> usize {
        match self {
            Self::Batch(bytes) => bytes.len(),
            Self::Records(records) => size_of_val(records.0),
        }
    }
}

/// What is wrong with a field of a record that is lent.
#[cold]
pub(crate) fn invalid_field(index: usize, name: &str, field: &wasm_field) -> Error {
    let what = match field.size {
        ..-1 => format!("{name} has size {}; −1 is null and other negative sizes mean nothing", field.size),
        -1 => format!("{name} must not be null"),
        size => format!("{name} is NULL but its size is {size}"),
    };
    invalid(index, &what)
}

/// A record that is lent is refused.
#[cold]
pub(crate) fn invalid(index: usize, what: &str) -> Error {
    Error::new(Kind::Record, format!("record {index} is invalid: {what}"))
}

/// A record cannot be encoded within the limit.
#[cold]
pub(crate) fn too_large(index: usize, size: usize, limit: usize) -> Error {
    Error::new(
        Kind::TooLarge,
        format!("record {index} takes {size} bytes; all together would take more than max_batch_size ({limit})"),
    )
}
