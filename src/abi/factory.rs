//! A factory is a compiled transform. All threads make their engines from one factory.

use super::error::wasm_error;
use super::future::wasm_future;
use super::host_function::{self, wasm_host_function};
use super::runtime::{strings, wasm_runtime};
use super::{Out, boundary, fill_sized, first_size, memory_is_there, sized};
use crate::base::config::Config;
use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::limits::{RequestedLimits, TransformLimits};
use crate::base::rights::{AllowedImport, Rights};
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::compile::factory::Compiled;
use crate::compile::job;
use crate::compile::request::FactoryRequest;
use crate::guest::host_function::HostFunction;
use crate::host::slice::{self, CallScope, wasm_slice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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

/// Functions that a transform may import.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_allowed_import {
    /// The host module. Not `wasi_snapshot_preview1`, for which there is `wasi_rights`.
    pub module: wasm_slice,
    /// The function. Empty: all functions of the module.
    pub function: wasm_slice,
}

/// A transform: its module, what the guest may know and what it may do. Zero in any field but `size`, `module`, `name`
/// and topics means the default.
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
    /// Limits of this transform within those of the runtime, which are the defaults: see `wasm_runtime_config` for what
    /// they mean. `WASM_STATUS_INVALID_ARGUMENT` for one above the runtime's. They are not in the compiled code:
    /// transforms that differ in them share it. Bytes of linear memory that one guest may have.
    pub memory_limit: u64,
    /// Elements that all tables of one guest may have together.
    pub table_limit: u64,
    /// Nanoseconds of processor time that a guest may use for one record or for its start.
    pub record_time_limit_ns: u64,
    /// Bytes of output that one engine holds at most.
    pub output_buffer_limit: u64,
    /// Lines per second that the guests of the transform may write to the log on each shard. If factories of one name
    /// differ in it, each line takes its own factory's share of the time.
    pub log_lines_per_second: u32,
    /// Lines that they may write at once after a time with fewer lines.
    pub log_burst_lines: u32,
    /// What the module may import of host modules and of `redpanda_schema_registry`. If there is a list, all else is
    /// denied: a module that imports it is refused with `WASM_STATUS_MODULE_IMPORT_DENIED`. `redpanda_transform` is
    /// always allowed. So a list of it alone denies all other host modules. NULL: everything is allowed.
    pub allowed_imports: *const wasm_allowed_import,
    /// Number of `allowed_imports`.
    pub allowed_import_count: usize,
    /// What the module may import of WASI: bits of `wasm_wasi_right`. 0: everything.
    pub wasi_rights: u32,
    /// Host functions of this factory in addition to those of its runtime: pointers to `function_count` of them. Their
    /// `data` is taken over in any case, also by calls that fail and for factories that a cache has already. It is
    /// dropped when the factory and everything made from it are gone. Names that the runtime has, modules of the
    /// library and names that are listed twice are `WASM_STATUS_INVALID_ARGUMENT`.
    pub functions: *const *const wasm_host_function,
    /// Number of `functions`.
    pub function_count: usize,
}

/// What holds for a factory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_factory_info {
    /// `sizeof(wasm_factory_info)`, set by the caller.
    pub size: usize,
    /// The transform's name. Valid as long as the factory.
    pub name: wasm_slice,
    /// Bytes of linear memory that one guest may have. The limits here are those that hold: the factory's own or the
    /// runtime's. 0 for what does not apply to custom engines.
    pub memory_limit: u64,
    /// Elements that all tables of one guest may have together.
    pub table_limit: u64,
    /// Nanoseconds of processor time that a guest may use for one record or for its start.
    pub record_time_limit_ns: u64,
    /// Bytes of output that one engine holds at most.
    pub output_buffer_limit: u64,
    /// Bytes of stack for a guest's own frames. Always the runtime's.
    pub guest_stack_size: u64,
    /// Lines per second that the guests may write to the log on each shard.
    pub log_lines_per_second: u32,
    /// Lines that they may write at once.
    pub log_burst_lines: u32,
    /// Bits of `wasm_wasi_right`. 0: all.
    pub wasi_rights: u32,
    /// 1: there is a list of `allowed_imports`. Otherwise 0.
    pub has_allowed_imports: u32,
    /// 1: a factory of custom engines, which has no module and no code. Otherwise 0.
    pub is_custom: u32,
    /// SHA-256 of the module.
    pub module_hash: [u8; 32],
    /// Bytes of the module.
    pub module_size: u64,
    /// Bytes of its machine code.
    pub code_size: u64,
    /// Factories that have this code now, with this one. 1: it is not shared.
    pub code_factories: u64,
}

/// What the library takes over of a config: first of all, so that the host's data is dropped on every path.
pub(crate) struct Taken(Result<Vec<HostFunction>>);

impl Taken {
    /// Takes the functions over.
    pub(crate) fn new(scope: &CallScope, config: &wasm_factory_config) -> Self {
        Self(host_function::take_all(scope, config.functions, config.function_count))
    }

    /// The whole request.
    pub(crate) fn request(
        self,
        scope: &CallScope,
        runtime: &Config,
        config: &wasm_factory_config,
    ) -> Result<FactoryRequest> {
        FactoryRequest::new(description(scope, runtime, config)?, self.0?)
    }
}

