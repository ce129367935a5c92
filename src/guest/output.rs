//! Output records on their way from a guest to its host. They are collected in a buffer and delivered in blocks.

use crate::host::sink::wasm_output_record;
use crate::metrics::meter::Passed;

/// What happened to a record that a guest wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the buffer.
    Stored,
    /// The buffer must be delivered to the host first.
    Full,
    /// It is larger than the whole buffer may be.
    TooLarge,
}

/// The buffer of one engine.
///
/// The output of an input record is delivered as a whole and only when the guest has finished that record. So a record
/// on which the guest fails leaves no output behind. Only a record whose output exceeds the limit is delivered in
/// parts.
///
/// While the buffer fills, each record's `payload` holds an offset into `bytes` because `bytes` may still move. `block`
/// turns offsets into pointers.
#[derive(Debug)]
pub struct OutputBuffer {
    /// All of it can be written. `filled` says how much is used.
    bytes: Vec<u8>,
    filled: usize,
    records: Vec<wasm_output_record>,
    /// The part that belongs to finished input records.
    finished: Extent,
    /// The part that `block` gave out.
    given: Extent,
    /// What the host has accepted since the last `take_accepted`.
    accepted: Passed,
    block_size: usize,
    limit: usize,
}

/// A front part of the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    records: usize,
    bytes: usize,
}

/// A block is delivered at this size. It is large enough that the delivery costs nothing per record. It is small enough
/// to stay in a core's second-level cache between the guest's write and the host's read.
const BLOCK_SIZE: usize = 128 << 10;
/// How much the buffer grows at once beyond what is wanted.
const LARGEST_STEP: usize = 256 << 10;
const ENTRY: usize = size_of::<wasm_output_record>();

