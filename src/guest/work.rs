//! What a guest is working on: the current batch and its output.

use super::batch::{Batch, Stage};
use super::batches::Rules;
use super::control::Control;
use super::output::OutputBuffer;
use super::progress::Progress;
use crate::base::error::Result;
use crate::batch::payload::HeaderCheck;
use crate::host::sink::wasm_output_batch;
use crate::metrics::meter::Passed;
use crate::module::record_calls::NATIVE_BYTES;

/// So many records must be left for the control to be opened: opening costs as much as two calls.
const FEWEST: usize = 4;

/// Payloads are copied in one piece without a suspend point. Larger ones are left to the host.
const LARGEST: usize = 128 << 10;

/// The current batch and the output.
pub struct Work {
    /// The batch.
    pub batch: Batch,
    /// Output that the host does not have yet.
    pub output: OutputBuffer,
    /// Records that were taken and are not counted yet.
    pub taken: Passed,
    /// The guest writes a record with many headers, whose check takes several slices.
    pub checked: Option<HeaderCheck>,
    /// The block of an operation with one batch. Apart because the host may read it while the rest is used.
    pub only: Box<wasm_output_batch>,
    /// How far the last operation had come when its batch was dropped.
    pub left_at: Option<Progress>,
}

impl Work {
    /// No batch and a buffer for output of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            batch: Batch::default(),
            output: OutputBuffer::new(limit),
            taken: Passed::default(),
            checked: None,
            only: Box::new(wasm_output_batch { batch: 0, record_count: 0 }),
            left_at: Some(Progress::default()),
        }
    }

    /// Opens the control if records are left that are worth it. Output too if records have a topic and their block has
    /// room.
    #[inline(always)]
    pub fn open(&mut self, control: &Control, has_topic: bool) -> bool {
        self.batch.records.entries.left_here() >= FEWEST && self.open_for_many(control, has_topic)
    }

    #[inline(never)]
    fn open_for_many(&mut self, control: &Control, has_topic: bool) -> bool {
        // Output before the first record is the host's business.
        let Batch { stage: Stage::Announced, in_record: true, records, input, position, .. } = &self.batch else {
            return false;
        };
        // A host may have asked for memory at addresses of 57 bits.
        let reached = input.batch().as_ptr_range().end.addr() <= NATIVE_BYTES;
        if records.largest_payload > LARGEST || !reached {
            return false;
        }
        control.next.set(records.entries.address());
        control.position.set(*position);
        if let Some(latest) = records.entries.latest() {
            control.offset.set(latest.offset);
            control.timestamp.set(latest.timestamp);
        }
        if has_topic {
            self.output.open(control);
        }
        // Here the library's own memory is meant.
        let reached = control.is_within(NATIVE_BYTES as u64);
        if !reached {
            control.close();
        }
        reached
    }

    /// Notes what the guest has read and written by an open control. The time of the latest record that was read since
    /// the last look.
    pub fn observe(&mut self, control: &Control) -> Option<i64> {
        let Self { batch, output, taken, .. } = self;
        let read = batch.records.entries.advance_to(control.next.get());
        let latest = read.last().copied();
        if let Some(latest) = latest {
            batch.taken += read.len() as u32;
            batch.in_record = true;
            batch.latest_offset = latest.offset;
            taken.records += read.len() as u64;
            taken.bytes += read.iter().map(|entry| u64::from(entry.size)).sum::<u64>();
        }
        batch.position = control.position.get();
        output.observe(control, latest.is_some());
        latest.map(|latest| latest.timestamp)
    }

    /// The guest failed. Drops what the host does not have of the current record's output.
    pub fn drop_unfinished(&mut self) {
        if let Some(ordinal) = self.output.drop_unfinished() {
            self.batch.position = self.batch.position.at(ordinal);
        }
    }

    /// Drops the batch and frees the memory.
    pub fn release(&mut self) {
        self.note_progress();
        self.batch.records.end();
        self.output.release(self.batch.records.entries.take_spare());
        self.batch = Batch::default();
        self.checked = None;
    }

    /// Takes a step of the batch's check, as `Batch::check`.
    #[inline]
    pub fn check(&mut self, rules: Rules) -> Result<bool> {
        if self.batch.stage == Stage::Unchecked
            && let Some(segment) = self.output.prepare()
        {
            self.batch.records.entries.lend(segment);
        }
        self.batch.check(rules)
    }

    /// Gives the memory of a batch that has ended to the thread.
    #[inline]
    pub fn trim(&mut self) {
        if self.batch.stage == Stage::Refused {
            // The batch before tells the offset.
            self.note_progress();
        }
        if let Some(batches) = self.batch.batches.take() {
            self.batch.ended = batches.index();
            batches.give_back();
        }
        self.output.trim(self.batch.records.entries.take_spare());
    }
}
