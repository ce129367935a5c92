//! Compiled modules that the host stores itself: on its own disk or on other machines. Most hosts need only a code
//! cache.

use super::error::wasm_error;
use super::factory::{Taken, looked_at, wasm_factory_config};
use super::future::wasm_future;
use super::runtime::wasm_runtime;
use super::{Out, boundary, first_size, memory_is_there, sized};
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::compile::job;
use crate::compile::request::FactoryRequest;
use crate::host::slice::wasm_slice;

/// Compiles a module to an artifact for a host that stores compiled modules itself. The module is copied. It is
/// validated and compiled on a compile thread of the runtime or found in the runtime's code cache. Any thread.
///
/// `future` becomes ready with an artifact, which `wasm_future_take_artifact` returns. Or it fails with a
/// `WASM_STATUS_MODULE_…`. Otherwise it is like that of `wasm_factory_create`.
///
/// An artifact is machine code with its description. Guard it like the program itself as long as it is kept: loading a
/// forged artifact runs the forger's code. Its checksum detects accidents only.
///
/// An artifact fits runtimes of the same version of this library on processors with at least the features of the one
/// that made it. `memory_mode` and `trap_mode` must be the same. So must be the set of its host functions that may
/// wait. In memory mode `WASM_MEMORY_MODE_PROCESS_POOL` also `pool_engines` and `memory_limit` must be the same where
/// these are large.
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
        memory_is_there()?;
        let module = fallible::copy_large(module.bytes(scope, "module")?)?;
        let request = FactoryRequest::of_runtime(&runtime.runtime.shared.config);
        let receiver = job::precompile(&runtime.runtime, module, request)?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}

/// As `wasm_runtime_precompile` for the module of `config`, which is validated as by `wasm_factory_validate`. For
/// modules that import host functions of their factory. An artifact has no limits, rights or functions in it: any
/// factory may load it whose functions may wait where these may. Of `functions` names and types are read. Their `data`
/// stays the host's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_precompile(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_config,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
        let runtime = &scope.handle(runtime, "runtime")?.runtime;
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let module = fallible::copy_large(config.module.bytes(scope, "module")?)?;
        let receiver = job::precompile(runtime, module, looked_at(scope, &runtime.shared.config, &config)?)?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}

/// Makes a factory from an artifact instead of a module. As `wasm_factory_create`, but `module` in `config` is an
/// artifact. It is copied and it is checked and loaded on a compile thread. Its imports, limits and rights are checked
/// against this runtime and `config` as its module's would be.
///
/// **The artifact is trusted. Its code is not verified.** Load only bytes from `wasm_future_take_artifact` that no one
/// else could have changed.
///
/// `future` fails with `WASM_STATUS_MODULE_ARTIFACT_DAMAGED` if the bytes are no artifact or were damaged. It fails
/// with `WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE` if the artifact does not fit this runtime. The message says what
/// differs. It fails with any `WASM_STATUS_MODULE_…` that the module would get here. After a failure compile the
/// module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_load(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_config,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
        let taken = Taken::new(scope, &config);
        let runtime = &scope.handle(runtime, "runtime")?.runtime;
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let artifact = fallible::copy_large(config.module.bytes(scope, "module")?)?;
        let receiver = job::load(runtime, artifact, taken.request(scope, &runtime.shared.config, &config)?)?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}
