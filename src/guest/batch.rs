//! A batch and how far a guest or a custom engine has come with it.

use super::batches::{Batches, Rules};
use super::output_block::Origin;
use super::position::Position;
use crate::base::error::{Error, Result};
use crate::batch::header::wasm_batch_header;
use crate::batch::input::Input;
use crate::batch::reader::{Record, Records};

/// How far a batch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is no batch.
    #[default]
    None,
    /// Nothing has looked at it.
    Unchecked,
    /// It is being checked.
    Checking,
    /// The host gave the batch.
    Given,
    /// The guest has seen the header.
    Announced,
    /// It was refused. There is none any more.
    Refused,
}

/// A batch. It is checked once whatever happens to its records: a guest that is started again continues where the last
/// one failed. The fields have a meaning only from `Stage::Given` on.
#[derive(Debug, Default)]
pub struct Batch {
    /// How far it has come.
    pub stage: Stage,
    /// All of it, as the host gave it.
    pub input: Input<'static>,
    /// The first record that this guest gets.
    pub first: u32,
    /// Its header with as many records as this guest gets and the records that are left.
    pub records: Records<'static>,
    /// How many records were taken or not given to any guest.
    pub taken: u32,
    /// The record that was taken last is in progress.
    pub in_record: bool,
    /// Offset of that record. Before the first record it is the batch's own. The timestamp is `Context::wall_clock`. If
    /// both were here, they would be written one by one and soon read as one. The processor would have to wait for
    /// that.
    pub latest_offset: i64,
    /// Of the next output record.
    pub position: Position,
    /// What the clock shows before the first record.
    pub first_timestamp: i64,
    /// Offset of the last of records that are in no batch: they may be anywhere.
    pub last_offset: Option<i64>,
    /// How many records the whole batch has.
    count: u32,
    /// All batches of the operation if it has several.
    pub batches: Option<Box<Batches>>,
    /// Index of the last batch of an operation that has completed.
    pub ended: u32,
}

/// Refuses a first record that a batch does not have. The header has the number.
#[inline(always)]
pub fn check_first(input: Input<'_>, first: u32) -> Result<()> {
    if first == 0 { Ok(()) } else { check_later(input, first) }
}

#[cold]
fn check_later(input: Input<'_>, first: u32) -> Result<()> {
    let count = match input {
        // Bytes that are no batch fail later as what they are.
        Input::Batch(bytes) => {
            wasm_batch_header::parse(bytes).ok().and_then(|header| header.record_count.try_into().ok())
        }
        Input::Records(records) => Some(records.len()),
    };
    match count {
        Some(count) if first as usize >= count => {
            Err(Error::invalid(format!("first_record is {first}; the batch has {count} records")))
        }
        _ => Ok(()),
    }
}

impl Batch {
    /// Whether there is a batch.
    #[inline]
    pub fn is_there(&self) -> bool {
        !matches!(self.stage, Stage::None | Stage::Refused)
    }

    /// Takes a batch that is to be given from record `first` on. `check` comes next. In place because building it
    /// elsewhere and moving it costs a small batch a tenth of its time.
    #[inline]
    pub fn begin(&mut self, input: impl Into<Input<'static>>, first: u32) {
        self.stage = Stage::Unchecked;
        self.input = input.into();
        self.taken = first;
    }

    /// Takes a step of the check. True if the whole batch is checked and given. After an error there is no batch.
    #[inline]
    pub fn check(&mut self, rules: Rules) -> Result<bool> {
        self.step(rules).inspect_err(|_| {
            self.end();
            self.stage = Stage::Refused;
        })
    }

    #[inline]
    fn step(&mut self, rules: Rules) -> Result<bool> {
        if self.stage == Stage::Unchecked {
            match self.input {
                Input::Batch(bytes) => {
                    self.last_offset = None;
                    self.records.begin(bytes, self.taken, rules.max_batch_size, rules.check_crc)?;
                }
                Input::Records(records) => {
                    self.last_offset = records.last_offset();
                    self.records.begin_records(records, self.taken, rules.max_batch_size)?;
                }
            }
            self.stage = Stage::Checking;
        }
        if !self.records.check()? {
            return Ok(false);
        }
        self.count = self.records.header.record_count as u32;
        self.give();
        Ok(true)
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
        self.position = Position::default();
        self.first_timestamp = timestamp;
        self.stage = Stage::Given;
    }

    /// The next record. `advance` moves past it.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<Record<'static>> {
        self.records.peek().map(kept)
    }

    /// Notes that the record was taken that `peek` gave.
    #[inline(always)]
    pub fn take(&mut self, record: &Record<'_>) {
        self.records.advance();
        self.position = Position::of(self.taken);
        self.taken += 1;
        self.in_record = true;
        self.latest_offset = record.offset;
    }

    /// Where the next output record comes from. `timestamp` is that of the current record.
    #[inline(always)]
    pub fn origin(&self, timestamp: i64) -> Origin {
        Origin { offset: self.latest_offset, timestamp, position: self.position }
    }

    /// How many records are not taken.
    pub fn left(&self) -> u32 {
        self.count.saturating_sub(self.taken)
    }

    /// The record in progress.
    pub fn current(&self) -> Option<Record<'static>> {
        if self.in_record { self.records.latest().map(kept) } else { None }
    }

    /// The batch has completed: nothing points into the host's memory any more.
    #[inline]
    pub fn end(&mut self) {
        self.stage = Stage::None;
        self.in_record = false;
        self.input = Input::default();
        self.records.end();
    }
}

/// What the clock shows before the first record.
fn first_timestamp(header: &wasm_batch_header) -> i64 {
    if header.is_append_time() { header.max_timestamp } else { header.base_timestamp }
}

/// A record for as long as its batch keeps it.
#[inline(always)]
#[allow(unsafe_code)]
fn kept(record: Record<'_>) -> Record<'static> {
    // SAFETY: the payload is in the host's batch or in memory of `Batch::records` that stays in place when the batch
    // moves. Both end with `Records::end`: when the batch has completed or another one begins. Nothing lends the
    // payload beyond that: host functions copy from it and `wasm_work` lends it until the operation's last callback
    // result.
    let payload = unsafe { core::slice::from_raw_parts(record.payload.as_ptr(), record.payload.len()) };
    Record { payload, ..record }
}
