//! How far an operation has come: what its sink has whole. Nothing is noted for that while records pass. It follows
//! from where the guest is and from the output that waits.

use super::batch::{Batch, Stage};
use super::work::Work;
use crate::batch::header::wasm_batch_header;

/// The first record whose output the sink does not have whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of its batch in the operation. The number of batches if all have completed.
    pub batch: u32,
    /// Its index in that batch. The number of records if all of them are whole but the batch has not completed.
    pub record: u32,
    /// The offset to go on from. None if that is not known.
    pub offset: Option<i64>,
}

impl Progress {
    /// Of an operation that has not begun with its first batch.
    pub fn waiting(first: u32) -> Self {
        Self { batch: 0, record: first, offset: None }
    }
}

/// The offset behind a batch, of which records may be missing at its end.
#[inline]
fn behind(header: &wasm_batch_header) -> i64 {
    header.base_offset.wrapping_add(i64::from(header.last_offset_delta)).wrapping_add(1)
}

impl Batch {
    /// Index in the operation.
    fn place(&self) -> u32 {
        self.index().unwrap_or(self.ended)
    }

    /// The offset behind all of it.
    #[inline]
    fn end_offset(&self) -> i64 {
        self.last_offset.map_or_else(|| behind(&self.records.header), |last| last.wrapping_add(1))
    }

    /// The offset to go on from, as if all output so far was delivered.
    #[inline]
    pub(super) fn next_offset(&self) -> Option<i64> {
        // Nearly always: the batch has ended.
        if self.stage == Stage::None { Some(self.end_offset()) } else { self.progress().offset }
    }

    /// As if all output so far was delivered.
    pub(super) fn progress(&self) -> Progress {
        let batch = self.place();
        let end = Some(self.end_offset());
        match self.stage {
            Stage::None => Progress { batch: batch + 1, record: 0, offset: end },
            Stage::Unchecked | Stage::Checking | Stage::Refused => {
                // The header of this batch may have been read or not.
                let before = self.batches.as_ref().and_then(|batches| batches.before());
                let header = before.and_then(|bytes| wasm_batch_header::parse(bytes).ok());
                Progress { batch, record: self.taken, offset: header.as_ref().map(behind) }
            }
            Stage::Given | Stage::Announced if self.in_record => {
                Progress { batch, record: self.taken - 1, offset: Some(self.latest_offset) }
            }
            Stage::Given | Stage::Announced if self.left() > 0 => {
                // If none is taken, it is the offset of the first record.
                let behind = i64::from(self.taken > self.first);
                Progress { batch, record: self.taken, offset: Some(self.latest_offset.wrapping_add(behind)) }
            }
            Stage::Given | Stage::Announced => Progress { batch, record: self.taken, offset: end },
        }
    }

    /// Of a batch whose guest has failed and that is continued behind the record in progress, which is lost.
    pub fn progress_behind(&mut self) -> Progress {
        let batch = self.place();
        match self.records.peek().map(|next| next.offset) {
            Some(offset) => Progress { batch, record: self.taken, offset: Some(offset) },
            None => Progress { batch: batch + 1, record: 0, offset: Some(self.end_offset()) },
        }
    }
}

impl Work {
    /// How far the operation has come, or had come before its batch was dropped.
    pub fn progress(&self) -> Progress {
        let Self { batch, output, .. } = self;
        if let Some(progress) = self.left_at {
            return progress;
        }
        let Some(first) = output.first() else { return batch.progress() };
        let (index, begin) = match &batch.batches {
            Some(batches) if batches.has_shares() => (batches.first_share(), batches.first_share_begin()),
            _ => (batch.place(), batch.first),
        };
        let record = if first.input_index == u32::MAX { begin } else { first.input_index };
        // What is written behind the last record comes when the output of that record is finished.
        let is_behind = matches!(batch.stage, Stage::Given | Stage::Announced)
            && !batch.in_record
            && output.is_unfinished()
            && index == batch.place()
            && record.wrapping_add(1) == batch.taken;
        if is_behind { batch.progress() } else { Progress { batch: index, record, offset: Some(first.input_offset) } }
    }

    /// Notes the progress before the batch is dropped.
    pub fn note_progress(&mut self) {
        self.left_at = Some(self.progress());
    }
}
