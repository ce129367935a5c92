//! What the exports that begin a transform have in common.

use super::engine::{reference, wasm_engine};
use super::error::wasm_error;
use super::future::{taken, wasm_future};
use super::{Out, boundary, first_size, memory_is_not_short, sized, take};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::engine::seat::Seat;
use crate::host::sink::{OutputSink, wasm_output_sink};
use crate::host::waker::{Waker, wasm_waker};
use std::rc::Rc;

/// Arguments of a transform.
///
/// # Safety
///
/// All zeros is a valid value. The first field is the size.
pub unsafe trait TransformArgs: Copy {
    /// Bytes that the first version of the struct had.
    const FIRST_SIZE: usize;

    /// Where the host's sink is.
    fn sink(&self) -> *const wasm_output_sink;

    /// Begins the transform. Returns the operation's number.
    ///
    /// # Safety
    ///
    /// What the arguments point to is as the header says.
    unsafe fn begin(self, engine: &Seat, sink: OutputSink) -> Result<u64>;
}

/// Begins a transform whose future the host polls.
///
/// # Safety
///
/// As the header says.
#[inline(always)]
pub unsafe fn begin_with_future<A: TransformArgs>(
    engine: *mut wasm_engine,
    args: *const A,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let (args, sink) = unsafe { read(args)? };
        let engine = reference(scope, engine)?;
        let out = Out::new(future, "future")?;
        // SAFETY: as above.
        let number = unsafe { begin(&engine, args, sink)? };
        out.set(wasm_future::operation(engine, Some(number)));
        Ok(())
    })
}

/// Begins a transform and polls it once.
///
/// # Safety
///
/// As the header says.
#[inline(always)]
pub unsafe fn begin_and_poll<A: TransformArgs>(
    engine: *mut wasm_engine,
    args: *const A,
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
        // SAFETY: as above.
        let number = unsafe { begin(&engine, args, sink)? };
        poll_at_once(engine, number, waker, state, future)
    })
}

/// To be called first so that the sink is dropped on every path.
///
/// # Safety
///
/// As the header says.
#[inline(always)]
unsafe fn read<A: TransformArgs>(args: *const A) -> Result<(A, OutputSink)> {
    // SAFETY: the header says so. All zeros is valid for both.
    unsafe {
        let args = sized(args, A::FIRST_SIZE, "args")?;
        Ok((args, OutputSink::new(take(args.sink(), first_size!(wasm_output_sink, records), "sink")?)))
    }
}

/// # Safety
///
/// As the header says.
#[inline(always)]
unsafe fn begin<A: TransformArgs>(engine: &wasm_engine, args: A, sink: OutputSink) -> Result<u64> {
    if !sink.is_complete() {
        return Err(Error::new(wasm_status::NullArgument, "the sink's callback records is NULL"));
    }
    memory_is_not_short()?;
    // SAFETY: as above.
    unsafe { args.begin(&engine.engine, sink) }
}

/// The first poll of a transform that has just begun.
#[inline(always)]
fn poll_at_once(
    engine: Rc<wasm_engine>,
    number: u64,
    waker: Waker,
    state: Out<wasm_poll>,
    future: Out<*mut wasm_future>,
) -> Result<()> {
    let polled = match engine.engine.poll(number, waker) {
        Ok(wasm_poll::Ready) => {
            future.set(core::ptr::null_mut());
            state.set(wasm_poll::Ready);
            return Ok(());
        }
        Ok(polled) => polled,
        Err(e) if e.status.had_no_effect() => wasm_poll::Yielded,
        Err(e) => return Err(e),
    };
    future.set(wasm_future::operation(engine, Some(number)));
    state.set(polled);
    Ok(())
}
