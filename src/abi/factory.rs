//! A factory is a compiled transform. All threads make their engines from one factory.

use super::error::wasm_error;
use super::future::wasm_future;
use super::runtime::{strings, wasm_runtime};
use super::{Out, boundary, first_size, memory_is_there, sized};
use crate::base::description::Description;
use crate::base::error::Result;
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::compile::factory::Compiled;
use crate::compile::job;
use crate::host::slice::{self, CallScope, wasm_slice};
use std::sync::Arc;

/// A factory. Shared: several threads may use it at once.
pub struct wasm_factory {
    pub(crate) compiled: Arc<Compiled>,
}

/// An environment variable.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_env {
    /// The name. Not empty and without `=` and NUL.
    pub name: wasm_slice,
    /// The value. Without NUL.
    pub value: wasm_slice,
}

/// A transform: its module and what the guest may know.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_factory_config {
    /// `sizeof(wasm_factory_config)`.
    pub size: usize,
    /// The module in Wasm's binary format.
    pub module: wasm_slice,
    /// The transform's name. It is `argv[0]` in the guest and stands in every log line and error. Not empty.
    pub name: wasm_slice,
    /// `REDPANDA_INPUT_TOPIC` in the guest.
    pub input_topic: wasm_slice,
    /// `REDPANDA_OUTPUT_TOPIC_0`, … in the guest. Records that name no topic go to the first. Without any topic every
    /// write of the guest fails.
    pub output_topics: *const wasm_slice,
    /// Number of `output_topics`.
    pub output_topic_count: usize,
    /// The guest's environment in addition to these.
    pub env: *const wasm_env,
    /// Number of `env`.
    pub env_count: usize,
}

pub(crate) fn description(scope: &CallScope, config: &wasm_factory_config) -> Result<Description> {
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let env = unsafe { slice::array(config.env, config.env_count, "env")? };
    let mut environment = fallible::vec(env.len())?;
    for e in env {
        environment.push((e.name.owned(scope, "env name")?, e.value.owned(scope, "env value")?));
    }
    Ok(Description {
        name: config.name.owned(scope, "name")?,
        input_topic: config.input_topic.owned(scope, "input_topic")?,
        output_topics: strings(scope, config.output_topics, config.output_topic_count, "output_topics")?,
        environment,
    })
}

/// Compiles a transform. The content of `config` is copied. The module is validated and compiled on a compile thread of
/// the runtime or found in its code cache. Any thread.
///
/// `future` becomes ready with a factory, which `wasm_future_take_factory` returns. Or it fails with a
/// `WASM_STATUS_MODULE_…`. Any thread may poll it but only one at a time. It may be released early. A compilation that
/// has not begun is then left out. One that has begun continues and its result is dropped or kept by the factory cache
/// that was asked.
///
/// Errors of the call itself: `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8` for names, topics and
/// environment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_create(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_config,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let module = fallible::copy_large(config.module.bytes(scope, "module")?)?;
        let receiver = job::compile(&runtime.runtime, module, description(scope, &config)?)?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}

/// Another reference to the factory for another owner. Each reference is released. Any thread. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_clone(factory: *const wasm_factory) -> *mut wasm_factory {
    if factory.is_null() {
        return core::ptr::null_mut();
    }
    // SAFETY: not NULL. So it is a factory that came from the library, which is the inside of an `Arc`.
    unsafe { Arc::increment_strong_count(factory) };
    factory.cast_mut()
}

/// Releases one reference. Engines made from the factory stay valid. Any thread. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_release(factory: *mut wasm_factory) {
    if !factory.is_null() {
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that the reference came from the library and is released once.
            drop(unsafe { Arc::from_raw(factory.cast_const()) });
            Ok(())
        });
    }
}
