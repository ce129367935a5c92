//! Records from the host and to it, on Rust's standard library alone.
//!
//! The names are those of the crate `redpanda-transform-sdk`. With that crate in `Cargo.toml` this file can go: `use
//! redpanda_transform_sdk::…` instead of `use transform::…`.
#![allow(dead_code)] // A transform uses a part.

use std::fmt::{self, Debug};
use std::time::{Duration, SystemTime};

#[link(wasm_import_module = "redpanda_transform")]
extern "C" {
    fn check_abi_version_2();
    fn read_batch_header(
        base_offset: *mut i64,
        record_count: *mut i32,
        partition_leader_epoch: *mut i32,
        attributes: *mut i16,
        last_offset_delta: *mut i32,
        base_timestamp: *mut i64,
        max_timestamp: *mut i64,
        producer_id: *mut i64,
        producer_epoch: *mut i16,
        base_sequence: *mut i32,
    ) -> i32;
    fn read_next_record(attributes: *mut u8, timestamp: *mut i64, offset: *mut i64, buffer: *mut u8, size: i32) -> i32;
    fn write_record_with_options(payload: *const u8, size: i32, options: *const u8, options_size: i32) -> i32;
}

/// A key and a value that are attached to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BorrowedHeader<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> BorrowedHeader<'a> {
    pub fn new(key: &'a [u8], value: Option<&'a [u8]>) -> Self {
        Self { key, value }
    }
    pub fn key(&self) -> &[u8] {
        self.key
    }
    pub fn value(&self) -> Option<&[u8]> {
        self.value
    }
}

/// A record to be written. `None` is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BorrowedRecord<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<BorrowedHeader<'a>>,
}

impl<'a> BorrowedRecord<'a> {
    pub fn new(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self::new_with_headers(key, value, Vec::new())
    }
    pub fn new_with_headers(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: Vec<BorrowedHeader<'a>>) -> Self {
        Self { key, value, headers }
    }
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }
    pub fn headers(&self) -> &[BorrowedHeader<'a>] {
        &self.headers
    }
}

/// A record of the input topic.
#[derive(Debug)]
pub struct WrittenRecord<'a> {
    record: BorrowedRecord<'a>,
    timestamp: SystemTime,
}

impl<'a> WrittenRecord<'a> {
    pub fn key(&self) -> Option<&'a [u8]> {
        self.record.key
    }
    pub fn value(&self) -> Option<&'a [u8]> {
        self.record.value
    }
    pub fn headers(&self) -> &[BorrowedHeader<'a>] {
        &self.record.headers
    }
    pub fn timestamp(&self) -> SystemTime {
        self.timestamp
    }
}

impl<'a> From<WrittenRecord<'a>> for BorrowedRecord<'a> {
    fn from(written: WrittenRecord<'a>) -> Self {
        written.record
    }
}

/// What the transform is called with.
#[derive(Debug)]
pub struct WriteEvent<'a> {
    pub record: WrittenRecord<'a>,
}

/// Where a record goes. Without a topic: to the first output topic.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions<'a> {
    pub topic: Option<&'a str>,
}

impl<'a> WriteOptions<'a> {
    pub fn to_topic(topic: &'a str) -> Self {
        Self { topic: Some(topic) }
    }
}

/// The host did not take a record: the number says why.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteError {
    Unknown(i32),
}

impl fmt::Display for WriteError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WriteError::Unknown(number) = self;
        write!(to, "writing a record failed with {number}")
    }
}

impl std::error::Error for WriteError {}

/// Writes records to the output topics.
#[derive(Default)]
pub struct RecordWriter {
    payload: Vec<u8>,
    options: Vec<u8>,
}

impl RecordWriter {
    pub fn write<'b>(&mut self, record: impl Into<BorrowedRecord<'b>>) -> Result<(), WriteError> {
        self.write_with_options(record, WriteOptions::default())
    }

    pub fn write_with_options<'b>(
        &mut self,
        record: impl Into<BorrowedRecord<'b>>,
        options: WriteOptions<'b>,
    ) -> Result<(), WriteError> {
        encode(&record.into(), &mut self.payload);
        self.options.clear();
        if let Some(topic) = options.topic {
            self.options.push(1);
            put_sized(&mut self.options, Some(topic.as_bytes()));
        }
        // SAFETY: the host reads both buffers, which live until it returns.
        let size = unsafe {
            write_record_with_options(
                self.payload.as_ptr(),
                self.payload.len() as i32,
                self.options.as_ptr(),
                self.options.len() as i32,
            )
        };
        if size < 0 {
            return Err(WriteError::Unknown(size));
        }
        Ok(())
    }
}