fn rights(scope: &CallScope, config: &wasm_factory_config) -> Result<Rights> {
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let listed = unsafe { slice::array(config.allowed_imports, config.allowed_import_count, "allowed_imports")? };
    let mut imports = fallible::vec(listed.len())?;
    for import in listed {
        let module = import.module.owned(scope, "allowed_imports module")?;
        imports.push(AllowedImport { module, function: import.function.owned(scope, "allowed_imports function")? });
    }
    Ok(Rights { imports, wasi: config.wasi_rights })
}

pub(crate) fn description(scope: &CallScope, runtime: &Config, config: &wasm_factory_config) -> Result<Description> {
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
        limits: TransformLimits::within(
            runtime,
            &RequestedLimits {
                memory: config.memory_limit,
                table: config.table_limit,
                record_time: config.record_time_limit_ns,
                output_buffer: config.output_buffer_limit,
                log_lines_per_second: config.log_lines_per_second,
                log_burst_lines: config.log_burst_lines,
            },
        )?,
        rights: rights(scope, config)?,
    })
}

/// Refuses what has no meaning for custom engines.
pub(crate) fn check_custom(scope: &CallScope, config: &wasm_factory_config) -> Result<()> {
    let refused = [
        (!config.module.bytes(scope, "module")?.is_empty(), "module"),
        (config.table_limit > 0, "table_limit"),
        (config.record_time_limit_ns > 0, "record_time_limit_ns"),
        (config.allowed_import_count > 0, "allowed_imports"),
        (config.wasi_rights > 0, "wasi_rights"),
        (config.function_count > 0, "functions"),
    ];
    match refused.iter().find(|(is_set, _)| *is_set) {
        Some((_, field)) => Err(Error::invalid(format!("a custom engine has no {field}, but the config has one"))),
        None => Ok(()),
    }
}

/// Compiles a transform. The content of `config` is copied. The module is validated and compiled on a compile thread of
/// the runtime or found in its code cache. Factories of a runtime whose modules are the same share the code, whatever
/// else differs in `config`: a module that is in memory is not compiled again and one that is being compiled is waited
/// for. Any thread.
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
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
        let taken = Taken::new(scope, &config);
        let runtime = &scope.handle(runtime, "runtime")?.runtime;
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let module = fallible::copy_large(config.module.bytes(scope, "module")?)?;
        let receiver = job::compile(runtime, module, taken.request(scope, &runtime.shared.config, &config)?)?;
        out.set(wasm_future::job(receiver));
        Ok(())
    })
}

/// Validates a module without compiling it for the factory that `wasm_factory_create` would make of `config`: against
/// its limits, its rights and its host functions too. Otherwise as `wasm_runtime_validate`. Of `functions` names and
/// types are read. Their `data` stays the host's. Any thread.
///
/// `WASM_STATUS_MODULE_IMPORT_DENIED` if the transform has no right to an import. The message names the imports and the
/// rights. `WASM_STATUS_MODULE_MEMORY_LIMIT` and `WASM_STATUS_MODULE_TABLE_LIMIT` if the module starts larger than the
/// transform's limits. `WASM_STATUS_INVALID_ARGUMENT` and `WASM_STATUS_INVALID_UTF8` as of `wasm_factory_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_validate(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_config,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so. All zeros is a valid config.
        let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
        let runtime = &scope.handle(runtime, "runtime")?.runtime;
        memory_is_there()?;
        let request = looked_at(scope, &runtime.shared.config, &config)?;
        let validated = runtime.validate(config.module.bytes(scope, "module")?, &request);
        validated.map_err(|e| if e.status.had_no_effect() { e } else { request.transform.error(e.status, e.message) })
    })
}

/// A request whose functions stay the host's.
pub(crate) fn looked_at(scope: &CallScope, runtime: &Config, config: &wasm_factory_config) -> Result<FactoryRequest> {
    let functions = host_function::look_at_all(scope, config.functions, config.function_count)?;
    FactoryRequest::new(description(scope, runtime, config)?, functions)
}

/// Writes what holds for a factory. The caller has set `info->size`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_get_info(
    factory: *const wasm_factory,
    info: *mut wasm_factory_info,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let compiled = &scope.handle(factory, "factory")?.compiled;
        let value = info_of(compiled);
        // SAFETY: the header says that `size` is set.
        unsafe { fill_sized(info, first_size!(wasm_factory_info, code_factories), "info", value) }
    })
}

fn info_of(compiled: &Compiled) -> wasm_factory_info {
    let (limits, rights) = (&compiled.transform.limits, &compiled.transform.rights);
    let code = compiled.code();
    // What holds for guests only.
    let of_guests = |value: u64| if code.is_some() { value } else { 0 };
    wasm_factory_info {
        size: size_of::<wasm_factory_info>(),
        name: wasm_slice::of(compiled.transform.name.as_bytes()),
        memory_limit: of_guests(limits.memory as u64),
        table_limit: of_guests(limits.table as u64),
        record_time_limit_ns: of_guests(limits.record_time.as_nanos() as u64),
        output_buffer_limit: limits.output_buffer as u64,
        guest_stack_size: of_guests(compiled.shared.config.guest_share() as u64),
        log_lines_per_second: limits.log_lines_per_second,
        log_burst_lines: limits.log_burst_lines,
        wasi_rights: rights.wasi,
        has_allowed_imports: u32::from(!rights.imports.is_empty()),
        is_custom: u32::from(code.is_none()),
        module_hash: code.map_or([0; 32], |code| code.hash),
        module_size: code.map_or(0, |code| code.module_size),
        code_size: code.map_or(0, |code| code.executable.bytes()),
        code_factories: code.map_or(0, |code| code.factories.load(Relaxed)),
    }
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
