//! The batches of an operation that has several. The guest gets the next one in its call of `read_batch_header`. It is
//! not suspended there unless there is something to do for the host before.

use super::batch::Batch;
use super::context::{Context, Suspended};
use super::work::Work;
use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::batch::fallible;
use crate::host::sink::{wasm_output_batch, wasm_output_record};
use core::cell::Cell;

/// Batches whose output can share a block.
const MOST_SHARED: usize = 256;

/// Batches of an operation for which a thread keeps the memory: 6 KiB with those of a block.
const MOST_KEPT: usize = 256;

thread_local! {
    static SPARE: Cell<Option<Box<Batches>>> = const { Cell::new(None) };
}

/// Frees the memory that this thread keeps.
pub fn release_kept() {
    let _ = SPARE.try_with(Cell::take);
}

/// What a batch is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes that a batch may have, decompressed or not.
    pub max_batch_size: usize,
    /// Whether the CRC is compared.
    pub check_crc: bool,
}

impl Rules {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self { max_batch_size: config.max_batch_size, check_crc: config.check_crc }
    }
}

/// The batches of one operation and which of them is the current one.
#[derive(Debug, Default)]
pub struct Batches {
    /// All of them, as the host gave them.
    all: Vec<&'static [u8]>,
    /// Index of the current one.
    index: usize,
    /// Records in the block of output by batch. Those of the current batch are not in it before the block is delivered.
    shares: Vec<wasm_output_batch>,
    /// Records that `shares` has.
    shared: usize,
    /// The first record that a guest gets of the batch that `shares` begins with.
    begin: u32,
    /// The current batch was refused while the guest waited for it.
    refusal: Option<Error>,
}

impl Batches {
    /// Batches that are to be given one after the other. There is at least one.
    pub fn new(count: usize, batches: impl Iterator<Item = Result<&'static [u8]>>) -> Result<Box<Self>> {
        let mut new = SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        fallible::reserve(&mut new.all, count)?;
        fallible::reserve(&mut new.shares, count.min(MOST_SHARED))?;
        for batch in batches {
            new.all.push(batch?);
        }
        Ok(new)
    }

    /// The first batch.
    pub fn first(&self) -> &'static [u8] {
        self.all.first().copied().unwrap_or_default()
    }

    /// Index of the current batch.
    pub fn index(&self) -> u32 {
        self.index as u32
    }

    /// The batch before the current one.
    pub fn before(&self) -> Option<&'static [u8]> {
        self.all.get(self.index.checked_sub(1)?).copied()
    }

    /// Whether another batch follows.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.index + 1 < self.all.len()
    }

    /// How many batches are not completed. The current one is among them.
    pub fn left(&self) -> usize {
        self.all.len() - self.index
    }

    /// Bytes of those.
    pub fn bytes_left(&self) -> usize {
        self.all.iter().skip(self.index).map(|batch| batch.len()).sum()
    }

    /// Whether the block has output of batches before the current one.
    #[inline]
    pub fn has_shares(&self) -> bool {
        self.shared > 0
    }

    /// Goes to the next batch. The block has `records` records, which belong to the batches so far. A guest got those
    /// of the current one from `first` on.
    #[inline]
    fn advance(&mut self, records: usize, first: u32) -> Option<&'static [u8]> {
        let next = *self.all.get(self.index + 1)?;
        if self.shared == 0 {
            self.begin = first;
        }
        self.share(records);
        self.index += 1;
        Some(next)
    }

    /// What is in the block and not in `shares` belongs to the current batch.
    #[inline]
    fn share(&mut self, records: usize) {
        let count = records.saturating_sub(self.shared);
        if count > 0 && self.shares.len() < self.shares.capacity() {
            self.shares.push(wasm_output_batch { batch: self.index as u32, record_count: count as u32 });
            self.shared = records;
        }
    }

    /// Index of the batch of the first record that is being delivered.
    pub fn first_share(&self) -> u32 {
        self.shares.first().map_or(self.index as u32, |share| share.batch)
    }

    /// The first record that a guest got of that batch.
    pub fn first_share_begin(&self) -> u32 {
        self.begin
    }

    /// The block was delivered.
    #[inline]
    pub fn consume(&mut self) {
        self.shares.clear();
        self.shared = 0;
    }

    /// Keeps the memory for the thread's next operation.
    pub fn give_back(mut self: Box<Self>) {
        if self.all.capacity() > MOST_KEPT {
            return;
        }
        self.all.clear();
        self.index = 0;
        self.consume();
        self.refusal = None;
        let _ = SPARE.try_with(|spare| spare.set(Some(self)));
    }
}

