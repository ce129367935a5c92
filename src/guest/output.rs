//! Output records on their way from a guest to its host. They are collected in blocks of the thread's and delivered
//! block by block.

use super::control::Control;
use super::output_block::{BLOCK_SIZE, Block, ENTRY, FreeBlocks, Origin};
use crate::batch::entries::Segment;
use crate::host::sink::wasm_output_record;
use crate::metrics::meter::Passed;
use std::collections::VecDeque;
use std::rc::Rc;

/// What happened to a record that a guest wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the buffer.
    Stored,
    /// The buffer must be delivered to the host first.
    Full,
    /// It is larger than the whole buffer may be.
    TooLarge,
    /// The allocator refused memory for it.
    OutOfMemory,
}

/// The output of one engine that the host does not have yet.
///
/// The output of an input record is delivered as a whole and only when the guest has finished that record. So a record
/// on which the guest fails leaves no output behind. Only a record whose output exceeds the limit is delivered in
/// parts.
///
/// Payloads never move. So the records point to them from the beginning.
pub struct OutputBuffer {
    /// The block that fills.
    block: Option<Box<Block>>,
    /// Full blocks before it, with more records of one input record than a block has.
    full: VecDeque<Box<Block>>,
    /// Bytes of the full blocks as the limit counts them.
    held: usize,
    /// The part that belongs to finished input records.
    finished: Extent,
    /// What the host has accepted since the last `take_accepted`.
    accepted: Passed,
    /// Bytes that the block may have, as the limit counts them.
    block_size: usize,
    limit: usize,
    /// Where blocks come from and go to.
    free: Rc<FreeBlocks>,
}

/// A front part of the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    /// Full blocks.
    blocks: usize,
    /// Records of the block behind them.
    records: usize,
    /// Where their payloads end in that block.
    end: usize,
}

