//! `wasm_promise_*`: how a callback answers later.

use super::error::wasm_error;
use super::{boundary, first_size, take};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::host::call::{Continuation, Settled, wasm_continuation, wasm_promise};
use crate::host::slice::{self, CallScope, wasm_slice};
use crate::host::value::wasm_value;
use crate::promise::oneshot::Wake as _;

pub(crate) fn boxed(promise: wasm_promise) -> *mut wasm_promise {
    Box::into_raw(Box::new(promise))
}

/// Keeps a promise that expects no value: what was asked for is done. Wakes the waiting future, if it waits.
///
/// On any thread, by one thread at a time. `WASM_STATUS_PROMISE_SETTLED` if it was settled before;
/// `WASM_STATUS_INVALID_ARGUMENT`, and it is not settled, if it expects something else. If the engine has been stopped or
/// released, nothing happens and the status is OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve(promise: *mut wasm_promise, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| settle(scope, promise, Settled::Values(Vec::new())))
}

/// Keeps the promise of a host function with its results, as many and of such types as its signature has; or that of a
/// schema registry's `create_schema` with one I32, the id. Else as `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve_values(
    promise: *mut wasm_promise,
    values: *const wasm_value,
    count: usize,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says that arrays in arguments can be read for the call.
        let values = unsafe { slice::array(values, count, "values")? };
        settle(scope, promise, Settled::Values(values.to_vec()))
    })
}

/// Keeps the promise of a host function by way of code that runs later, on the engine's thread, when it can use the guest's
/// memory. `continuation` is copied, its `data` taken over in any case. Else as `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve_with(
    promise: *mut wasm_promise,
    continuation: *const wasm_continuation,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so; and all zeros is valid.
        let continuation = unsafe { take(continuation, first_size!(wasm_continuation, run), "continuation")? };
        if continuation.run.is_none() {
            return Err(Error::new(wasm_status::NullArgument, "the continuation's callback run is NULL"));
        }
        settle(scope, promise, Settled::Continue(Continuation::new(continuation)))
    })
}

/// Breaks the promise; `reason` is text for the error of whoever waits, in which bytes that are not UTF-8 are written as
/// `\xNN`. Else as `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_reject(
    promise: *mut wasm_promise,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| settle(scope, promise, Settled::Rejected(reason.escaped(scope, "reason")?)))
}

pub(crate) fn settle(scope: &CallScope, promise: *mut wasm_promise, value: Settled) -> Result<()> {
    let waker = {
        let promise = scope.handle_mut(promise, "promise")?;
        let settled = || Error::new(wasm_status::PromiseSettled, "the promise was settled before");
        if promise.sender.has_sent() {
            return Err(settled());
        }
        promise.expected.check(&value).map_err(Error::invalid)?;
        promise.sender.send(value).ok_or_else(settled)?
    };
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
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that it is a promise that the library gave out, released once.
            drop(unsafe { Box::from_raw(promise) });
            Ok(())
        });
    }
}
