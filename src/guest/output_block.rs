//! A block of output: records with their payloads, in memory that a thread keeps for the next one.

use super::control::{Control, native};
use super::position::Position;
use crate::batch::entries::{self, Segment};
use crate::batch::{chunk, fallible};
use crate::host::sink::wasm_output_record;
use crate::metrics::meter::Passed;
use core::cell::{Cell, RefCell};
use std::rc::Rc;

/// Records with their payloads. A delivery of this size costs nothing per record. It stays in a core's second-level
/// cache between the guest's write and the host's read.
#[derive(Debug, Default)]
pub struct Block {
    /// All of them can be written.
    pub records: Vec<wasm_output_record>,
    /// How many of them are used.
    pub count: usize,
    /// A chunk, or as large as one record.
    payloads: Vec<u8>,
    /// Full ones before it. All of them are of one input record, whose output is delivered as a whole.
    pub before: Vec<Vec<u8>>,
    /// Bytes of payloads in those.
    pub before_size: usize,
    /// Payloads before this are delivered.
    begin: usize,
    /// Where the next payload goes.
    pub end: usize,
    /// For the entries of the batch whose output this is. Taken and given back in one with the block.
    pub segment: Option<Segment>,
}

/// Bytes of a record without its payload.
pub const ENTRY: usize = size_of::<wasm_output_record>();

/// Records of a block. With their payloads they take two chunks.
pub const MOST_RECORDS: usize = chunk::SIZE / ENTRY;

/// A block counts as full at this size.
pub const BLOCK_SIZE: usize = 2 * chunk::SIZE;

/// Blocks that a thread keeps: 640 KiB with a segment each.
const MOST_KEPT: usize = 4;

const NO_RECORD: wasm_output_record = wasm_output_record {
    payload: core::ptr::null(),
    payload_size: 0,
    topic: 0,
    input_offset: 0,
    input_timestamp: 0,
    input_index: 0,
    ordinal: 0,
};

/// The input record that output belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// Its index, and the output's ordinal.
    pub position: Position,
}

/// The blocks that a thread keeps. Each engine of the thread refers to them: in a library that is loaded at run time an
/// access to thread-local memory is a call, and each batch would need two.
#[derive(Default)]
pub struct FreeBlocks {
    /// The one that was given back last. Nearly always there is no other.
    last: Cell<Option<Box<Block>>>,
    #[allow(clippy::vec_box)] // moved with each batch
    others: RefCell<Vec<Box<Block>>>,
}

thread_local! {
    static FREE: Rc<FreeBlocks> = Rc::default();
}

/// Frees the blocks that this thread keeps.
pub fn release_kept() {
    let _ = FREE.try_with(|free| (free.last.take(), free.others.take()));
}

/// How many blocks this thread keeps.
#[cfg(test)]
pub fn kept() -> usize {
    FREE.with(|free| {
        let last = free.last.take();
        let count = usize::from(last.is_some()) + free.others.borrow().len();
        free.last.set(last);
        count
    })
}

impl FreeBlocks {
    /// This thread's. At the thread's very end nothing is kept beyond the engine.
    pub fn of_thread() -> Rc<Self> {
        FREE.try_with(Rc::clone).unwrap_or_default()
    }

    /// An empty block with room for a payload of `size` bytes. None if the allocator refuses it.
    #[inline]
    pub fn take(&self, size: usize) -> Option<Box<Block>> {
        if size <= chunk::SIZE
            && let Some(block) = self.last.take()
        {
            return Some(block);
        }
        self.take_other(size)
    }

    #[cold]
    fn take_other(&self, size: usize) -> Option<Box<Block>> {
        if size <= chunk::SIZE
            && let Ok(mut others) = self.others.try_borrow_mut()
            && let Some(block) = others.pop()
        {
            return Some(block);
        }
        Block::new(size)
    }

    /// Keeps a block for the next batch unless it is an unusual one or there are enough.
    #[inline]
    pub fn give_back(&self, mut block: Box<Block>) {
        block.clear();
        if !block.is_usual() {
            if let Some(segment) = block.segment.take() {
                entries::give_back(segment);
            }
            return;
        }
        if let Some(other) = self.last.replace(Some(block)) {
            self.keep_other(other);
        }
    }

    #[cold]
    fn keep_other(&self, block: Box<Block>) {
        if let Ok(mut others) = self.others.try_borrow_mut()
            && others.len() + 1 < MOST_KEPT
            && fallible::reserve(&mut others, 1).is_ok()
        {
            others.push(block);
        }
    }
}

