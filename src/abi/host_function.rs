//! Host functions are functions of the host that guests import and call. Register them on the runtime before it sees
//! its first module, or give them to a factory.

use super::engine::wasm_engine;
use super::error::wasm_error;
use super::runtime::wasm_runtime;
use super::{Out, boundary, first_size, sized};
use super::{lent, memory_is_there, promise};
use crate::base::error::{Error, Result};
use crate::base::number::{wasm_callback_result_number, wasm_value_type_number};
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::guest::host_function::{Callback, HostFunction};
use crate::host::call::{wasm_call, wasm_promise};
use crate::host::owned::Owned;
use crate::host::slice::{self, CallScope, wasm_slice};
use crate::host::value::{MAX_PARAMS, MAX_RESULTS, wasm_value, wasm_value_type};
use core::ffi::c_void;

/// A function of the host.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_host_function {
    /// `sizeof(wasm_host_function)`.
    pub size: usize,
    /// The module that guests import the function from. Not `redpanda_transform`, `redpanda_schema_registry` or
    /// `wasi_snapshot_preview1`.
    pub module: wasm_slice,
    /// The function's name in that module.
    pub name: wasm_slice,
    /// Types of the parameters. At most 32.
    pub params: *const wasm_value_type_number,
    /// Number of `params`.
    pub param_count: usize,
    /// Types of the results. At most 16.
    pub results: *const wasm_value_type_number,
    /// Number of `results`.
    pub result_count: usize,
    /// 1: `call` may return pending, which costs a little with each call. Otherwise 0.
    pub may_wait: u32,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once: when the runtime or factory that has the function and everything made from it are
    /// gone or when the call fails that was given the function. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// The function. Reads `args`, writes `results` and returns a `wasm_callback_result`. Arguments and results are as
    /// in the signature. Failed ends the guest with `WASM_STATUS_HOST_FUNCTION_FAILED` and the text of
    /// `wasm_call_fail`.
    ///
    /// Called on the threads of engines and on the guests' stacks with `host_stack_size` bytes left. Several threads
    /// may call it at once. Its time counts as the guest's. It must not throw and must not block. Calls on its own
    /// engine return `WASM_STATUS_BUSY`.
    pub call: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            call: *mut wasm_call,
            args: *const wasm_value,
            results: *mut wasm_value,
        ) -> wasm_callback_result_number,
    >,
}

fn types(data: *const u32, count: usize, limit: usize, name: &str) -> Result<Vec<wasm_value_type>> {
    if count > limit {
        return Err(Error::invalid(format!("{count} {name} are more than the {limit} that a host function can have")));
    }
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let numbers = unsafe { slice::array(data, count, name)? };
    let ty = |&number: &u32| {
        wasm_value_type::from_number(number)
            .ok_or_else(|| Error::invalid(format!("{name}: {number} is no wasm_value_type")))
    };
    numbers.iter().map(ty).collect()
}

/// Registers a function of the host that guests may import. `function` is copied. Its `data` is taken over in any case.
/// Any thread.
///
/// To be called before the runtime's first `wasm_runtime_validate`, `…_inspect` or `wasm_factory_create`. Afterwards
/// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_INVALID_ARGUMENT` for a name that is taken, a module of the library or an
/// invalid type. A guest that imports the function with another type is refused with
/// `WASM_STATUS_MODULE_IMPORT_SIGNATURE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_register_function(
    runtime: *const wasm_runtime,
    function: *const wasm_host_function,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // First of all, so that the data is dropped on every path.
        // SAFETY: the header says so.
        let given = unsafe { Given::take(function)? };
        let runtime = scope.handle(runtime, "runtime")?;
        memory_is_there()?;
        runtime.runtime.register(given.read(scope)?)
    })
}

/// A host's function whose data the library has.
struct Given {
    table: wasm_host_function,
    callback: Owned<Callback>,
}

impl Given {
    /// Takes the data over.
    ///
    /// # Safety
    ///
    /// `function` is NULL or points to a `wasm_host_function` with its size. The host passed data and callbacks
    /// together and gives the data up.
    unsafe fn take(function: *const wasm_host_function) -> Result<Self> {
        // SAFETY: the caller says so. All zeros is valid.
        let table = unsafe { sized(function, first_size!(wasm_host_function, call), "function")? };
        let drop = table.drop;
        // SAFETY: the caller says so.
        Ok(unsafe { Self::with(table, drop) })
    }

    /// As `take`, but the data stays the host's and is not used.
    ///
    /// # Safety
    ///
    /// `function` is NULL or points to a `wasm_host_function` with its size.
    unsafe fn look_at(function: *const wasm_host_function) -> Result<Self> {
        // SAFETY: the caller says so. All zeros is valid.
        let table = unsafe { sized(function, first_size!(wasm_host_function, call), "function")? };
        // SAFETY: nothing is dropped.
        Ok(unsafe { Self::with(table, None) })
    }

