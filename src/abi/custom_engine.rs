//! Custom engines run the host's own callbacks instead of a guest: native transforms, remote ones or dummies for tests.

use super::error::wasm_error;
use super::factory::{Taken, check_custom, description, wasm_factory, wasm_factory_config};
use super::runtime::wasm_runtime;
use super::{Out, boundary, first_size, memory_is_there, promise, sized, take};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::batch::payload;
use crate::compile::factory::Compiled;
use crate::guest::custom::{Callbacks, wasm_custom_engine, wasm_work};
use crate::host::call::{Settled, wasm_call, wasm_promise};
use crate::host::slice::wasm_slice;
use std::sync::Arc;

/// An input record as a custom engine sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_input_record {
    /// Key, value and headers in the encoding of a Kafka record. `wasm_payload_read` parses them. Can be read until the
    /// operation's last callback result or `stop`. NULL when there is no record left.
    pub payload: *const u8,
    /// Bytes of the payload.
    pub payload_size: u32,
    /// Index in the batch. Counted from 0.
    pub index: u32,
    /// Kafka offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// Makes a factory of engines that run the callbacks of `engine` instead of a guest. Any thread.
///
/// `config` is as for `wasm_factory_create`, but its environment is not used. Of the limits `output_buffer_limit` and
/// those of the log hold. `memory_limit` is what metrics tell. It has no module, no other limits, no rights and no host
/// functions: these are `WASM_STATUS_INVALID_ARGUMENT`. `engine` is copied.
/// Its `data` is taken over in any case except `WASM_STATUS_INVALID_STRUCT_SIZE`, where it cannot be read.
/// `WASM_STATUS_NULL_ARGUMENT` if `transform` is NULL. `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8`
/// for a module, names and topics.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_create_custom(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_config,
    engine: *const wasm_custom_engine,
    factory: *mut *mut wasm_factory,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // First of all, so that the data is dropped on every path.
        // SAFETY: the header says so. All zeros is valid.
        let callbacks = unsafe { take(engine, first_size!(wasm_custom_engine, memory_size), "engine") };
        // SAFETY: as above.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config") };
        // They are refused below. Their data is dropped at the end.
        let _taken = config.as_ref().ok().map(|config| Taken::new(scope, config));
        let (callbacks, config) = (Callbacks::new(callbacks?), config?);
        let runtime = &scope.handle(runtime, "runtime")?.runtime;
        let out = Out::new(factory, "factory")?;
        if !callbacks.is_complete() {
            return Err(Error::new(wasm_status::NullArgument, "the custom engine's callback transform is NULL"));
        }
        check_custom(scope, &config)?;
        memory_is_there()?;
        let transform = description(scope, &runtime.shared.config, &config)?;
        let compiled = Arc::new(Compiled::custom(runtime.shared.clone(), callbacks, transform)?);
        out.set(Arc::into_raw(Arc::new(wasm_factory { compiled })).cast_mut());
        Ok(())
    })
}

/// Takes the next record of the batch. The first one has index `first_record`. The previous record counts as finished:
/// its output may go to the host and no failure names it any more. After the last record `record->payload` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_work_next(
    work: *mut wasm_work,
    record: *mut wasm_input_record,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let work = scope.handle(work, "work")?;
        let out = Out::new(record, "record")?;
        out.set(match work.next() {
            Some((index, record)) => wasm_input_record {
                payload: record.payload.as_ptr(),
                payload_size: record.payload.len() as u32,
                index,
                offset: record.offset,
                timestamp: record.timestamp,
            },
            None => {
                wasm_input_record { payload: core::ptr::null(), payload_size: 0, index: 0, offset: 0, timestamp: 0 }
            }
        });
        Ok(())
    })
}

/// Writes one output record for the input record that was taken last. `topic` is an index into the factory's output
/// topics. `payload` is key, value and headers in the encoding of a Kafka record. It is copied.
///
/// The output of an input record goes to the host's sink as a whole when the next record is taken or the batch is done.
/// `WASM_STATUS_OUTPUT_FULL` if the earlier output must go to the host first. Nothing is written then. Return
/// `WASM_CALLBACK_RESULT_AGAIN` and write the record in the next call. `WASM_STATUS_BATCH_MALFORMED` if `payload` is no
/// payload. `WASM_STATUS_INVALID_ARGUMENT` for an unknown topic and for a record larger than `output_buffer_limit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_work_write(
    work: *mut wasm_work,
    payload: wasm_slice,
    topic: u32,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let work = scope.handle(work, "work")?;
        let bytes = payload.bytes(scope, "payload")?;
        if !payload::is_valid(bytes) {
            let why = "the payload is not key, value and headers and nothing else";
            return Err(Error::new(wasm_status::BatchMalformed, why));
        }
        work.write(bytes, topic)
    })
}

/// As `wasm_call_fail` in a custom engine's `transform`, which fails at the record with index `index`. That is the
/// record that was taken last or a later one. Those before it are finished. Policies continue behind it.
/// `WASM_STATUS_INVALID_ARGUMENT` in callbacks that are not a custom engine's. In `create` and `start` of a custom
/// engine there is no record and the index is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_fail_record(
    call: *mut wasm_call,
    index: u32,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let why = reason.reason(scope)?;
        if scope.handle_mut(call, "call")?.fail_at(why, checked(index)?) {
            return Ok(());
        }
        Err(Error::invalid("only a custom engine's calls fail at a record"))
    })
}

/// As `wasm_call_fail_record` in a custom engine that lost what it runs on, such as its connection to another computer.
/// The operation fails with `WASM_STATUS_CUSTOM_ENGINE_LOST` under every policy and no record is skipped. The error
/// names the record with index `index`: the host starts the engine again and continues from that record. Records before
/// it are finished. Output of the record itself is not delivered. In `start` a policy with a timer tries again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_lose_engine(
    call: *mut wasm_call,
    index: u32,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let why = reason.reason(scope)?;
        if scope.handle_mut(call, "call")?.lose_at(why, checked(index)?) {
            return Ok(());
        }
        Err(Error::invalid("only a custom engine's calls lose their engine"))
    })
}

/// Rejects the promise of a custom engine's `transform` at the record with index `index` as `wasm_call_fail_record`.
/// Otherwise as `wasm_promise_reject`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_reject_record(
    promise: *mut wasm_promise,
    index: u32,
    reason: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        promise::settle(scope, promise, Settled::RejectedAt(reason.reason(scope)?, checked(index)?))
    })
}

/// No batch has so many records that the next index would overflow.
fn checked(index: u32) -> Result<u32> {
    if index > i32::MAX as u32 {
        return Err(Error::invalid(format!("index is {index}; no batch has so many records")));
    }
    Ok(index)
}
