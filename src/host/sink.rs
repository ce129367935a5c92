//! Where an engine's output goes: the host's callback.
#![allow(unsafe_code)]

use super::owned::{Owned, host_data};
use super::parsed_output::{ParsedBlock, wasm_parsed_record};
use crate::base::error::Result;
use crate::base::number::wasm_callback_result_number;
use crate::host::call::{Ended, wasm_call};
use core::cell::Cell;
use core::ffi::c_void;

/// One output record.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_output_record {
    /// Key, value and headers in the encoding of a Kafka record. `wasm_payload_read` parses them.
    pub payload: *const u8,
    /// Bytes of the payload.
    pub payload_size: u32,
    /// Index of the topic in the factory's `output_topics`.
    pub topic: u32,
    /// Offset of the input record that the guest was working on when it wrote this record.
    pub input_offset: i64,
    /// Timestamp of that input record in milliseconds since 1970.
    pub input_timestamp: i64,
    /// Index of that input record in its batch, from 0. `UINT32_MAX` for what a guest writes before it takes a record:
    /// such output belongs to no record, and a guest that is started again within the batch may write it again. What a
    /// guest writes behind the last record belongs to that one.
    pub input_index: u32,
    /// 0, 1, 2 … among the output records of that input record, also if they come in several blocks. So batch, index
    /// and ordinal identify an output record. A dead letter comes behind what the sink has of its record.
    pub ordinal: u32,
}

/// Consecutive records of a block that belong to one batch.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct wasm_output_batch {
    /// Index of the batch in the call. Counted from 0.
    pub batch: u32,
    /// Number of records.
    pub record_count: u32,
}

/// Receives the output of one `wasm_engine_transform`, `wasm_engine_transform_many` or `wasm_engine_transform_records`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_output_sink {
    /// `sizeof(wasm_output_sink)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called exactly once for every sink that was passed to a transform, even if that call failed. On
    /// the engine's thread. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes a block of `count` records in the order in which the guest wrote them. `count` is at least 1. Returns a
    /// `wasm_callback_result`. Of several batches it says with `wasm_call_output_batches` which record is whose.
    ///
    /// Called by `wasm_future_poll` on the engine's thread and on the host's own stack. The records and their
    /// payloads are valid until the callback returns. If the callback takes the promise of `call` with
    /// `wasm_call_promise` and returns pending, they stay valid until the
    /// promise is settled or the operation ends early. The guest does not run during that time. An operation ends
    /// early when its future is released or its engine is stopped or released. `drop` reports that end. A thread that
    /// reads the records must have finished when `drop` returns.
    ///
    /// The callback must not throw. Functions that would change the state of the same engine return
    /// `WASM_STATUS_BUSY`. So do polling and releasing a future of the engine.
    pub records: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            records: *const wasm_output_record,
            count: usize,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
    /// As `records` with each record taken apart. Default NULL. If there is this callback, it gets all output and
    /// `records`, which then may be NULL, gets none. The array and the headers live as long as the payloads. They are
    /// in memory that the library takes for the block: some 90 bytes for a record and 32 for a header. The thread keeps
    /// up to 0.5 MiB of it for the next block. Many headers are taken apart in steps between which the poll may yield.
    /// If the allocator refuses that memory, the operation fails with `WASM_STATUS_OUT_OF_MEMORY` as it does without
    /// memory for the guest's output.
    pub parsed: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            records: *const wasm_parsed_record,
            count: usize,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
}

host_data!(wasm_output_sink);

/// A sink that is owned.
pub struct OutputSink {
    // Dropped first: the host may read the block until its `drop` returns.
    sink: Owned<wasm_output_sink>,
    block: Parsed,
}

/// What the host reads of a block that was taken apart.
#[derive(Default)]
struct Parsed(Cell<Option<Box<ParsedBlock>>>);

impl Drop for Parsed {
    #[inline]
    fn drop(&mut self) {
        if let Some(block) = self.0.take() {
            block.give_back();
        }
    }
}

impl OutputSink {
    /// Takes over a host's sink.
    #[inline]
    pub fn new(sink: Owned<wasm_output_sink>) -> Self {
        Self { sink, block: Parsed::default() }
    }

    /// Whether there is a callback.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.sink.records.is_some() || self.sink.parsed.is_some()
    }

    /// Whether the host wants records taken apart. Then `take_apart` must have ended before `accept`.
    #[inline]
    pub fn wants_parts(&self) -> bool {
        self.sink.parsed.is_some()
    }

    /// Takes some of a block apart. True when all of it is. The same block must come until then. Fails if there is no
    /// memory for that.
    #[inline(never)]
    pub fn take_apart(&self, records: &[wasm_output_record]) -> Result<bool> {
        let mut block = self.block.0.take().unwrap_or_else(ParsedBlock::take);
        let is_whole = block.step(records)?;
        self.block.0.set(Some(block));
        Ok(is_whole)
    }

    /// The host has a block that it did not take at once.
    #[inline]
    pub fn consume(&self) {
        if self.wants_parts() {
            self.reuse();
        }
    }

    /// Frees what a large block had. Keeps what others had for the next one.
    #[inline(never)]
    fn reuse(&self) {
        self.block.0.set(self.block.0.take().and_then(ParsedBlock::reuse));
    }

    /// Hands a block over. `batches` says how many of its records belong to which batch.
    #[inline]
    pub fn accept(&self, records: &[wasm_output_record], batches: &[wasm_output_batch]) -> Ended {
        if self.wants_parts() {
            return self.accept_parsed(batches);
        }
        let Some(callback) = self.sink.records else {
            return Ended::Failed("the output sink has no callback".into());
        };
        let mut call = wasm_call::of_sink(batches);
        // SAFETY: the host passed function and data together and allowed calls on this thread until `drop`. The
        // records are a slice that outlives the call. So does `call`.
        let answer = unsafe { callback(self.sink.data, records.as_ptr(), records.len(), &raw mut call) };
        call.ended_at_once(answer).unwrap_or_else(|mut call| call.ended(answer, SINK))
    }

    #[inline(never)]
    fn accept_parsed(&self, batches: &[wasm_output_batch]) -> Ended {
        let (Some(callback), Some(block)) = (self.sink.parsed, self.block.0.take()) else {
            return Ended::Failed("the output sink has no callback".into());
        };
        let (first, count) = (block.records().as_ptr(), block.records().len());
        // The block is on the heap: it may be read after this has returned.
        self.block.0.set(Some(block));
        let mut call = wasm_call::of_sink(batches);
        // SAFETY: as in `accept`. The block stays in place until the next one or until the sink is dropped.
        let answer = unsafe { callback(self.sink.data, first, count, &raw mut call) };
        let ended = call.ended(answer, SINK);
        if matches!(ended, Ended::Done) {
            self.reuse();
        }
        ended
    }
}

/// What messages call it.
const SINK: &str = "the output sink";
