//! Where an engine's output goes: the host's callback.
#![allow(unsafe_code)]

use super::owned::{Owned, host_data};
use crate::base::number::wasm_callback_result_number;
use crate::host::call::{Ended, wasm_call};
use core::ffi::c_void;

/// One output record, as the host sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_output_record {
    /// Key, value and headers in the encoding of a Kafka record; `wasm_payload_read` takes them apart.
    pub payload: *const u8,
    /// Bytes of the payload.
    pub payload_size: u32,
    /// Index of the topic in the factory's `output_topics`.
    pub topic: u32,
    /// Offset of the input record that the guest was working on when it wrote this one.
    pub input_offset: i64,
    /// Timestamp of that input record, milliseconds since 1970.
    pub input_timestamp: i64,
}

/// Receives the output of one `wasm_engine_transform`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_output_sink {
    /// `sizeof(wasm_output_sink)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`; called exactly once for every sink that was given to `wasm_engine_transform`, also if that failed.
    /// May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes a block of `count` records, at least one, in the order in which the guest wrote them, and answers with a
    /// `wasm_callback_result`.
    ///
    /// Called by `wasm_future_poll`, on the engine's thread and the host's own stack. The records and their payloads can
    /// be read until the callback returns. If it answers pending, they can be read, and the guest does not run, until the
    /// promise is settled or the operation ends because its future was released or its engine stopped or released; `drop`
    /// tells of that end, so whoever reads the records on another thread must have finished when `drop` returns.
    ///
    /// The callback must not throw. Functions that would change the state of the same engine, or poll or release a future of
    /// it, answer `WASM_STATUS_BUSY`.
    pub records: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            records: *const wasm_output_record,
            count: usize,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
}

host_data!(wasm_output_sink);

/// A sink that is owned.
pub struct OutputSink(Owned<wasm_output_sink>);

impl OutputSink {
    /// Takes over a host's sink.
    pub fn new(sink: Owned<wasm_output_sink>) -> Self {
        Self(sink)
    }

    /// Whether there is a callback.
    pub fn is_complete(&self) -> bool {
        self.0.records.is_some()
    }

    /// Hands a block over.
    pub fn accept(&self, records: &[wasm_output_record]) -> Ended {
        let Some(callback) = self.0.records else { return Ended::Failed("the output sink has no callback".into()) };
        let mut call = wasm_call::of_sink();
        // SAFETY: the host gave function and data together, and promised that it may be called on this thread until
        // `drop`. The records are a slice that outlives the call, and so does `call`.
        let answer = unsafe { callback(self.0.data, records.as_ptr(), records.len(), &raw mut call) };
        call.ended(answer, "the output sink")
    }
}