/// Calls the callback for each record, for ever. An error of the callback ends the transform.
pub fn on_record_written<E, F>(callback: F) -> !
where
    E: Debug,
    F: Fn(WriteEvent, &mut RecordWriter) -> Result<(), E>,
{
    let mut buffer = Vec::new();
    let mut writer = RecordWriter::default();
    // SAFETY: the function takes nothing and gives nothing.
    unsafe { check_abi_version_2() };
    loop {
        for _ in 0..next_batch(&mut buffer) {
            let event = WriteEvent { record: next_record(&mut buffer) };
            callback(event, &mut writer).expect("the transform failed");
        }
    }
}

/// Waits for a batch and makes room for the largest of its records. Returns how many there are.
fn next_batch(buffer: &mut Vec<u8>) -> i32 {
    let (mut base_offset, mut base_timestamp, mut max_timestamp, mut producer_id) = (0, 0, 0, 0);
    let (mut record_count, mut leader_epoch, mut last_offset_delta, mut base_sequence) = (0, 0, 0, 0);
    let (mut attributes, mut producer_epoch) = (0, 0);
    // SAFETY: the host writes to variables of the types that it expects.
    let largest = unsafe {
        read_batch_header(
            &mut base_offset,
            &mut record_count,
            &mut leader_epoch,
            &mut attributes,
            &mut last_offset_delta,
            &mut base_timestamp,
            &mut max_timestamp,
            &mut producer_id,
            &mut producer_epoch,
            &mut base_sequence,
        )
    };
    assert!(largest >= 0, "read_batch_header failed with {largest}");
    buffer.resize(largest as usize, 0);
    record_count
}

fn next_record(buffer: &mut [u8]) -> WrittenRecord<'_> {
    let (mut attributes, mut timestamp, mut offset) = (0, 0, 0);
    // SAFETY: the host writes to the variables and at most the buffer's size into the buffer.
    let size = unsafe {
        read_next_record(&mut attributes, &mut timestamp, &mut offset, buffer.as_mut_ptr(), buffer.len() as i32)
    };
    assert!(size >= 0, "read_next_record failed with {size}");
    let record = decode(&buffer[..size as usize]).expect("a malformed record");
    let timestamp = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp).unwrap_or(0));
    WrittenRecord { record, timestamp }
}

// A payload is: key, value, the number of headers, and a key and a value for each. Each key and value is a length,
// where -1 is null, and that many bytes. Numbers are zigzag varints.

fn decode(mut from: &[u8]) -> Option<BorrowedRecord<'_>> {
    let (key, value) = (get_sized(&mut from)?, get_sized(&mut from)?);
    let mut headers = Vec::new();
    for _ in 0..get_varint(&mut from)? {
        headers.push(BorrowedHeader::new(get_sized(&mut from)?.unwrap_or_default(), get_sized(&mut from)?));
    }
    Some(BorrowedRecord::new_with_headers(key, value, headers))
}

fn get_varint(from: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    None
}

fn get_sized<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(size) = usize::try_from(get_varint(from)?) else {
        return Some(None);
    };
    if size > from.len() {
        return None;
    }
    let (bytes, rest) = from.split_at(size);
    *from = rest;
    Some(Some(bytes))
}

fn encode(record: &BorrowedRecord<'_>, to: &mut Vec<u8>) {
    to.clear();
    put_sized(to, record.key);
    put_sized(to, record.value);
    put_varint(to, record.headers.len() as i64);
    for header in &record.headers {
        put_sized(to, Some(header.key));
        put_sized(to, header.value);
    }
}

fn put_varint(to: &mut Vec<u8>, number: i64) {
    let mut zigzag = (number << 1 ^ number >> 63) as u64;
    while zigzag >= 0x80 {
        to.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

fn put_sized(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(to, bytes.map_or(-1, |bytes| bytes.len() as i64));
    to.extend_from_slice(bytes.unwrap_or_default());
}
