//! Writes batches for tools and tests and for hosts that pack a transform's output.

use super::chunk;
use super::compression::{self, wasm_compression};
use super::header::{SIZE, wasm_batch_header};
use super::{payload, varint};
use crate::error::{Error, Kind, Result};
use crate::fallible;

/// What a batch may have at most. The default is as much as there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole batch.
    pub bytes: usize,
    /// Records.
    pub records: u32,
}

/// Bytes that any batch may have.
const MOST_BYTES: usize = i32::MAX as usize;

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: MOST_BYTES, records: i32::MAX as u32 }
    }
}

/// Collects records and packs them into one batch.
pub struct Builder {
    codec: wasm_compression,
    limits: Limits,
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
            limits: Limits::default(),
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
        self.limits = Limits::default();
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

    /// Sets what the batch may have. After `reset`.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of the batch if it were finished now without compression.
    pub fn size(&self) -> usize {
        SIZE + self.records.len()
    }

    /// Number of records so far.
    pub fn count(&self) -> u32 {
        self.header.record_count as u32
    }

    /// Adds a record. Without an offset the record gets the one after the last record's. After an error nothing has
    /// changed.
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
        self.check_limits(varint::len(size as i64) + size)?;
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

    /// Refuses a record of `size` bytes that would make the batch larger than its limits.
    #[inline]
    fn check_limits(&self, size: usize) -> Result<()> {
        let Limits { bytes, records } = self.limits;
        if self.size() + size <= bytes && self.count() < records { Ok(()) } else { Err(self.too_much(size)) }
    }

    #[cold]
    fn too_much(&self, size: usize) -> Error {
        let Limits { bytes, records } = self.limits;
        if SIZE + size > bytes {
            return Error::new(
                Kind::TooLarge,
                format!("a batch of this record alone has {} bytes; at most {bytes} are allowed", SIZE + size),
            );
        }
        Error::new(
            Kind::Full,
            format!(
                "the batch is full: {} bytes and {} records, and this record takes {size} bytes; at most {bytes} bytes \
                 and {records} records are allowed. Finish the batch and add the record to the next one",
                self.size(),
                self.count()
            ),
        )
    }

    /// The batch as bytes. They are valid until the builder is used again.
    pub fn finish(&mut self) -> Result<&[u8]> {
        self.out.clear();
        fallible::reserve(&mut self.out, SIZE).map_err(|_| chunk::refused(SIZE))?;
        self.out.resize(SIZE, 0);
        self.header.set_compression(self.codec as i16);
        compression::compress(self.codec, &self.records, &mut self.out)?;
        if self.out.len() > self.limits.bytes {
            // What cannot be compressed becomes a little larger. Without compression it has been measured.
            self.header.set_compression(wasm_compression::None as i16);
            self.out.truncate(SIZE);
            compression::compress(wasm_compression::None, &self.records, &mut self.out)?;
        }
        self.header.seal(&mut self.out);
        Ok(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use crate::reader::Records;
    use proptest::prelude::*;

    const CODECS: [wasm_compression; 5] = [
        wasm_compression::None,
        wasm_compression::Gzip,
        wasm_compression::Snappy,
        wasm_compression::Lz4,
        wasm_compression::Zstd,
    ];

    /// The payloads of a batch.
    fn payloads(batch: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Records::default();
        records.begin(batch, 0, usize::MAX, true).unwrap();
        while !records.check().unwrap() {}
        let mut all = Vec::new();
        while let Some(record) = records.peek() {
            all.push(record.payload.to_vec());
            records.advance();
        }
        all
    }

    proptest! {
        #[test]
        fn batches_to_size_have_the_records_in_order(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..60),
            bytes in 61usize..700, records in 1u32..20, codec in 0usize..5,
        ) {
            let (codec, limits) = (CODECS[codec], Limits { bytes, records });
            let mut builder = Builder::new(codec, 0, None);
            builder.set_limits(limits);
            let (mut packed, mut wanted) = (Vec::new(), Vec::new());
            let mut finish = |builder: &mut Builder| {
                let (size, count) = (builder.size(), builder.count());
                let batch = builder.finish().unwrap().to_vec();
                assert!(size <= bytes && batch.len() <= bytes && count <= records);
                assert!(codec != wasm_compression::None || size == batch.len());
                let all = payloads(&batch);
                assert_eq!(all.len(), count as usize);
                packed.extend(all);
                builder.reset(codec, 0, None);
                builder.set_limits(limits);
            };
            for value in &values {
                let mut payload = Vec::new();
                Payload { value: Some(value), ..Payload::default() }.put(&mut payload);
                let before = (builder.size(), builder.count());
                match builder.add(None, 0, &payload) {
                    Ok(()) => {}
                    Err(full) if full.kind == Kind::Full => {
                        assert_eq!((builder.size(), builder.count()), before);
                        finish(&mut builder);
                        builder.add(None, 0, &payload).unwrap();
                    }
                    Err(large) => {
                        assert_eq!(large.kind, Kind::TooLarge);
                        let mut alone = Builder::new(codec, 0, None);
                        alone.add(None, 0, &payload).unwrap();
                        assert!(alone.size() > bytes);
                        continue;
                    }
                }
                wanted.push(payload);
            }
            finish(&mut builder);
            prop_assert_eq!(packed, wanted);
        }
    }

    #[test]
    fn what_compression_makes_larger_is_not_compressed() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        let value: Vec<u8> = (0..5000).map(|_| random()).collect();
        let mut payload = Vec::new();
        Payload { value: Some(&value), ..Payload::default() }.put(&mut payload);
        for codec in CODECS {
            let mut builder = Builder::new(codec, 0, None);
            builder.add(None, 0, &payload).unwrap();
            let size = builder.size();
            assert_eq!(builder.finish().unwrap().len() > size, codec != wasm_compression::None);
            builder.reset(codec, 0, None);
            builder.set_limits(Limits { bytes: size, ..Limits::default() });
            builder.add(None, 0, &payload).unwrap();
            let batch = builder.finish().unwrap();
            assert_eq!((batch.len(), payloads(batch)), (size, vec![payload.clone()]));
        }
    }
}
