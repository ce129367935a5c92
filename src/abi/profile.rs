//! A profile shows where a guest spends its time. For development and for diagnosis in production.

use super::bytes::wasm_bytes;
use super::engine::{engine_on_this_thread, wasm_engine};
use super::error::wasm_error;
use super::{Out, boundary, memory_is_there};
use crate::base::status::wasm_status;
use crate::guest::profile::INTERVAL;
use std::time::Duration;

/// Starts to profile the engine's guest. From now until `wasm_engine_finish_profile` the guest's stack is sampled every
/// `interval_ns` nanoseconds in which the guest runs. 0 means 1,000,000. In any state of the engine. The profile
/// continues when the engine is stopped and started again. Releasing the engine drops it. So does `wasm_engine_replace`
/// together with the old guest. The users of a shared engine share its profile.
///
/// Samples are taken at ticks, of which a time slice has two. So the real interval is not shorter than that. A sample
/// is taken where the guest next loops or calls a function. So time in host functions appears at their callers or not
/// at all. A sample takes about a microsecond and some more for each frame on the engine's thread. It takes 70 bytes.
/// The first 1,048,576 samples are kept. None is taken while memory is short. Engines without a profile pay nothing.
///
/// `WASM_STATUS_INVALID_STATE` if the engine is being profiled already or is a custom engine.
/// `WASM_STATUS_INVALID_ARGUMENT` if the interval is more than ten seconds. `WASM_STATUS_BUSY` from one of the engine's
/// own callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_start_profile(
    engine: *mut wasm_engine,
    interval_ns: u64,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let interval = if interval_ns == 0 { INTERVAL } else { Duration::from_nanos(interval_ns) };
        let engine = engine_on_this_thread(scope, engine)?;
        memory_is_there()?;
        engine.engine.start_profile(interval)
    })
}

/// Ends the engine's profile and returns it as a JSON document in the processed format of Firefox's profiler, which
/// https://profiler.firefox.com shows. Function names are those of the module. Functions without a name are called
/// `function N` with their index. The document has no addresses and none of the guest's data.
///
/// `json` gets text. Release it with `wasm_bytes_release`. `WASM_STATUS_INVALID_STATE` if the engine is not being
/// profiled. `WASM_STATUS_BUSY` from one of the engine's own callbacks. Takes some milliseconds per thousand samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_finish_profile(
    engine: *mut wasm_engine,
    json: *mut *mut wasm_bytes,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let engine = engine_on_this_thread(scope, engine)?;
        let out = Out::new(json, "json")?;
        memory_is_there()?;
        let profile = engine.engine.finish_profile()?;
        out.set(wasm_bytes::of(profile));
        Ok(())
    })
}