    /// # Safety
    ///
    /// `drop` may be called once with the table's data.
    unsafe fn with(table: wasm_host_function, drop: Option<unsafe extern "C" fn(data: *mut c_void)>) -> Self {
        unsafe extern "C" fn never(_: *mut c_void, _: *mut wasm_call, _: *const wasm_value, _: *mut wasm_value) -> u32 {
            crate::host::call::wasm_callback_result::Failed as u32
        }
        let callback = Callback { data: table.data, drop, call: table.call.unwrap_or(never) };
        // SAFETY: the caller says so.
        Self { table, callback: unsafe { Owned::new(callback) } }
    }

    /// Reads the rest.
    fn read(self, scope: &CallScope) -> Result<HostFunction> {
        let Self { table: f, callback } = self;
        if f.call.is_none() {
            return Err(Error::new(wasm_status::NullArgument, "the host function's callback call is NULL"));
        }
        if f.may_wait > 1 {
            return Err(Error::invalid(format!("may_wait is {}; it must be 0 or 1", f.may_wait)));
        }
        Ok(HostFunction {
            module: f.module.owned(scope, "module")?,
            name: f.name.owned(scope, "name")?,
            params: types(f.params, f.param_count, MAX_PARAMS, "params")?,
            results: types(f.results, f.result_count, MAX_RESULTS, "results")?.into(),
            may_wait: f.may_wait == 1,
            callback,
        })
    }
}

/// The functions of a factory. The data of all of them is taken over, also if one is refused.
pub(crate) fn take_all(
    scope: &CallScope,
    functions: *const *const wasm_host_function,
    count: usize,
) -> Result<Vec<HostFunction>> {
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let functions = unsafe { slice::array(functions, count, "functions")? };
    let room = fallible::vec(functions.len());
    let refused = room.is_err();
    let mut all = room.unwrap_or_default();
    let mut wrong = None;
    for &function in functions {
        // SAFETY: the header says so.
        match unsafe { Given::take(function) }.and_then(|given| given.read(scope)) {
            Ok(function) if !refused => all.push(function),
            Ok(_) => {}
            Err(e) => wrong = wrong.or(Some(e)),
        }
    }
    match wrong {
        _ if refused => Err(Error::out_of_memory()),
        Some(e) => Err(e),
        None => Ok(all),
    }
}

/// The same, but the data stays the host's. The functions cannot be called.
pub(crate) fn look_at_all(
    scope: &CallScope,
    functions: *const *const wasm_host_function,
    count: usize,
) -> Result<Vec<HostFunction>> {
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let functions = unsafe { slice::array(functions, count, "functions")? };
    let mut all = fallible::vec(functions.len())?;
    for &function in functions {
        // SAFETY: the header says so.
        all.push(unsafe { Given::look_at(function)? }.read(scope)?);
    }
    Ok(all)
}

/// Takes the promise of the current call. The callback returns `WASM_CALLBACK_RESULT_PENDING` then. Settle the promise
/// exactly once on any thread and release it. To be called once in a callback: a second promise takes the place of the
/// first one, which then has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_promise(
    call: *mut wasm_call,
    promise: *mut *mut wasm_promise,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let call = scope.handle_mut(call, "call")?;
        let out = Out::new(promise, "promise")?;
        out.set(promise::boxed(call.promise()));
        Ok(())
    })
}

/// Lends a range of the guest's memory for reading and writing until the callback returns. `bytes` gets its first byte.
///
/// `WASM_STATUS_GUEST_BAD_CALL` if the range is not inside the memory: the guest passed a wrong pointer. A callback
/// that then returns failed needs no `wasm_call_fail`. In an output sink and in a schema registry's functions there is
/// no memory to lend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_memory(
    call: *mut wasm_call,
    address: u32,
    size: u32,
    bytes: *mut *mut u8,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let call = scope.handle_mut(call, "call")?;
        let out = Out::new(bytes, "bytes")?;
        let range = call.range(address, size).map_err(|why| Error::new(wasm_status::GuestBadCall, why))?;
        out.set(range.as_ptr());
        Ok(())
    })
}

/// Sets the reason before the callback returns `WASM_CALLBACK_RESULT_FAILED`. The last reason counts. Its first 8 KiB
/// are kept. Bytes that are not UTF-8 are written as `\xNN`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_fail(
    call: *mut wasm_call,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        scope.handle_mut(call, "call")?.fail(reason.reason(scope)?);
        Ok(())
    })
}

/// The engine whose guest is calling. Borrowed. NULL in an output sink.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_engine(call: *const wasm_call) -> *mut wasm_engine {
    lent(|scope| scope.handle(call, "call").map_or(core::ptr::null_mut(), |call| call.engine().cast()))
}

/// What `wasm_engine_set_user_data` attached to that engine. NULL in an output sink.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_user_data(call: *const wasm_call) -> *mut c_void {
    lent(|scope| scope.handle(call, "call").map_or(core::ptr::null_mut(), |call| call.user_data()))
}
