//! Artifacts are compiled modules that the host keeps itself: on its disk, or sent to other machines.

use super::error::wasm_error;
use super::factory::{description, wasm_factory_config};
use super::future::wasm_future;
use super::runtime::wasm_runtime;
use super::{Out, boundary, first_size, sized};
use crate::base::status::wasm_status;
use crate::compile::job;
use crate::host::slice::wasm_slice;

/// Compiles a module to an artifact, for an embedder that keeps compiled modules itself. The module is copied, and
/// judged and compiled on a compile thread of the runtime, or found in its cache. Any thread.
///
/// `future` becomes ready with an artifact, to be had by `wasm_future_take_artifact`, or fails with a
/// `WASM_STATUS_MODULE_…`. Else it is like that of `wasm_factory_create`.
///
/// An artifact is machine code with what has to be known about it: as long as it is kept, guard it as you would guard
/// the program itself, since loading one that was forged runs what the forger wrote. Its checksum tells of accidents
/// only.
///
/// It fits runtimes of the same version of this library, on processors with at least the features that it was made on,
/// with the same `memory_mode` and `trap_mode`, and with the same of its host functions that may wait; in memory mode
/// `WASM_MEMORY_MODE_PROCESS_POOL` also with the same `pool_engines` and `memory_limit`, where these are large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_precompile(
    runtime: *const wasm_runtime,
    module: wasm_slice,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        let out = Out::new(future, "future")?;
        let receiver = job::precompile(&runtime.runtime, module.bytes(scope, "module")?.to_vec())?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}

/// Makes a factory of an artifact instead of a module: as `wasm_factory_create`, but `module` in `config` is an
/// artifact, which is copied, checked and loaded on a compile thread. What it says is checked against this runtime as
/// its module would be.
///
/// **The artifact is believed.** Give it nothing but bytes of `wasm_future_take_artifact` that nobody else could
/// have changed.
///
/// `future` fails with `WASM_STATUS_MODULE_ARTIFACT_DAMAGED` if the bytes are no artifact, or not as they were made;
/// with `WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE` if it does not fit this runtime, and a message that says what
/// differs; or with any `WASM_STATUS_MODULE_…` that the module would get here. Then compile the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_load(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_config,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        // SAFETY: the header says so; and all zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
        let out = Out::new(future, "future")?;
        let artifact = config.module.bytes(scope, "module")?.to_vec();
        let receiver = job::load(&runtime.runtime, artifact, description(scope, &config)?)?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}
