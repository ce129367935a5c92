//! What the targets that call the C interface have in common.

use crate::abi::error::{wasm_error, wasm_error_message};
use crate::abi::factory::{wasm_factory, wasm_factory_config, wasm_factory_create};
use crate::abi::future::{wasm_future_poll, wasm_future_release, wasm_future_take_factory};
use crate::abi::runtime::wasm_runtime;
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status as Status;
use crate::host::slice::wasm_slice;
use core::ffi::CStr;
use core::ptr::{null, null_mut};
use std::thread;

/// Bytes as an argument. They are borrowed.
pub fn slice(bytes: &[u8]) -> wasm_slice {
    wasm_slice { data: bytes.as_ptr(), size: bytes.len() }
}

/// A table of the header with everything at its default.
///
/// # Safety
///
/// All zeros is a valid `T`: integers, pointers and functions that may be NULL.
pub unsafe fn zeroed<T>() -> T {
    // SAFETY: the caller's promise.
    unsafe { core::mem::zeroed() }
}

/// What must succeed before a script begins.
///
/// # Safety
///
/// The error is one of the library's if the status is not OK.
pub unsafe fn expect_ok(status: Status, error: *mut wasm_error) {
    if status != Status::Ok {
        // SAFETY: the caller's promise.
        let message = unsafe { CStr::from_ptr(wasm_error_message(error)) };
        panic!("{status:?}: {message:?}");
    }
}

/// A factory when its module is compiled.
///
/// # Safety
///
/// As `wasm_factory_create`.
pub unsafe fn compiled(runtime: *mut wasm_runtime, config: &wasm_factory_config) -> *mut wasm_factory {
    let (mut future, mut factory, mut error) = (null_mut(), null_mut(), null_mut());
    let mut state = wasm_poll::Pending;
    // SAFETY: as the header has it.
    unsafe {
        expect_ok(wasm_factory_create(runtime, config, &mut future, &mut error), error);
        while state != wasm_poll::Ready {
            expect_ok(wasm_future_poll(future, null(), &mut state, &mut error), error);
            thread::yield_now();
        }
        expect_ok(wasm_future_take_factory(future, &mut factory, &mut error), error);
        expect_ok(wasm_future_release(future, &mut error), error);
    }
    factory
}
