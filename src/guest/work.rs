//! What a guest is working on: the current batch and its output.

use super::batch::{Batch, Stage};
use super::output::OutputBuffer;
use crate::base::config::Config;
use crate::base::error::Result;
use crate::batch::payload::HeaderCheck;
use crate::metrics::meter::Passed;

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
}

impl Work {
    /// No batch and a buffer for output of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { batch: Batch::default(), output: OutputBuffer::new(limit), taken: Passed::default(), checked: None }
    }

    /// Drops the batch and frees the memory.
    pub fn release(&mut self) {
        self.batch = Batch::default();
        self.output.release();
        self.checked = None;
    }

    /// Takes a step of the batch's check, as `Batch::check`.
    #[inline]
    pub fn check(&mut self, config: &Config) -> Result<bool> {
        if self.batch.stage == Stage::Unchecked
            && let Some(segment) = self.output.prepare()
        {
            self.batch.records.entries.lend(segment);
        }
        self.batch.check(config)
    }

    /// Gives the memory of a batch that has ended to the thread.
    #[inline]
    pub fn trim(&mut self) {
        self.output.trim(self.batch.records.entries.take_spare());
    }
}