impl OutputBuffer {
    /// An empty buffer that never holds more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            block: None,
            full: VecDeque::new(),
            held: 0,
            finished: Extent::default(),
            accepted: Passed::default(),
            block_size: BLOCK_SIZE.min(limit),
            limit,
            free: FreeBlocks::of_thread(),
        }
    }

    /// Appends a record if there is room. Inlined even with several callers: a call per record costs some thirty
    /// instructions.
    #[inline(always)]
    pub fn push(&mut self, payload: &[u8], topic: u32, origin: Origin) -> Pushed {
        if let Some(block) = &mut self.block
            && block.push(payload, topic, origin, self.block_size).is_some()
        {
            return Pushed::Stored;
        }
        self.push_on(payload, topic, origin)
    }

    /// The record does not fit into the block. Takes another block if the record may be stored.
    #[cold]
    #[inline(never)]
    fn push_on(&mut self, payload: &[u8], topic: u32, origin: Origin) -> Pushed {
        let size = payload.len();
        if size > self.limit {
            return Pushed::TooLarge;
        }
        if self.finished.blocks > 0 || self.finished.records > 0 {
            return Pushed::Full;
        }
        let there = self.held + self.block.as_ref().map_or(0, |block| block.size());
        if !self.is_empty() && there + size + ENTRY > self.limit {
            return Pushed::Full;
        }
        if let Some(block) = &mut self.block
            && block.count > 0
            && block.count < block.records.len()
        {
            // Output of one input record. It stays in one block.
            let Some(()) = block.grow(size) else { return Pushed::OutOfMemory };
            self.hold_before();
            let Some(block) = &mut self.block else { return Pushed::OutOfMemory };
            return match block.push(payload, topic, origin, usize::MAX) {
                Some(()) => Pushed::Stored,
                None => Pushed::OutOfMemory,
            };
        }
        if self.full.len() == self.full.capacity() && self.full.try_reserve(1).is_err() {
            return Pushed::OutOfMemory;
        }
        let Some(mut block) = self.free.take(size) else { return Pushed::OutOfMemory };
        // A record as large as the limit may be the only one.
        let Some(()) = block.push(payload, topic, origin, usize::MAX) else { return Pushed::OutOfMemory };
        if let Some(before) = self.block.replace(block) {
            if before.count == 0 {
                self.free.give_back(before);
            } else {
                self.hold(self.held + before.size());
                self.full.push_back(before);
            }
        }
        Pushed::Stored
    }

    /// The full blocks have so many bytes.
    fn hold(&mut self, held: usize) {
        self.held = held;
        self.hold_before();
    }

    /// The block has other payloads before its own.
    fn hold_before(&mut self) {
        let before = self.held + self.block.as_ref().map_or(0, |block| block.before_size);
        self.block_size = BLOCK_SIZE.min(self.limit.saturating_sub(before));
    }

    /// Bytes that a record may have.
    #[inline]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The content of the buffer belongs to finished input records.
    #[inline]
    pub fn mark_finished(&mut self) {
        if let Some(block) = &self.block {
            self.finished = Extent { blocks: self.full.len(), records: block.count, end: block.end };
        }
    }

    /// Drops the output of the input record that was not finished. Returns the ordinal of the first record of it: the
    /// host has those before.
    pub fn drop_unfinished(&mut self) -> Option<u32> {
        let Extent { blocks, records, end } = self.finished;
        let block = self.full.get(blocks).or(self.block.as_ref());
        let dropped = block.and_then(|block| block.records.get(..block.count)?.get(records)).map(|first| first.ordinal);
        while self.full.len() > blocks {
            let before = self.full.pop_back();
            if let Some(block) = core::mem::replace(&mut self.block, before) {
                self.free.give_back(block);
            }
        }
        match &mut self.block {
            Some(block) if records == 0 => block.clear(),
            Some(block) => (block.count, block.end) = (records, end),
            None => {}
        }
        self.hold(self.full.iter().map(|block| block.size()).sum());
        dropped
    }

    /// The guest writes into the block by itself. Only into a usual one, whose size is a limit.
    #[inline]
    pub fn open(&mut self, control: &Control) {
        if self.block_size == BLOCK_SIZE
            && self.full.is_empty()
            && let Some(block) = &mut self.block
            && block.is_usual()
        {
            block.open(control, self.finished.records);
        } else {
            control.close_output();
        }
    }

    /// What the guest has written by itself. `read` says that it has also read a record since the last look.
    #[inline]
    pub fn observe(&mut self, control: &Control, read: bool) {
        if control.record.get() == 0 {
            // It writes by calls. What is there was written before the read.
            if read {
                self.mark_finished();
            }
        } else if let Some(block) = &mut self.block {
            let records = block.observe(control);
            self.finished = Extent { blocks: 0, records, end: block.end_of(records) };
        }
    }

    /// Whether the buffer is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.block.as_ref().is_none_or(|block| block.count == 0)
    }

    /// Records of the block that fills.
    #[inline]
    pub fn count(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.count)
    }

    /// Whether all of the output is in the block that fills.
    #[inline]
    pub fn is_one_block(&self) -> bool {
        self.full.is_empty()
    }

    /// Makes the next block: of records of finished input records, or of all records if there are none. Returns how
    /// many they are.
    #[inline]
    pub fn prepare_block(&mut self) -> usize {
        if self.is_unfinished() {
            self.mark_finished();
        }
        self.block().len()
    }

    /// Whether nothing belongs to finished input records.
    #[inline]
    pub fn is_unfinished(&self) -> bool {
        self.finished.blocks == 0 && self.finished.records == 0
    }

    /// The first record that the host does not have.
    pub fn first(&self) -> Option<&wasm_output_record> {
        let block = self.full.front().or(self.block.as_ref())?;
        block.records.get(..block.count)?.first()
    }

    /// The block to deliver. The pointers hold until `consume`, which must follow. It says whether there is another
    /// block.
    #[inline]
    pub fn block(&self) -> &[wasm_output_record] {
        let (block, count) = match (self.full.front(), &self.block) {
            (Some(block), _) if self.finished.blocks > 0 => (block, block.count),
            (_, Some(block)) => (block, self.finished.records),
            _ => return &[],
        };
        block.records.get(..count).unwrap_or_default()
    }

    /// Drops the records that `block` returned. Whether there are more to be delivered.
    #[inline]
    pub fn consume(&mut self) -> bool {
        let passed = if self.finished.blocks > 0 {
            self.consume_full()
        } else {
            let Extent { records, end, .. } = core::mem::take(&mut self.finished);
            let has_grown = self.block.as_ref().is_some_and(|block| !block.before.is_empty());
            let passed = self.block.as_mut().map(|block| block.consume(records, end)).unwrap_or_default();
            if has_grown {
                self.hold_before();
            }
            passed
        };
        self.accepted.records += passed.records;
        self.accepted.bytes += passed.bytes;
        self.finished.blocks > 0 || self.finished.records > 0
    }

    #[cold]
    fn consume_full(&mut self) -> Passed {
        self.finished.blocks -= 1;
        let Some(mut block) = self.full.pop_front() else { return Passed::default() };
        self.hold(self.held - block.size());
        let passed = block.consume(block.count, block.end);
        self.free.give_back(block);
        passed
    }

    /// What was delivered and consumed since the last call.
    #[inline]
    pub fn take_accepted(&mut self) -> Passed {
        core::mem::take(&mut self.accepted)
    }

    /// Takes a block before there is output: a batch comes. Its segment is for the batch's entries.
    #[inline]
    pub fn prepare(&mut self) -> Option<Segment> {
        if self.block.is_none() {
            self.block = self.free.take(0);
        }
        self.block.as_mut()?.segment.take()
    }

    /// Gives the memory to the thread if it is empty. `segment` is one of a batch that has ended.
    #[inline]
    pub fn trim(&mut self, segment: Option<Segment>) {
        if self.is_empty()
            && let Some(mut block) = self.block.take()
        {
            block.keep(segment);
            self.free.give_back(block);
        }
    }

    /// Drops the content and gives the memory to the thread. `segment` is one of a batch that has ended.
    pub fn release(&mut self, segment: Option<Segment>) {
        if let Some(block) = &mut self.block {
            block.keep(segment);
        }
        for block in self.full.drain(..).chain(self.block.take()) {
            self.free.give_back(block);
        }
        self.hold(0);
        self.finished = Extent::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::chunk;
    use crate::guest::output_block::{MOST_RECORDS, kept, release_kept};
    use crate::guest::position::Position;

    const LIMIT: usize = 1 << 20;

    /// The first output of a record.
    fn from(offset: i64, timestamp: i64) -> Origin {
        Origin { offset, timestamp, position: Position::of(offset as u32) }
    }

    /// Delivers all that can be delivered and returns the blocks' input offsets and payloads.
    fn deliver(buffer: &mut OutputBuffer) -> Vec<Vec<(i64, usize)>> {
        let mut blocks = Vec::new();
        loop {
            buffer.prepare_block();
            blocks.push(buffer.block().iter().map(|r| (r.input_offset, r.payload_size as usize)).collect());
            if !buffer.consume() {
                return blocks;
            }
        }
    }

    #[test]
    fn finished_records_are_delivered_at_the_block_size() {
        let mut buffer = OutputBuffer::new(LIMIT);
        let payload = [7u8; 1000];
        let mut stored = 0;
        while buffer.push(&payload, 0, from(stored, 0)) == Pushed::Stored {
            stored += 1;
            if stored == 50 {
                buffer.mark_finished();
            }
        }
        assert_eq!(stored as usize, chunk::SIZE / 1000);
        assert_eq!(buffer.push(&payload, 0, from(0, 0)), Pushed::Full);
        assert_eq!(deliver(&mut buffer), [(0..50).map(|i| (i, 1000)).collect::<Vec<_>>()]);
        assert_eq!(buffer.push(&payload, 0, from(stored, 0)), Pushed::Stored);
        buffer.mark_finished();
        let rest: Vec<_> = deliver(&mut buffer).concat().iter().map(|record| record.0).collect();
        assert_eq!(rest, (50..=stored).collect::<Vec<_>>());
        assert!(buffer.is_empty());
        assert_eq!(buffer.take_accepted(), Passed { records: stored as u64 + 1, bytes: (stored as u64 + 1) * 1000 });
    }

    #[test]
    fn the_output_of_one_record_grows_up_to_the_limit_and_is_then_delivered_in_parts() {
        let mut buffer = OutputBuffer::new(LIMIT);
        let payload = [7u8; 10_000];
        let mut stored = 0;
        while buffer.push(&payload, 0, from(0, 0)) == Pushed::Stored {
            stored += 1;
        }
        assert_eq!(stored, LIMIT / (10_000 + ENTRY));
        assert_eq!(deliver(&mut buffer), [vec![(0, 10_000); stored]], "as a whole");
        assert!(buffer.is_empty() && buffer.held == 0);
        let mut small = 0;
        while buffer.push(b"", 0, from(0, 0)) == Pushed::Stored {
            small += 1;
        }
        assert_eq!(small, LIMIT / ENTRY);
        let blocks = deliver(&mut buffer);
        let (last, others) = blocks.split_last().unwrap();
        assert!(others.iter().all(|block| block.len() == MOST_RECORDS) && last.len() <= MOST_RECORDS);
        assert_eq!(blocks.concat().len(), small);
        assert_eq!(buffer.block_size, BLOCK_SIZE);
    }

    #[test]
    fn one_record_may_be_as_large_as_the_limit() {
        for limit in [LIMIT, chunk::SIZE, 1 << 10] {
            let mut buffer = OutputBuffer::new(limit);
            assert_eq!(buffer.push(&vec![1; limit], 0, from(0, 0)), Pushed::Stored);
            assert_eq!(buffer.push(&[], 0, from(0, 0)), Pushed::Full);
            assert_eq!(deliver(&mut buffer), [[(0, limit)]]);
            assert_eq!(buffer.push(&vec![1; limit + 1], 0, from(0, 0)), Pushed::TooLarge);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn unfinished_output_can_be_dropped() {
        for large in [false, true] {
            let mut buffer = OutputBuffer::new(LIMIT);
            assert_eq!(buffer.push(b"one", 0, from(10, 1)), Pushed::Stored);
            buffer.mark_finished();
            assert_eq!(buffer.push(b"two", 1, from(11, 2)), Pushed::Stored);
            if large {
                // The finished record is delivered first.
                assert_eq!(buffer.push(&[3; 70_000], 1, from(11, 2)), Pushed::Full);
                assert_eq!(deliver(&mut buffer), [[(10, 3)]]);
                assert_eq!(buffer.push(&[3; 70_000], 1, from(11, 2)), Pushed::Stored);
                assert_eq!(buffer.push(b"four", 1, from(11, 2)), Pushed::Stored);
            }
            buffer.drop_unfinished();
            assert_eq!(buffer.block_size, BLOCK_SIZE);
            if large {
                assert!(buffer.is_empty() && buffer.held == 0);
                assert_eq!(buffer.push(b"next", 0, from(12, 1)), Pushed::Stored);
                buffer.mark_finished();
                assert_eq!(deliver(&mut buffer), [[(12, 4)]]);
            } else {
                assert_eq!(deliver(&mut buffer), [[(10, 3)]]);
            }
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn records_of_all_sizes_keep_their_order_and_their_bytes() {
        let mut buffer = OutputBuffer::new(8 * LIMIT);
        let sizes: Vec<usize> = [0, 1, 100, 40_000, chunk::SIZE, 300_000, 7].into_iter().cycle().take(40).collect();
        for (i, &size) in sizes.iter().enumerate() {
            assert_eq!(buffer.push(&vec![i as u8; size], 0, from(i as i64, 0)), Pushed::Stored);
        }
        buffer.mark_finished();
        let mut seen = 0;
        loop {
            buffer.prepare_block();
            for record in buffer.block() {
                // SAFETY: the pointers hold until `consume`.
                #[allow(unsafe_code)]
                let payload = unsafe { core::slice::from_raw_parts(record.payload, record.payload_size as usize) };
                assert!(payload.len() == sizes[seen] && payload.iter().all(|&byte| byte == seen as u8));
                assert_eq!(record.input_offset, seen as i64);
                seen += 1;
            }
            if !buffer.consume() {
                break;
            }
        }
        assert_eq!(seen, sizes.len());
        assert_eq!(buffer.take_accepted().bytes, sizes.iter().sum::<usize>() as u64);
    }

    #[test]
    fn an_idle_buffer_has_no_memory_and_a_thread_keeps_little() {
        release_kept();
        let mut buffers: Vec<_> = (0..10).map(|_| OutputBuffer::new(LIMIT)).collect();
        for buffer in &mut buffers {
            assert_eq!(buffer.push(b"one", 0, from(0, 0)), Pushed::Stored);
            buffer.mark_finished();
        }
        for buffer in &mut buffers {
            deliver(buffer);
            buffer.trim(None);
            assert!(buffer.block.is_none());
        }
        assert_eq!(kept(), 4);
        release_kept();
    }
}
