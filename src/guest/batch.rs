//! A checked batch and how far a guest or a custom engine has come with it.

use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::batch::header::{self, wasm_batch_header};
use crate::batch::reader::{Record, Records};

/// Bytes for the records of a compressed batch that an engine keeps for the next one.
const KEPT_SCRATCH: usize = 1 << 20;

/// How far a batch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is no batch.
    #[default]
    None,
    /// The host gave the batch.
    Given,
    /// The guest has seen the header.
    Announced,
}

/// A batch. It is checked once whatever happens to its records: a guest that is started again continues where the last
/// one failed. The fields have a meaning only from `Stage::Given` on.
#[derive(Debug, Default)]
pub struct Batch {
    /// How far it has come.
    pub stage: Stage,
    /// All of it, as the host gave it.
    pub bytes: &'static [u8],
    /// The first record that this guest gets.
    pub first: u32,
    /// Its header with as many records as this guest gets and the records that are left. They are in the host's memory
    /// or in `scratch`.
    pub records: Records<'static>,
    /// How many records were taken or not given to any guest.
    pub taken: u32,
    /// The record that was taken last is in progress.
    pub in_record: bool,
    /// Offset of that record. Before the first record it is the batch's own. The timestamp is `Context::wall_clock`. If
    /// both were here, they would be written one by one and soon read as one. The processor would have to wait for
    /// that.
    pub latest_offset: i64,
    /// What the clock shows before the first record.
    pub first_timestamp: i64,
    /// Ticks that the check took, if it came before the operation.
    pub check_ticks: u64,
    /// How many records the whole batch has.
    count: u32,
    /// The records of a compressed batch.
    scratch: Vec<u8>,
}

impl Batch {
    /// Whether there is a batch.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.stage != Stage::None
    }

    /// Checks a batch as a whole and makes record `first` the next one. In place because building it elsewhere and
    /// moving it costs a small batch a tenth of its time. After an error there is no batch.
    pub fn check(&mut self, bytes: &'static [u8], first: u32, config: &Config) -> Result<()> {
        self.stage = Stage::None;
        let decompressed = self.records.check(bytes, config.max_batch_size, config.check_crc, &mut self.scratch)?;
        self.count = self.records.header.record_count as u32;
        if first > 0 && first >= self.count {
            self.records.end();
            return Err(Error::invalid(format!("first_record is {first}; the batch has {} records", self.count)));
        }
        self.records.begin(if decompressed { kept(&self.scratch) } else { &bytes[header::SIZE..] });
        self.bytes = bytes;
        self.taken = first;
        if first > 0 {
            self.records.skip(first);
        }
        self.give();
        Ok(())
    }

    /// Gives the records that were not taken to a guest.
    #[inline]
    pub fn give(&mut self) {
        let header = &mut self.records.header;
        let mut offset = header.base_offset;
        let mut timestamp = first_timestamp(header);
        if self.taken > 0 {
            header.record_count = (self.count - self.taken) as i32;
            // Output before the first record is not attributed to a record that others have finished.
            if let Some(record) = self.records.peek() {
                (offset, timestamp) = (record.offset, record.timestamp);
            }
        }
        self.first = self.taken;
        self.in_record = false;
        self.latest_offset = offset;
        self.first_timestamp = timestamp;
        self.stage = Stage::Given;
    }

    /// How many records are not taken.
    pub fn left(&self) -> u32 {
        self.count.saturating_sub(self.taken)
    }

    /// The record in progress.
    pub fn current(&self) -> Option<Record<'static>> {
        if self.in_record { self.records.latest() } else { None }
    }

    /// The batch has completed: nothing points into the host's memory any more. Its buffers are kept for the next one.
    #[inline]
    pub fn end(&mut self) {
        self.stage = Stage::None;
        self.in_record = false;
        self.bytes = &[];
        self.records.end();
    }

    /// Frees memory that only one large batch needed.
    #[inline]
    pub fn trim(&mut self) {
        if self.scratch.capacity() > KEPT_SCRATCH && !self.is_there() {
            self.scratch = Vec::new();
        }
    }
}

/// What the clock shows before the first record.
fn first_timestamp(header: &wasm_batch_header) -> i64 {
    if header.is_append_time() { header.max_timestamp } else { header.base_timestamp }
}

/// The decompressed records for as long as their batch keeps them.
#[allow(unsafe_code)]
fn kept(scratch: &[u8]) -> &'static [u8] {
    // SAFETY: the slice goes into `Batch::records` beside `scratch`. The bytes of `scratch` stay in place when the
    // batch moves. Only `Records::check` writes them and it ends the records first. They are freed by `trim` when there
    // is no batch or together with the records. Nothing lends the slice beyond that: host functions copy from it and
    // `wasm_work` lends it for a callback.
    unsafe { core::slice::from_raw_parts(scratch.as_ptr(), scratch.len()) }
}
