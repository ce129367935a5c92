//! A promise lets a callback return before its work is done. The callback takes it from its `wasm_call`, returns
//! `WASM_CALLBACK_RESULT_PENDING` and settles it later on any thread.

use super::error::wasm_error;
use super::{boundary, first_size, take};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::host::call::{Continuation, Settled, wasm_continuation, wasm_promise};
use crate::host::slice::{self, CallScope, wasm_slice};
use crate::host::value::wasm_value;
use crate::promise::oneshot::Wake as _;

pub(crate) fn boxed(promise: wasm_promise) -> *mut wasm_promise {
    Box::into_raw(Box::new(promise))
}

/// Resolves a promise that expects no value. Wakes the future that waits for it.
///
/// On any thread but by one thread at a time. Each promise is settled once and then released.
/// `WASM_STATUS_PROMISE_SETTLED` if it was settled before. `WASM_STATUS_INVALID_ARGUMENT` if it expects something else.
/// It is not settled then. If the engine has been stopped or released, nothing happens and the status is OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve(promise: *mut wasm_promise, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| settle(scope, promise, Settled::Values(Vec::new())))
}

/// Resolves the promise of a host function with its results: as many and of such types as its signature has. Also
/// resolves that of a schema registry's `create_schema` with one I32: the id. Otherwise as `wasm_promise_resolve`.
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
        settle(scope, promise, Settled::Values(fallible::copy(values)?))
    })
}

/// Resolves the promise of a host function with code that runs later on the engine's thread, where it can use the
/// guest's memory. `continuation` is copied. Its `data` is taken over in any case. Otherwise as `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve_with(
    promise: *mut wasm_promise,
    continuation: *const wasm_continuation,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so. All zeros is valid.
        let continuation = unsafe { take(continuation, first_size!(wasm_continuation, run), "continuation")? };
        if continuation.run.is_none() {
            return Err(Error::new(wasm_status::NullArgument, "the continuation's callback run is NULL"));
        }
        settle(scope, promise, Settled::Continue(Continuation::new(continuation)))
    })
}

/// Rejects the promise. `reason` becomes the text of the error. Its first 8 KiB are kept. Bytes of it that are not
/// UTF-8 are written as `\xNN`. Otherwise as `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_reject(
    promise: *mut wasm_promise,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| settle(scope, promise, Settled::Rejected(reason.reason(scope)?)))
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
    // From here on the promise is not touched. The waker may cause its release.
    if let Some(waker) = waker {
        waker.wake();
    }
    Ok(())
}

/// Frees the promise. A promise that was not settled counts as rejected. Any thread. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_release(promise: *mut wasm_promise) {
    if !promise.is_null() {
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that the promise came from the library and is released once.
            drop(unsafe { Box::from_raw(promise) });
            Ok(())
        });
    }
}
