//! Several batches in one call. When more than one batch waits for an engine, this takes a fraction of the time of one
//! `wasm_engine_transform` after the other: between two batches that are small the guest is not suspended.

use super::engine::wasm_engine;
use super::error::wasm_error;
use super::future::wasm_future;
use super::transform::{TransformArgs, begin_and_poll, begin_with_future};
use super::{Out, boundary, first_size};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::engine::seat::Seat;
use crate::guest::batches::Batches;
use crate::host::call::wasm_call;
use crate::host::sink::{OutputSink, wasm_output_batch, wasm_output_sink};
use crate::host::slice::{array, wasm_slice};
use crate::host::waker::wasm_waker;

/// Batches for the guest and the destination of their output.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_transform_many_args {
    /// `sizeof(wasm_transform_many_args)`.
    pub size: usize,
    /// The batches in the order in which the guest gets them. Each is as for `wasm_transform_args`: borrowed and
    /// unchanged until the operation has completed. The array itself is copied and need only live during the call.
    pub batches: *const wasm_slice,
    /// Number of batches. At least 1.
    pub batch_count: usize,
    /// Receives the output of all batches as for `wasm_transform_args`. `wasm_call_output_batches` tells it apart. The
    /// sink is dropped once, after the last batch.
    pub sink: *const wasm_output_sink,
    /// The index of the first record of the first batch that the guest gets. Default 0. Of the other batches the guest
    /// gets all records.
    pub first_record: u32,
}

/// Gives the guest several record batches, one after the other, as one operation.
///
/// Each batch is transformed as by `wasm_engine_transform` of its own: checked as a whole before the guest sees it,
/// announced to the guest by its own header, with time limits and a policy that count for its records. The operation is
/// one: it has one future, one sink and one turn of a shared engine. A hot swap comes before or after it. Time slices
/// are those of the polls: each yields when its slice has ended, however many batches that took.
///
/// Output comes in the order of the batches. A block may have output of several. When a poll is ready or pending or has
/// failed, the sink has been given all output of the batches that have completed. A poll that yields in the middle of a
/// batch may leave some of it to a later one. Otherwise the first batch waits for the others of its time slice at most.
///
/// The operation ends with the first failure. `batch_index` of `wasm_error_info` is the batch, and the message names
/// it. The batches before it have completed and the sink has their output. Those behind it have not been begun. If the
/// batch was refused, the engine is idle and the host continues behind it. If the guest failed, the engine is stopped.
/// Then the host starts it and continues with that batch and `first_record`, or behind it. With a policy the record is
/// skipped or becomes a dead letter, the guest starts again, and both the rest of its batch and the batches behind it
/// follow. When the sink fails, `batch_index` is the first batch of the block that was not taken.
///
/// Errors of the call itself are those of `wasm_engine_transform`. `WASM_STATUS_INVALID_ARGUMENT` also if there is no
/// batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform_many(
    engine: *mut wasm_engine,
    args: *const wasm_transform_many_args,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    // SAFETY: the header says so.
    unsafe { begin_with_future(engine, args, future, error) }
}

/// `wasm_engine_transform_many` and the first `wasm_future_poll` in one call, as `wasm_engine_transform_and_poll`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_transform_many_and_poll(
    engine: *mut wasm_engine,
    args: *const wasm_transform_many_args,
    waker: *const wasm_waker,
    state: *mut wasm_poll,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    // SAFETY: the header says so.
    unsafe { begin_and_poll(engine, args, waker, state, future, error) }
}

// SAFETY: integers and pointers, the size first.
unsafe impl TransformArgs for wasm_transform_many_args {
    const FIRST_SIZE: usize = first_size!(wasm_transform_many_args, first_record);

    #[inline(always)]
    fn sink(&self) -> *const wasm_output_sink {
        self.sink
    }

    #[inline(always)]
    unsafe fn begin(self, engine: &Seat, sink: OutputSink) -> Result<u64> {
        let count = self.batch_count;
        if u32::try_from(count).is_err() {
            return Err(Error::invalid(format!("batch_count is {count}; a call has at most {} batches", u32::MAX)));
        }
        // SAFETY: the header says that the array can be read for the call.
        let slices = unsafe { array(self.batches, count, "batches")? };
        // SAFETY: the header asks for batches that stay unchanged until the operation has completed. `'static` stands
        // for that here: the engine drops its references when the operation completes, is cancelled or ends with a
        // panic.
        let mut all = slices.iter().map(|slice| unsafe { slice.outliving("batches") });
        match slices.len() {
            0 => Err(Error::invalid("batch_count is 0; a call has at least one batch")),
            1 => engine.transform(all.next().transpose()?.unwrap_or_default().into(), self.first_record, None, sink),
            _ => {
                let batches = Batches::new(count, all)?;
                engine.transform(batches.first().into(), self.first_record, Some(batches), sink)
            }
        }
    }
}

/// Writes where the records of a sink's block come from: `*count` runs of records at `*batches`, in the order of the
/// block. Their `record_count` add up to the block's. They are valid as long as the block. A batch without output is in
/// none. A block of `wasm_engine_transform` has one run, with batch 0.
///
/// `WASM_STATUS_INVALID_ARGUMENT` if `call` is not that of an output sink.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_output_batches(
    call: *const wasm_call,
    batches: *mut *const wasm_output_batch,
    count: *mut usize,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let call = scope.handle(call, "call")?;
        let batches = Out::new(batches, "batches")?;
        let number = Out::new(count, "count")?;
        let (found, found_count) = call
            .output_batches()
            .ok_or_else(|| Error::invalid("only the call of an output sink has batches with output"))?;
        batches.set(found.as_ptr().cast_const());
        number.set(found_count);
        Ok(())
    })
}
