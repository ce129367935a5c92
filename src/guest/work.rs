//! What a guest is working on: the batch at hand, as far as the guest has come, and what it wrote.

use crate::batch::header::wasm_batch_header;
use crate::batch::reader::Records;
use crate::guest::output::OutputBuffer;
use crate::metrics::meter::Passed;

/// The batch at hand and the output.
pub struct Work {
    /// The batch.
    pub batch: Batch,
    /// Output that the host does not have yet.
    pub output: OutputBuffer,
    /// Records that the guest took and that are not counted yet.
    pub taken: Passed,
}

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

/// A batch that a guest works on. What it holds has a meaning only from `Stage::Given` on.
#[derive(Debug, Default)]
pub struct Batch {
    /// How far it has come.
    pub stage: Stage,
    /// All of it, as the host gave it.
    pub bytes: &'static [u8],
    /// The first record that is wanted.
    pub first: u32,
    /// Its header, with as many records as are wanted, and the records that are left. They lie in memory that the engine
    /// keeps borrowed until the batch is over.
    pub records: Records<'static>,
    /// How many records the guest has taken, or was not given.
    pub taken: u32,
    /// The record that the guest has taken last is not finished.
    pub at_hand: bool,
    /// Offset of that record; before the first one, the batch's own. Its timestamp is `Context::wall_clock`: were both
    /// here, they would be written one by one and soon read as one, for which the processor would have to wait.
    pub latest_offset: i64,
    /// What the clock shows before the first record.
    pub first_timestamp: i64,
}

/// What output is attributed to.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    /// Kafka offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl Current {
    /// A batch of which no record was taken.
    pub fn before(header: &wasm_batch_header) -> Self {
        let timestamp = if header.is_append_time() { header.max_timestamp } else { header.base_timestamp };
        Self { offset: header.base_offset, timestamp }
    }
}

impl Batch {
    /// Whether there is one.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.stage != Stage::None
    }

    /// The batch in `records` was given, whole as `bytes`, and its records from `first` on are wanted; the first of these is
    /// the next to be read.
    #[inline]
    pub fn give(&mut self, bytes: &'static [u8], first: u32, before: Current) {
        self.bytes = bytes;
        self.first = first;
        self.taken = first;
        self.at_hand = false;
        self.latest_offset = before.offset;
        self.first_timestamp = before.timestamp;
        self.stage = Stage::Given;
    }

    /// It is over: nothing points into the host's memory any more. What it took to read it is kept for the next one.
    #[inline]
    pub fn end(&mut self) {
        self.stage = Stage::None;
        self.at_hand = false;
        self.bytes = &[];
        self.records.end();
    }
}

impl Work {
    /// Nothing to do, and a buffer for output of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { batch: Batch::default(), output: OutputBuffer::new(limit), taken: Passed::default() }
    }

    /// There is nothing to do; gives the memory back.
    pub fn release(&mut self) {
        self.batch = Batch::default();
        self.output.release();
    }
}