impl OutputBuffer {
    /// An empty buffer that never holds more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            filled: 0,
            records: Vec::new(),
            finished: Extent::default(),
            given: Extent::default(),
            accepted: Passed::default(),
            block_size: BLOCK_SIZE.min(limit),
            limit,
        }
    }

    /// Appends a record if there is room. Inlined even with several callers: a call per record costs some thirty
    /// instructions.
    #[inline(always)]
    pub fn push(&mut self, payload: &[u8], topic: u32, input_offset: i64, input_timestamp: i64) -> Pushed {
        let at = self.filled;
        let end = at + payload.len();
        let would_be = end + (self.records.len() + 1) * ENTRY;
        if would_be > self.block_size {
            let refused = self.make_room(payload.len(), would_be);
            if refused != Pushed::Stored {
                return refused;
            }
        }
        if end > self.bytes.len() {
            self.grow(end);
        }
        self.filled = end;
        self.records.push(wasm_output_record {
            payload: core::ptr::without_provenance(at),
            payload_size: payload.len() as u32,
            topic,
            input_offset,
            input_timestamp,
        });
        self.bytes[at..end].copy_from_slice(payload);
        Pushed::Stored
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, wanted: usize) {
        let len = self.bytes.len();
        // Doubled but limited so that a guest does not wait long for zeros. `wanted` never exceeds the limit.
        let to = wanted.max((len + len.min(LARGEST_STEP)).min(self.limit));
        self.bytes.reserve_exact(to - len);
        self.bytes.resize(to, 0);
    }

    /// Whether a record may be stored although it does not fit into the block.
    fn make_room(&self, size: usize, would_be: usize) -> Pushed {
        if size > self.limit {
            Pushed::TooLarge
        } else if self.finished.records > 0 || would_be > self.limit && !self.records.is_empty() {
            Pushed::Full
        } else {
            Pushed::Stored
        }
    }

    /// Bytes that a record may have.
    #[inline]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The content of the buffer belongs to finished input records.
    #[inline]
    pub fn mark_finished(&mut self) {
        self.finished = Extent { records: self.records.len(), bytes: self.filled };
    }

    /// Drops the output of the input record that was not finished.
    pub fn drop_unfinished(&mut self) {
        self.records.truncate(self.finished.records);
        self.filled = self.finished.bytes;
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records to deliver: those of finished input records or all if there are none. Their pointers hold until the
    /// buffer changes. Must be followed by `consume` before the next call.
    pub fn block(&mut self) -> &[wasm_output_record] {
        self.given = if self.finished.records > 0 {
            self.finished
        } else {
            Extent { records: self.records.len(), bytes: self.filled }
        };
        let base = self.bytes.as_ptr();
        let block = &mut self.records[..self.given.records];
        for record in &mut *block {
            record.payload = base.wrapping_add(record.payload.addr());
        }
        block
    }

    /// Drops the records that `block` returned. Keeps the memory.
    pub fn consume(&mut self) {
        let given = core::mem::take(&mut self.given);
        self.finished = Extent::default();
        self.accepted.records += given.records as u64;
        self.accepted.bytes += given.bytes as u64;
        self.bytes.copy_within(given.bytes..self.filled, 0);
        self.filled -= given.bytes;
        self.records.drain(..given.records);
        for record in &mut self.records {
            record.payload = record.payload.wrapping_sub(given.bytes);
        }
    }

    /// What was delivered and consumed since the last call.
    #[inline]
    pub fn take_accepted(&mut self) -> Passed {
        core::mem::take(&mut self.accepted)
    }

    /// Frees memory that giant records took. For the end of a batch: growing again for every block would cost more than
    /// everything else.
    pub fn trim(&mut self) {
        if self.records.is_empty() && self.bytes.len() > 4 * self.block_size {
            self.bytes = Vec::new();
        }
    }

    /// Frees the memory.
    pub fn release(&mut self) {
        self.bytes = Vec::new();
        self.filled = 0;
        self.records = Vec::new();
        self.finished = Extent::default();
        self.given = Extent::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn finished_records_are_delivered_at_the_block_size() {
        let mut buffer = OutputBuffer::new(LIMIT);
        let payload = [7u8; 1000];
        let mut stored = 0;
        while buffer.push(&payload, 0, stored, 0) == Pushed::Stored {
            stored += 1;
            if stored == 50 {
                buffer.mark_finished();
            }
        }
        assert_eq!(stored as usize, BLOCK_SIZE / (1000 + ENTRY));
        assert_eq!(buffer.push(&payload, 0, 0, 0), Pushed::Full);
        assert_eq!(buffer.block().len(), 50);
        buffer.consume();
        assert_eq!(buffer.push(&payload, 0, stored, 0), Pushed::Stored);
        buffer.mark_finished();
        let offsets: Vec<_> = buffer.block().iter().map(|r| r.input_offset).collect();
        assert_eq!(offsets, (50..=stored).collect::<Vec<_>>());
        assert_eq!(buffer.records[0].payload, buffer.bytes.as_ptr(), "the rest moved to the front");
        buffer.consume();
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_output_of_one_record_grows_up_to_the_limit_and_is_then_delivered_in_parts() {
        let mut buffer = OutputBuffer::new(LIMIT);
        let payload = [7u8; 10_000];
        let mut stored = 0;
        while buffer.push(&payload, 0, 0, 0) == Pushed::Stored {
            stored += 1;
        }
        assert_eq!(stored, LIMIT / (10_000 + ENTRY));
        assert!(buffer.bytes.capacity() <= LIMIT, "the limit is one of memory: {}", buffer.bytes.capacity());
        assert_eq!(buffer.block().len(), stored);
        buffer.consume();
        assert!(buffer.is_empty());
    }

    #[test]
    fn one_record_may_be_as_large_as_the_limit() {
        let mut buffer = OutputBuffer::new(LIMIT);
        assert_eq!(buffer.push(&vec![1; LIMIT], 0, 0, 0), Pushed::Stored);
        assert_eq!(buffer.push(&[], 0, 0, 0), Pushed::Full);
        buffer.block();
        buffer.consume();
        assert_eq!(buffer.push(&vec![1; LIMIT + 1], 0, 0, 0), Pushed::TooLarge);
        assert!(buffer.is_empty());
    }

    #[test]
    fn unfinished_output_can_be_dropped() {
        let mut buffer = OutputBuffer::new(LIMIT);
        assert_eq!(buffer.push(b"one", 0, 10, 1), Pushed::Stored);
        buffer.mark_finished();
        assert_eq!(buffer.push(b"two", 1, 11, 2), Pushed::Stored);
        buffer.drop_unfinished();
        let block = buffer.block();
        assert_eq!(block.len(), 1);
        assert_eq!((block[0].input_offset, block[0].payload_size), (10, 3));
    }
}
