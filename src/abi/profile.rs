//! `wasm_engine_*_profile`: where a guest spends its time.

use super::bytes::wasm_bytes;
use super::engine::{engine_on_this_thread, wasm_engine};
use super::error::wasm_error;
use super::{Out, boundary};
use crate::base::status::wasm_status;
use crate::guest::profile::INTERVAL;
use std::time::Duration;

/// Begins to profile the engine's guest: from now on its stack is looked at every `interval_ns` nanoseconds in which it
/// runs, or 1,000,000 if that is 0, until `wasm_engine_finish_profile`. In any state; if the engine is stopped and started
/// again, the profile goes on. Releasing the engine throws it away, and so does `wasm_engine_replace`, with the guest that it was
/// of. The users of a shared engine share its profile.
///
/// Looks are taken at the ticks of which a time slice has two, so not more often than that; where a guest loops or calls
/// a function next, so what host functions take is seen at their callers, or not at all. One takes about a microsecond and
/// some more for each frame, on the engine's thread, and 70 bytes; the first 1,048,576 are kept. An engine that is not
/// profiled pays nothing.
///
/// `WASM_STATUS_INVALID_STATE` if the engine is being profiled already or is a custom one, `WASM_STATUS_INVALID_ARGUMENT` if the interval is
/// more than ten seconds, `WASM_STATUS_BUSY` from one of the engine's own callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_start_profile(
    engine: *mut wasm_engine,
    interval_ns: u64,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let interval = if interval_ns == 0 { INTERVAL } else { Duration::from_nanos(interval_ns) };
        engine_on_this_thread(scope, engine)?.engine.start_profile(interval)
    })
}

/// Ends the engine's profile and gives it, as a JSON document in the processed format of Firefox's profiler, which
/// https://profiler.firefox.com shows. Names of functions are those of the module; functions without one are called
/// `function N`, with their index. The document has no addresses and nothing of the guest's data.
///
/// `json` gets text, to be released with `wasm_bytes_release`. `WASM_STATUS_INVALID_STATE` if the engine is not being
/// profiled, `WASM_STATUS_BUSY` from one of its own callbacks. Takes some milliseconds per thousand looks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_finish_profile(
    engine: *mut wasm_engine,
    json: *mut *mut wasm_bytes,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let engine = engine_on_this_thread(scope, engine)?;
        let out = Out::new(json, "json")?;
        let profile = engine.engine.finish_profile()?;
        out.set(wasm_bytes::of(profile));
        Ok(())
    })
}
