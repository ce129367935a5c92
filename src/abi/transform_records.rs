//! Records instead of a batch. For hosts that have records and no Kafka batch: proxies, MQTT brokers, clients of NATS and
//! of Kafka. Nothing is packed, compressed or checked by a CRC. Everything else is as with `wasm_engine_transform`.

use super::engine::{poll_at_once, reference, wasm_engine};
use super::error::wasm_error;
use super::future::{taken, wasm_future};
use super::{Out, boundary, first_size, memory_is_not_short, sized, take};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::batch::input::{LentRecords, wasm_record};
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
    /// The index of the first record that the guest gets. Default 0. As for `wasm_transform_args`. The records before it
    /// are not looked at.
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
/// at least 0 and at most 2,147,483,647, `max_timestamp` is the largest timestamp, `record_count` the number of records,
/// `attributes` is 0, and −1 stands for leader epoch, producer and sequence.
///
/// `future` fails with `WASM_STATUS_RECORD_INVALID` if a record has a field that is NULL with a size, a size below −1, a
/// header whose key is null or headers that are NULL with a count. It fails with `WASM_STATUS_BATCH_TOO_LARGE` if the
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
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let (args, sink) = unsafe { read(args)? };
        let engine = reference(scope, engine)?;
        let out = Out::new(future, "future")?;
        let number = begin(&engine, args, sink)?;
        out.set(wasm_future::operation(engine, Some(number)));
        Ok(())
    })
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
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let waker = unsafe { taken(waker) };
        // SAFETY: the header says so.
        let (args, sink) = unsafe { read(args)? };
        let engine = reference(scope, engine)?;
        let state = Out::new(state, "state")?;
        let future = Out::new(future, "future")?;
        let number = begin(&engine, args, sink)?;
        poll_at_once(engine, number, waker, state, future)
    })
}

/// To be called first so that the sink is dropped on every path.
///
/// # Safety
///
/// As the header says.
#[inline(always)]
unsafe fn read(args: *const wasm_transform_records_args) -> Result<(wasm_transform_records_args, OutputSink)> {
    // SAFETY: the header says so. All zeros is valid for both.
    unsafe {
        let args = sized(args, first_size!(wasm_transform_records_args, first_record), "args")?;
        Ok((args, OutputSink::new(take(args.sink, first_size!(wasm_output_sink, records), "sink")?)))
    }
}

/// Begins a transform. Returns the operation's number.
#[inline(always)]
fn begin(engine: &wasm_engine, args: wasm_transform_records_args, sink: OutputSink) -> Result<u64> {
    if !sink.is_complete() {
        return Err(Error::new(wasm_status::NullArgument, "the sink's callback records is NULL"));
    }
    if args.record_count > i32::MAX as usize {
        let count = args.record_count;
        return Err(Error::invalid(format!("record_count is {count}; a call has at most {} records", i32::MAX)));
    }
    memory_is_not_short()?;
    // SAFETY: the header asks for an array that stays unchanged until the operation has completed. `'static` stands for
    // that here: the engine drops its references when the operation completes, is cancelled or ends with a panic.
    let records = unsafe { array(args.records, args.record_count, "records")? };
    // SAFETY: the header says the same of headers and fields. Those that cannot be read are refused when the record is
    // encoded.
    let records = unsafe { LentRecords::new(records) };
    engine.engine.transform(records.into(), args.first_record, None, sink)
}
