//! Writes batches for tools and tests and for hosts that pack a transform's output.

use super::chunk;
use super::compression::{self, wasm_compression};
use super::header::{SIZE, wasm_batch_header};
use super::{payload, varint};
use crate::error::{Error, Kind, Result};
use crate::fallible;

/// Collects records and packs them into one batch.
pub struct Builder {
    codec: wasm_compression,
    header: wasm_batch_header,
    first_timestamp: Option<i64>,
    next_offset: i64,
    records: Vec<u8>,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl Builder {
    /// An empty builder. The records' times are their own unless `append_time` gives one for all.
    pub fn new(codec: wasm_compression, base_offset: i64, append_time: Option<i64>) -> Self {
        let mut builder = Self {
            codec,
            header: wasm_batch_header::default(),
            first_timestamp: None,
            next_offset: 0,
            records: Vec::new(),
            body: Vec::new(),
            out: Vec::new(),
        };
        builder.reset(codec, base_offset, append_time);
        builder
    }

    /// Drops the records and keeps the buffers.
    pub fn reset(&mut self, codec: wasm_compression, base_offset: i64, append_time: Option<i64>) {
        self.codec = codec;
        self.header = wasm_batch_header {
            base_offset,
            attributes: self.codec as i16 | if append_time.is_some() { 0x08 } else { 0 },
            max_timestamp: append_time.unwrap_or(0),
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            partition_leader_epoch: -1,
            ..wasm_batch_header::default()
        };
        self.first_timestamp = None;
        self.next_offset = base_offset;
        self.records.clear();
    }

    /// Number of records so far.
    pub fn count(&self) -> u32 {
        self.header.record_count as u32
    }

    /// Adds a record. Without an offset the record gets the one after the last record's.
    pub fn add(&mut self, offset: Option<i64>, timestamp: i64, payload: &[u8]) -> Result<()> {
        let offset = offset.unwrap_or(self.next_offset);
        let delta = offset.wrapping_sub(self.header.base_offset);
        if offset < self.next_offset || offset == i64::MAX || delta > i64::from(i32::MAX) - 1 {
            return Err(Error::invalid(format!(
                "record offset {offset} is out of range: at least {} and less than 2^31 after the base offset {}",
                self.next_offset, self.header.base_offset
            )));
        }
        if !payload::is_valid(payload) {
            return Err(Error::new(
                Kind::Malformed,
                format!("the payload of record {} is not exactly key, value and headers", self.header.record_count),
            ));
        }
        let base_timestamp = self.first_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.checked_sub(base_timestamp).ok_or_else(|| {
            Error::invalid(format!(
                "timestamp {timestamp} is too far from the first one of the batch ({base_timestamp})"
            ))
        })?;
        self.body.clear();
        self.body.push(0);
        varint::put(&mut self.body, timestamp_delta);
        varint::put(&mut self.body, delta);
        let size = self.body.len() + payload.len();
        if self.records.len() + size + varint::MAX_LEN > i32::MAX as usize - SIZE {
            return Err(Error::new(Kind::TooLarge, "a batch cannot have more than 2 GiB"));
        }
        let more = size + varint::MAX_LEN;
        fallible::reserve(&mut self.records, more).map_err(|_| chunk::refused(self.records.len() + more))?;
        varint::put(&mut self.records, size as i64);
        self.records.extend_from_slice(&self.body);
        self.records.extend_from_slice(payload);

        self.first_timestamp = Some(base_timestamp);
        let header = &mut self.header;
        header.base_timestamp = base_timestamp;
        if !header.is_append_time() {
            header.max_timestamp =
                if header.record_count == 0 { timestamp } else { header.max_timestamp.max(timestamp) };
        }
        header.last_offset_delta = delta as i32;
        header.record_count += 1;
        self.next_offset = offset + 1;
        Ok(())
    }

    /// The batch as bytes. They are valid until the builder is used again.
    pub fn finish(&mut self) -> Result<&[u8]> {
        self.out.clear();
        fallible::reserve(&mut self.out, SIZE).map_err(|_| chunk::refused(SIZE))?;
        self.out.resize(SIZE, 0);
        compression::compress(self.codec, &self.records, &mut self.out)?;
        self.header.seal(&mut self.out);
        Ok(&self.out)
    }
}
