//! A batch that was checked, as far as a guest or a custom engine has come with it.

use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::batch::header::{self, wasm_batch_header};
use crate::batch::reader::{Record, Records};

/// Bytes for the records of a compressed batch that an engine keeps for the next one.
const KEPT_SCRATCH: usize = 1 << 20;

/// How far a batch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    #[default]
    None,
    /// The host gave it.
    Given,
    /// The guest has seen the header.
    Announced,
}

/// A batch. It is checked once, whatever becomes of its records: a guest that is started again goes on where the last one
/// failed. What it holds has a meaning only from `Stage::Given` on.
#[derive(Debug, Default)]
pub struct Batch {
    /// How far it has come.
    pub stage: Stage,
    /// All of it, as the host gave it.
    pub bytes: &'static [u8],
    /// The first record that this guest gets.
    pub first: u32,
    /// Its header, with as many records as this guest gets, and the records that are left. They lie in the host's memory,
    /// or in `scratch`.
    pub records: Records<'static>,
    /// How many records were taken, or not given to any guest.
    pub taken: u32,
    /// The record that was taken last is in progress.
    pub in_record: bool,
    /// Offset of that record; before the first one, the batch's own. Its timestamp is `Context::wall_clock`: were both
    /// here, they would be written one by one and soon read as one, for which the processor would have to wait.
    pub latest_offset: i64,
    /// What the clock shows before the first record.
    pub first_timestamp: i64,
    /// How many records the whole batch has.
    count: u32,
    /// The records of a compressed batch.
    scratch: Vec<u8>,
}

impl Batch {
    /// Whether there is one.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.stage != Stage::None
    }

    /// Checks a batch as a whole, and makes record `first` the next one. In place, because what is put together elsewhere
    /// and moved costs a small batch a tenth of its time. With an error there is no batch.
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

    /// The records that are not taken are for another guest.
    pub fn give_rest(&mut self) {
        // What a guest is told is how many it will get.
        self.records.header.record_count = self.left() as i32;
        self.give();
    }

    #[inline]
    fn give(&mut self) {
        let header = &mut self.records.header;
        let mut offset = header.base_offset;
        let mut timestamp = first_timestamp(header);
        if self.taken > 0 {
            header.record_count = (self.count - self.taken) as i32;
            // What is written before the first record is not attributed to a record that others are done with.
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

    /// The batch has completed: nothing points into the host's memory any more. What it took to read it is kept for the
    /// next one.
    #[inline]
    pub fn end(&mut self) {
        self.stage = Stage::None;
        self.in_record = false;
        self.bytes = &[];
        self.records.end();
    }

    /// Frees what one large batch made large.
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

/// The decompressed records, for as long as their batch keeps them.
#[allow(unsafe_code)]
fn kept(scratch: &[u8]) -> &'static [u8] {
    // SAFETY: the slice goes into `Batch::records`, beside `scratch`, whose bytes stay where they are when the batch moves.
    // They are written by `Records::check` only, which ends the records first, and freed by `trim` only when there is no
    // batch, or together with the records. Nothing hands the slice out beyond that: host functions copy from it, and
    // `wasm_work` lends it for a callback.
    unsafe { core::slice::from_raw_parts(scratch.as_ptr(), scratch.len()) }
}
