//! `wasm_promise_*`: how a callback answers later.

use super::error::wasm_error;
use super::slice::wasm_slice;
use super::{Out, border, handle_mut};
use crate::error::{Error, Result};
use crate::oneshot::Wake as _;
use crate::sink::{Settled, wasm_call, wasm_promise};
use crate::status::wasm_status;

/// Takes the promise of the call that a callback is in, which then answers `WASM_ANSWER_PENDING`. To be settled exactly
/// once, on any thread, and released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_promise(
    call: *mut wasm_call,
    promise: *mut *mut wasm_promise,
    error: *mut *mut wasm_error,
) -> wasm_status {
    border(error, || {
        let call = handle_mut(call, "call")?;
        let out = Out::new(promise, "promise")?;
        out.set(Box::into_raw(Box::new(call.promise())));
        Ok(())
    })
}

/// Keeps the promise: what was asked for is done. Wakes the waiting future, if it waits.
///
/// On any thread, by one thread at a time. `WASM_STATUS_PROMISE_SETTLED` if it was settled before. If the engine has been
/// stopped or released, nothing happens and the status is OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve(promise: *mut wasm_promise, error: *mut *mut wasm_error) -> wasm_status {
    border(error, || settle(promise, Ok(())))
}

/// Breaks the promise; `reason` is text for the error of the operation that waits. Else as `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_reject(
    promise: *mut wasm_promise,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    border(error, || settle(promise, Err(reason.text("reason")?.to_owned())))
}

fn settle(promise: *mut wasm_promise, value: Settled) -> Result<()> {
    let waker = handle_mut(promise, "promise")?
        .sender
        .send(value)
        .ok_or_else(|| Error::new(wasm_status::PromiseSettled, "the promise was settled before"))?;
    // From here on the promise is not touched: whoever wakes up may release it.
    if let Some(waker) = waker {
        waker.wake();
    }
    Ok(())
}

/// Frees the promise. One that was not settled counts as rejected. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_release(promise: *mut wasm_promise) {
    if !promise.is_null() {
        border(core::ptr::null_mut(), || {
            // SAFETY: the header says that it is a promise that the library gave out, released once.
            drop(unsafe { Box::from_raw(promise) });
            Ok(())
        });
    }
}