impl Block {
    /// As `FreeBlocks::take`.
    fn new(size: usize) -> Option<Box<Self>> {
        let (count, size) = if size > chunk::SIZE { (1, size) } else { (MOST_RECORDS, chunk::SIZE) };
        let mut records = chunk::reserved(count).ok()?;
        records.resize(count, NO_RECORD);
        let payloads = chunk::zeroed(size).ok()?;
        Some(Box::new(Self { records, payloads, ..Self::default() }))
    }

    /// Makes room for a payload of `size` bytes. None if the allocator refuses it.
    pub fn grow(&mut self, size: usize) -> Option<()> {
        fallible::reserve(&mut self.before, 1).ok()?;
        let payloads = chunk::zeroed(size.max(chunk::SIZE)).ok()?;
        self.before.push(core::mem::replace(&mut self.payloads, payloads));
        self.before_size += self.end - self.begin;
        (self.begin, self.end) = (0, 0);
        Some(())
    }

    /// Bytes as the limit counts them.
    #[inline(always)]
    pub fn size(&self) -> usize {
        self.before_size + self.end - self.begin + self.count * ENTRY
    }

    /// Whether it has the size of those that a thread keeps and no others before it.
    #[inline]
    pub fn is_usual(&self) -> bool {
        self.before.is_empty() && self.payloads.len() == chunk::SIZE && self.records.len() == MOST_RECORDS
    }

    /// Keeps a segment with the block. The thread gets the one that is there.
    #[inline]
    pub fn keep(&mut self, segment: Option<Segment>) {
        if let Some(segment) = segment
            && let Some(other) = self.segment.replace(segment)
        {
            entries::give_back(other);
        }
    }

    /// Appends a record if there is room.
    #[inline(always)]
    pub fn push(&mut self, payload: &[u8], topic: u32, origin: Origin, most: usize) -> Option<()> {
        let end = self.end + payload.len();
        if end + (self.count + 1) * ENTRY > most {
            return None;
        }
        let place = self.payloads.get_mut(self.end..end)?;
        *self.records.get_mut(self.count)? = wasm_output_record {
            payload: place.as_ptr(),
            payload_size: payload.len() as u32,
            topic,
            input_offset: origin.offset,
            input_timestamp: origin.timestamp,
            input_index: origin.position.index(),
            ordinal: origin.position.ordinal(),
        };
        self.count += 1;
        self.end = end;
        place.copy_from_slice(payload);
        Some(())
    }

    /// Lets a guest's code go on behind what is there. `finished` records are.
    #[inline]
    pub fn open(&mut self, control: &Control, finished: usize) {
        let (records, payloads) = (native(self.records.as_mut_ptr().cast()), native(self.payloads.as_mut_ptr()));
        control.payload.set(payloads + self.end as u64);
        control.payload_end.set(payloads + self.payloads.len() as u64);
        control.record.set(records + (self.count * ENTRY) as u64);
        control.record_end.set(records + (self.records.len() * ENTRY) as u64);
        control.finished.set(records + (finished * ENTRY) as u64);
    }

    /// Takes over what a guest's code has written. Returns how many records are finished.
    #[inline]
    pub fn observe(&mut self, control: &Control) -> usize {
        let (records, payloads) = (native(self.records.as_mut_ptr().cast()), native(self.payloads.as_mut_ptr()));
        self.end = (control.payload.get() - payloads) as usize;
        self.count = (control.record.get() - records) as usize / ENTRY;
        (control.finished.get() - records) as usize / ENTRY
    }

    /// Where the payloads of the first `count` records end.
    pub fn end_of(&self, count: usize) -> usize {
        match count.checked_sub(1).and_then(|last| self.records.get(last)) {
            Some(last) => last.payload.addr() - self.payloads.as_ptr().addr() + last.payload_size as usize,
            None => self.begin,
        }
    }

    /// Drops the content.
    #[inline]
    pub fn clear(&mut self) {
        (self.count, self.begin, self.end) = (0, 0, 0);
        if !self.before.is_empty() {
            self.before = Vec::new();
            self.before_size = 0;
        }
    }

    /// The first `count` records were taken.
    pub fn consume(&mut self, count: usize, end: usize) -> Passed {
        let passed = Passed { records: count as u64, bytes: (self.before_size + end - self.begin) as u64 };
        if count == self.count {
            self.clear();
        } else {
            // The payloads of the others stay where they are. None of them is in those before.
            self.before = Vec::new();
            self.before_size = 0;
            self.records.copy_within(count..self.count, 0);
            self.count -= count;
            self.begin = end;
        }
        passed
    }
}
