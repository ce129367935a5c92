//! The 61 bytes at the head of a batch.

use crate::crc32c;
use crate::error::{Error, Kind, Result};

/// Bytes of the header.
pub const SIZE: usize = 61;
/// Where the part that the CRC covers begins: at the attributes.
pub const CRC_START: usize = 21;
/// Where the part that the length field counts begins.
const LENGTH_START: usize = 12;

/// Attributes bits 0–2.
const COMPRESSION_MASK: i16 = 0x07;
/// Attributes bit 3: all records have the broker's time, `max_timestamp`.
const APPEND_TIME: i16 = 0x08;
/// Attributes bit 5: markers of transactions instead of records.
const CONTROL: i16 = 0x20;

/// The fields of a batch header in wire order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct wasm_batch_header {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the whole batch including its header: the length field plus 12.
    pub total_size: u64,
    /// Epoch of the partition's leader.
    pub partition_leader_epoch: i32,
    /// CRC-32C over all bytes after this field.
    pub crc: u32,
    /// Bits 0–2 compression (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd). Bit 3 append time. Bit 4 transactional. Bit 5
    /// control.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 of the first record.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch. With append time: the timestamp of every record.
    pub max_timestamp: i64,
    /// Producer's id. −1 for none.
    pub producer_id: i64,
    /// Producer's epoch. −1 for none.
    pub producer_epoch: i16,
    /// Sequence number of the first record. −1 for none.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl wasm_batch_header {
    /// Reads the header at the front of `bytes` and checks that the whole batch is present. More may follow the
    /// batch.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut header = Self::default();
        header.read(bytes)?;
        Ok(header)
    }

    /// As `parse` but in place. A failure changes nothing.
    pub fn read(&mut self, bytes: &[u8]) -> Result<()> {
        fn field<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
            core::array::from_fn(|i| bytes[at + i])
        }
        let Some(head) = bytes.first_chunk::<SIZE>() else {
            return Err(Error::new(
                Kind::Truncated,
                format!("a batch header has {SIZE} bytes but only {} are present", bytes.len()),
            ));
        };
        let magic = head[16];
        if magic != 2 {
            return Err(Error::new(Kind::Magic, format!("the batch has magic {magic}; only magic 2 is supported")));
        }
        let length = i32::from_be_bytes(field(head, 8));
        let total = i64::from(length) + LENGTH_START as i64;
        if total < SIZE as i64 {
            return Err(Error::new(
                Kind::Malformed,
                format!("the batch's length field is {length}: less than its header takes"),
            ));
        }
        let total = total as u64;
        if (bytes.len() as u64) < total {
            return Err(Error::new(
                Kind::Truncated,
                format!("the batch claims {total} bytes but only {} are present", bytes.len()),
            ));
        }
        *self = Self {
            base_offset: i64::from_be_bytes(field(head, 0)),
            total_size: total,
            partition_leader_epoch: i32::from_be_bytes(field(head, 12)),
            crc: u32::from_be_bytes(field(head, 17)),
            attributes: i16::from_be_bytes(field(head, 21)),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, 35)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            record_count: i32::from_be_bytes(field(head, 57)),
        };
        Ok(())
    }

    /// Refuses counts that contradict each other. Call this after the CRC check. A damaged batch would otherwise be
    /// reported as badly built.
    #[inline]
    pub fn check_counts(&self) -> Result<()> {
        if self.record_count < 0 || self.last_offset_delta < 0 && self.record_count > 0 {
            return Err(Error::new(
                Kind::Malformed,
                format!(
                    "the batch claims {} records and last offset delta {}",
                    self.record_count, self.last_offset_delta
                ),
            ));
        }
        Ok(())
    }

    /// The largest offset delta that a record may have. Some old producers leave `last_offset_delta` 0 whatever the
    /// number of records. Kafka's brokers and clients read such batches.
    #[inline]
    pub fn largest_offset_delta(&self) -> i64 {
        i64::from(self.last_offset_delta.max(self.record_count.saturating_sub(1)))
    }

    /// Writes the header to the front of `out` (which holds the batch) with the length and the CRC.
    pub fn seal(&mut self, out: &mut [u8]) {
        fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
            out[at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.total_size = out.len() as u64;
        put(out, 0, &self.base_offset.to_be_bytes());
        put(out, 8, &((out.len() - LENGTH_START) as i32).to_be_bytes());
        put(out, 12, &self.partition_leader_epoch.to_be_bytes());
        put(out, 16, &[2]);
        put(out, 21, &self.attributes.to_be_bytes());
        put(out, 23, &self.last_offset_delta.to_be_bytes());
        put(out, 27, &self.base_timestamp.to_be_bytes());
        put(out, 35, &self.max_timestamp.to_be_bytes());
        put(out, 43, &self.producer_id.to_be_bytes());
        put(out, 51, &self.producer_epoch.to_be_bytes());
        put(out, 53, &self.base_sequence.to_be_bytes());
        put(out, 57, &self.record_count.to_be_bytes());
        self.crc = crc32c::checksum(&out[CRC_START..]);
        put(out, 17, &self.crc.to_be_bytes());
    }

    /// The code in attributes bits 0–2.
    pub fn compression(&self) -> u32 {
        (self.attributes & COMPRESSION_MASK) as u32
    }

    /// Sets that code.
    pub(crate) fn set_compression(&mut self, code: i16) {
        self.attributes = self.attributes & !COMPRESSION_MASK | code;
    }

    /// Whether records carry the broker's time.
    pub fn is_append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    /// Whether this is a control batch.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}
