//! Records instead of a batch. For hosts that have records and no Kafka batch: proxies, MQTT brokers, clients of NATS
//! and of Kafka. Nothing is packed, compressed or checked by a CRC. Everything else is as with `wasm_engine_transform`.

use super::engine::wasm_engine;
use super::error::wasm_error;
use super::first_size;
use super::future::wasm_future;
use super::transform::{TransformArgs, begin_and_poll, begin_with_future};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::batch::input::{LentRecords, wasm_record};
use crate::engine::seat::Seat;
use crate::host::sink::{OutputSink, wasm_output_sink};
use crate::host::slice::array;
use crate::host::waker::wasm_waker;

/// Records for the guest and the destination of their output.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_transform_records_args {
    /// `sizeof(wasm_transform_records_args)`.
    pub size: usize,
    /// The records in the order in which the guest gets them. The array, the headers and the bytes of all fields are
    /// borrowed. They must stay unchanged until the operation has completed, as the batch of `wasm_transform_args`.
    pub records: *const wasm_record,
    /// Number of records. At most 2,147,483,647. With 0 the guest gets a batch without records.
    pub record_count: usize,
    /// Receives the output as for `wasm_transform_args`.
    pub sink: *const wasm_output_sink,
    /// The index of the first record that the guest gets. Default 0. As for `wasm_transform_args`. The records before
    /// it are not looked at.
    pub first_record: u32,
}

/// Gives the guest records as if they were one batch.
///
/// Polls encode the records before the guest sees any of them. That copies each record once into memory of the
/// thread's, in steps between which the poll may yield. All records together may take `max_batch_size` bytes. Of a
/// record that is key, value and headers with a byte or two for each length. An entry of 32 bytes for each of the first
/// 130,816 records comes on top.
///
/// A record's offset and timestamp are passed to the guest, to the output and to errors as they are. They need not be
/// in an order and may be negative. The guest sees a batch header with these values: `base_offset` and `base_timestamp`
/// are those of the first record of the array, `last_offset_delta` is the last record's offset less `base_offset` but
/// at least 0 and at most 2,147,483,647, `max_timestamp` is the largest timestamp, `record_count` the number of
/// records,
/// `attributes` is 0, and −1 stands for leader epoch, producer and sequence.
///
/// `future` fails with `WASM_STATUS_RECORD_INVALID` if a record has a field that is NULL with a size, a size below −1,
/// a header whose key is null or headers that are NULL with a count. It fails with `WASM_STATUS_BATCH_TOO_LARGE` if the
/// records take more than `max_batch_size`. The message has the record's index. As with a batch that is refused nothing
/// has reached the guest and the engine is idle as before.
///
/// Policies, restarts, hot swaps, shared and custom engines and metrics treat the records as a batch. A custom engine
/// gets an empty `batch` and reads the records with `wasm_work_next`.
///
/// Errors of the call itself are those of `wasm_engine_transform`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform_records(
    engine: *mut wasm_engine,
    args: *const wasm_transform_records_args,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    // SAFETY: the header says so.
    unsafe { begin_with_future(engine, args, future, error) }
}

/// `wasm_engine_transform_records` and the first `wasm_future_poll` in one call, as `wasm_engine_transform_and_poll`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform_records_and_poll(
    engine: *mut wasm_engine,
    args: *const wasm_transform_records_args,
    waker: *const wasm_waker,
    state: *mut wasm_poll,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    // SAFETY: the header says so.
    unsafe { begin_and_poll(engine, args, waker, state, future, error) }
}

// SAFETY: integers and pointers, the size first.
unsafe impl TransformArgs for wasm_transform_records_args {
    const FIRST_SIZE: usize = first_size!(wasm_transform_records_args, first_record);

    #[inline(always)]
    fn sink(&self) -> *const wasm_output_sink {
        self.sink
    }

    #[inline(always)]
    unsafe fn begin(self, engine: &Seat, sink: OutputSink) -> Result<u64> {
        if self.record_count > i32::MAX as usize {
            let count = self.record_count;
            return Err(Error::invalid(format!("record_count is {count}; a call has at most {} records", i32::MAX)));
        }
        // SAFETY: the header asks for an array that stays unchanged until the operation has completed. `'static` stands
        // for that here: the engine drops its references when the operation completes, is cancelled or ends with a
        // panic.
        let records = unsafe { array(self.records, self.record_count, "records")? };
        // SAFETY: the header says the same of headers and fields. Those that cannot be read are refused when the record
        // is encoded.
        let records = unsafe { LentRecords::new(records) };
        engine.transform(records.into(), self.first_record, None, sink)
    }
}