impl Batch {
    /// Index of the batch in the operation if that has several.
    pub fn index(&self) -> Option<u32> {
        self.batches.as_ref().map(|batches| batches.index())
    }

    /// Whether there are records that were not taken or batches that were not begun.
    pub fn has_more(&self) -> bool {
        self.left() > 0 || self.has_next()
    }

    /// Whether another batch follows.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.batches.as_ref().is_some_and(|batches| batches.has_next())
    }

    /// Batches that are not completed.
    pub fn batches_left(&self) -> usize {
        self.batches.as_ref().map_or(1, |batches| batches.left())
    }

    /// Bytes of those.
    pub fn bytes_left(&self) -> usize {
        self.batches.as_ref().map_or(self.input.size(), |batches| batches.bytes_left())
    }

    /// The refusal of the current batch, which was found while the guest waited for it.
    pub fn take_refusal(&mut self) -> Option<Error> {
        self.batches.as_mut()?.refusal.take()
    }

    /// Begins with the next batch if there is one. The output has `records` records of those before.
    #[inline]
    pub fn begin_next(&mut self, records: usize) -> bool {
        let Some(bytes) = self.batches.as_mut().and_then(|batches| batches.advance(records, self.first)) else {
            return false;
        };
        self.begin(bytes, 0);
        true
    }
}

impl Work {
    /// Whether output of completed batches waits for that of the next ones.
    pub fn holds_completed(&self) -> bool {
        self.batch.batches.as_ref().is_some_and(|batches| batches.has_shares())
    }

    /// Whether the output can wait for that of the next batch.
    #[inline]
    pub fn can_hold(&self) -> bool {
        match &self.batch.batches {
            Some(batches) => self.output.is_one_block() && batches.shares.len() + 1 < batches.shares.capacity(),
            None => false,
        }
    }

    /// Begins with the next batch if there is one.
    pub fn begin_next(&mut self) -> bool {
        self.batch.begin_next(self.output.count())
    }

    /// The current batch has ended. Gives the next one if that takes one step and there is nothing to do before.
    /// Otherwise tells what the guest waits for.
    #[inline]
    pub fn give_next(&mut self, context: &Context) -> Result<(), Suspended> {
        if !self.batch.has_next()
            || !self.can_hold()
            || !self.batch.records.free_some()
            || context.run_time.turn_is_over()
        {
            return Err(Suspended::ForBatch);
        }
        self.begin_next();
        match self.check(context.rules) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Suspended::ForCheck),
            Err(refusal) => {
                if let Some(batches) = &mut self.batch.batches {
                    batches.refusal = Some(refusal);
                }
                Err(Suspended::ForCheck)
            }
        }
    }

    /// The next block of output is to be delivered.
    #[inline]
    pub fn prepare_block(&mut self) {
        let records = self.output.prepare_block();
        match &mut self.batch.batches {
            Some(batches) => batches.share(records),
            None => self.only.record_count = records as u32,
        }
    }

    /// That block and, by batch, its records. `consume` must follow.
    #[inline]
    pub fn block(&self) -> (&[wasm_output_record], &[wasm_output_batch]) {
        let shares = match &self.batch.batches {
            Some(batches) => &batches.shares,
            None => core::slice::from_ref(&*self.only),
        };
        (self.output.block(), shares)
    }

    /// Drops the block. Whether there is another one to be delivered.
    #[inline]
    pub fn consume(&mut self) -> bool {
        if let Some(batches) = &mut self.batch.batches {
            batches.consume();
        }
        self.output.consume()
    }

    /// The batch of the output that is being delivered, if the operation has several.
    pub fn delivered_batch(&self) -> Option<u32> {
        self.batch.batches.as_ref().map(|batches| batches.first_share())
    }
}
