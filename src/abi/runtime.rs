//! A runtime holds the configuration and the compiler. A host makes one at its start, adds its host functions and keeps
//! it until its end.

use super::bytes::wasm_bytes;
use super::engine::wasm_engine;
use super::error::wasm_error;
use super::{Out, boundary, first_size, lent, memory_is_there, sized, take};
use crate::base::config::{CompileHelperConfig, Config, wasm_memory_mode, wasm_signal_check, wasm_trap_mode};
use crate::base::error::{Error, Result};
use crate::base::number::{wasm_memory_mode_number, wasm_signal_check_number, wasm_trap_mode_number};
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::compile::helper::child;
use crate::compile::request::FactoryRequest;
use crate::compile::runtime::Runtime;
use crate::host::log::{Line, Sink, wasm_log_severity, wasm_log_source};
use crate::host::owned::{Owned, host_data};
use crate::host::slice::{self, CallScope, wasm_slice};
use crate::system::memory::allocators::Allocators;
use crate::system::memory::block::{Allocator, wasm_allocator};
use core::ffi::{c_int, c_void};
use core::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// A runtime. Shared: several threads may use it at once.
pub struct wasm_runtime {
    pub(crate) runtime: Arc<Runtime>,
}

/// A line for the host's log. Lives until the callback returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_log_line {
    /// `sizeof(wasm_log_line)`. Set by the library. Fields beyond it do not exist in the library's version.
    pub size: usize,
    /// How urgent the line is.
    pub severity: wasm_log_severity,
    /// Whether the line is the guest's or the library's own.
    pub source: wasm_log_source,
    /// The number that the host gave the engine's thread: `shard` of `wasm_thread_config`. Else 0.
    pub shard: u32,
    /// The line was longer than `max_log_line`. The next line of this severity and transform continues it.
    pub continues: bool,
    /// The transform's name. Empty if the line is about no transform.
    pub transform: wasm_slice,
    /// The text. Valid UTF-8 without a newline. Bytes that were not UTF-8 are written as `\xNN`.
    pub text: wasm_slice,
    /// The engine that the line comes from. NULL if there is none. To tell several engines apart: the engine is busy or
    /// being stopped and must not be called.
    pub engine: *const wasm_engine,
    /// What `wasm_engine_set_user_data` attached to that engine.
    pub user_data: *mut c_void,
}

/// Where guests' standard output and error go.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_log_sink {
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once: when the runtime and everything made from it are gone or when `wasm_runtime_create`
    /// fails. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes a line, which lives until the callback returns. NULL: lines are dropped.
    ///
    /// Called on the threads of engines while their guests run and on the guests' stacks. So `host_stack_size` bytes of
    /// stack are left. Several threads may call it at once. With a code cache it is also called on compile threads and
    /// by `wasm_runtime_set_code_cache` for faults of the cache. Must not throw and must not block.
    pub line: Option<unsafe extern "C" fn(data: *mut c_void, line: *const wasm_log_line)>,
}

/// Settings of a runtime. Zero in any field but `size` means the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_runtime_config {
    /// `sizeof(wasm_runtime_config)`.
    pub size: usize,
    /// Bytes of linear memory that one guest may have. Growth beyond that fails inside the guest. Whole pages of 64 KiB
    /// count. At least 64 KiB and at most 4 GiB. Default 64 MiB.
    pub memory_limit: u64,
    /// Elements that all tables of one guest may have together. Default 1,048,576.
    pub table_limit: u64,
    /// Bytes of stack for a guest's own frames. Default 512 KiB.
    pub guest_stack_size: u64,
    /// Bytes of stack beyond that for the host functions that a guest calls. Default 256 KiB.
    pub host_stack_size: u64,
    /// Nanoseconds that a guest may run before its host gets the thread back. Default 500,000.
    ///
    /// The precision depends on how soon the thread `wasm-ticker` gets a processor. If the process may use real-time
    /// scheduling (CAP_SYS_NICE or RLIMIT_RTPRIO of 1 or more), that thread takes SCHED_FIFO with priority 1. Not so if
    /// `avoid_real_time` is set or slices are shorter than 100,000. Otherwise it asks Linux for short slices of its
    /// own. See `processors` for where it runs.
    pub time_slice_ns: u64,
    /// Nanoseconds of processor time that a guest may use for one record or for its start. Time of the host functions
    /// that it calls is included. Time in which the thread was preempted or blocked does not count, nor does time in
    /// which the guest was suspended: because its slice had ended, or because it waited for a promise or for its output
    /// to be taken. A guest is never ended earlier. It may use a sixteenth of the limit and three slices more. If it
    /// calls the host all the time, it may use twice the limit. Default 3,000,000,000.
    pub record_time_limit_ns: u64,
    /// Bytes of output that one engine holds at most. No output record can be larger. It is held in blocks of 64 KiB. A
    /// larger record is held in one piece. Default 1 MiB.
    pub output_buffer_limit: u64,
    /// Bytes that a module may have. Default 64 MiB.
    pub max_module_size: u64,
    /// Bytes that a batch may have before and after decompression. Default 128 MiB.
    pub max_batch_size: u64,
    /// Bytes of a log line as the guest wrote it. Longer ones are cut into several. Bytes that are not UTF-8 take four
    /// bytes each in the log. Default 8 KiB.
    pub max_log_line: u64,
    /// Modules that are compiled at once. The threads that compile start with the first module: so many for a module
    /// that is compiled alone, and one more for each further one. A compilation that is given up no longer counts. Its
    /// threads end when it does. Up to eight of these run at a time. Further ones keep their place. Default 1.
    pub compile_threads: u32,
    /// 1: the CRCs of batches are not checked. Default 0.
    pub skip_crc_check: u32,
    /// Where guests' output goes. Default: the output is dropped.
    pub log: wasm_log_sink,
    /// Where linear memories and stacks come from.
    pub memory_mode: wasm_memory_mode_number,
    /// How traps of guests are noticed.
    pub trap_mode: wasm_trap_mode_number,
    /// When polls look for blocked signals.
    pub signal_check: wasm_signal_check_number,
    /// For tests. 1: stacks have no more than `host_stack_size` bytes and guests get up to a quarter of that for their
    /// own frames. So no host function ever has more stack than it was promised and some have a quarter less. One that
    /// needs more dies in the test. Default 0.
    pub tight_stacks: u32,
    /// Engines that run at the same time in memory mode `WASM_MEMORY_MODE_PROCESS_POOL`. Default 1,000.
    pub pool_engines: u64,
    /// For the modes with pools: bytes at the start of a memory that are zeroed in place when its engine stops. The
    /// pages beyond are given back to the system unless they are the host's. Default 4 MiB in pools of threads, where
    /// unused pages are not touched. Default 64 KiB in the pool of the process.
    pub keep_resident: u64,
    /// The host's memory for linear memories. In mode `WASM_MEMORY_MODE_THREAD_POOL` one block per thread. In mode
    /// `WASM_MEMORY_MODE_HOST` one block per engine of the transform's `memory_limit` or of the maximum that the module
    /// declares.
    /// NULL: the system's. The table is copied.
    pub memory_allocator: *const wasm_allocator,
    /// The host's memory for stacks in the same modes. It must be ordinary pages that can be protected. NULL: the
    /// system's. The lowest 16 KiB of each stack become a guard. Their protection is undone before the block is
    /// released. The table is copied.
    pub stack_allocator: *const wasm_allocator,
    /// Lines per second that the guests of one transform may write to the log on each shard. A part of a line that was
    /// cut counts as a line. Further lines are dropped and counted. One line of the library reports their number as
    /// soon as lines pass again and at the latest when the last engine is released. Default 1,000. `UINT32_MAX` for
    /// all.
    pub log_lines_per_second: u32,
    /// Lines that they may write at once after a time with fewer lines. Default 5,000.
    pub log_burst_lines: u32,
    /// 1: the error of a guest that failed has a core dump: see `core_dump` of `wasm_error_info`. The polls
    /// of the operation make it in time slices. That takes some 1 ms per MiB of the guest's memory. The error keeps the
    /// bytes that are not zero. Default 0.
    pub core_dumps: u32,
    /// 1: guests' functions are appended to `/tmp/perf-PID.map` when their modules are compiled or loaded. `perf
    /// report` finds their names there. The file stays. Its lines are wrong as soon as a factory is freed and another
    /// takes its place. Default 0.
    pub perf_map: u32,
    /// 1: the thread `wasm-ticker` is an ordinary thread as long as this runtime exists. See `time_slice_ns`. Default
    /// 0.
    pub avoid_real_time: u32,
    /// A seed for guests that are replayed: any number but 0. What such a guest sees depends on its input and this seed
    /// alone and is the same in each engine and at each start. `random_get` gives the numbers of the seed. The guest's
    /// monotonic clock advances by 1,000 ns at each look, by 1,000 ns for each record when a batch is taken and by what
    /// the guest sleeps. Default 0: random numbers have a seed from the system and differ between any two guests. The
    /// monotonic clock is the time that the engine has run, plus what the guest has slept. In both cases sleeping
    /// returns at once and the wall clock is the timestamp of the current record.
    pub replay_seed: u64,
    /// What multiplies the limits of what is compiled. A module that would take too long or too much memory to compile
    /// is refused with `WASM_STATUS_MODULE_TOO_COMPLEX`. By default the worst accepted module takes some 30 seconds of
    /// processor time and 1 GiB. Most modules that compilers make take a small part of that. Large interpreters and
    /// databases come near to it or exceed it: docs/compile-limits.md has examples. `UINT32_MAX`: there are no such
    /// limits, for hosts that compile only modules of their own. Default 1.
    pub compile_limit_factor: u32,
    /// 1: the frames of errors have file and line if the module has debug information (DWARF): see
    /// `wasm_error_location`. The code of such a module then takes a quarter more memory, also in the code cache and in
    /// artifacts. All other modules are compiled as without. Default 0.
    pub debug_info: u32,
    /// The path of a program in whose processes modules are compiled, for hosts that take modules of strangers. The
    /// library ships one: `wasm-compile-helper`. Absolute. It must be of the library's version and is trusted as the
    /// library itself. Copied. Default empty: modules are compiled in this process.
    ///
    /// Each compilation has a process of its own. It has one socket and no environment but LD_LIBRARY_PATH. It ends
    /// with its compilation and at once if the compilation's future is released. `WASM_STATUS_MODULE_COMPILE_LIMIT` if
    /// it exceeds one of the two limits below. `WASM_STATUS_COMPILE_HELPER_FAILED` if it cannot do its work. It is a
    /// child of this process, which gets SIGCHLD for it. The library waits for it.
    pub compile_helper: wasm_slice,
    /// Nanoseconds of processor time that the helper may use for one module on all its threads. At least 10,000,000.
    /// Default 60,000,000,000.
    pub compile_time_limit_ns: u64,
    /// Bytes of memory that the helper may have for one module beside what it has before: code, threads and the module
    /// itself. 64 MiB are enough for a module of 2 MB on one thread. At least 64 MiB. Default 2 GiB.
    pub compile_memory_limit: u64,
    /// The processors on which the library's own threads run, as a list such as `0-3,8`. For the compile threads, the
    /// helper and the thread `wasm-ticker`, which all runtimes share: the first runtime decides. Copied. Default empty:
    /// all processors on which any thread of the process may run when the library's thread starts.
    pub processors: wasm_slice,
    /// 1: each record that a guest reads or writes is a call of this library. Default 0: the code for usual records is
    /// compiled into the guest where it calls for one. A small record then takes two thirds of the time. Guests see no
    /// difference. Memory mode PROCESS_POOL and processors other than x86-64 always have the calls. docs/security.md
    /// has what such code can access.
    pub host_record_calls: u32,
}

host_data!(wasm_log_sink: AnyThread, "The header says: `line` is called on several threads at once, and `drop` on any.");

impl Sink for Owned<wasm_log_sink> {
    fn line(&self, line: &Line<'_>) {
        if let Some(callback) = self.line {
            let line = wasm_log_line {
                size: size_of::<wasm_log_line>(),
                severity: line.severity,
                source: line.source,
                shard: line.shard,
                continues: line.continues,
                transform: wasm_slice::of(line.transform.as_bytes()),
                text: wasm_slice::of(line.text.as_bytes()),
                engine: line.engine.cast_const().cast(),
                user_data: line.user_data,
            };
            // SAFETY: the host passed function and data together. The line lives until after the call.
            unsafe { callback(self.data, &raw const line) }
        }
    }
}

fn settings(scope: &CallScope, c: &wasm_runtime_config) -> Result<Config> {
    fn size(value: u64, default: usize) -> usize {
        if value == 0 { default } else { usize::try_from(value).unwrap_or(usize::MAX) }
    }
    fn time(nanoseconds: u64, default: Duration) -> Duration {
        if nanoseconds == 0 { default } else { Duration::from_nanos(nanoseconds) }
    }
    let d = Config::default();
    let memory_mode = choice(
        "memory_mode",
        c.memory_mode,
        &[
            wasm_memory_mode::OnDemand,
            wasm_memory_mode::ThreadPool,
            wasm_memory_mode::Host,
            wasm_memory_mode::ProcessPool,
        ],
    )?;
    Ok(Config {
        memory_limit: size(c.memory_limit, d.memory_limit),
        table_limit: size(c.table_limit, d.table_limit),
        guest_stack: size(c.guest_stack_size, d.guest_stack),
        host_stack: size(c.host_stack_size, d.host_stack),
        time_slice: time(c.time_slice_ns, d.time_slice),
        record_time_limit: time(c.record_time_limit_ns, d.record_time_limit),
        output_buffer_limit: size(c.output_buffer_limit, d.output_buffer_limit),
        max_module_size: size(c.max_module_size, d.max_module_size),
        max_batch_size: size(c.max_batch_size, d.max_batch_size),
        max_log_line: size(c.max_log_line, d.max_log_line),
        log_lines_per_second: if c.log_lines_per_second == 0 { d.log_lines_per_second } else { c.log_lines_per_second },
        log_burst_lines: if c.log_burst_lines == 0 { d.log_burst_lines } else { c.log_burst_lines },
        compile_threads: size(c.compile_threads.into(), d.compile_threads),
        check_crc: c.skip_crc_check == 0,
        memory_mode,
        trap_mode: choice("trap_mode", c.trap_mode, &[wasm_trap_mode::Signals, wasm_trap_mode::Checks])?,
        signal_check: choice(
            "signal_check",
            c.signal_check,
            &[wasm_signal_check::Sampled, wasm_signal_check::EachPoll],
        )?,
        tight_stacks: c.tight_stacks != 0,
        pool_engines: size(c.pool_engines, d.pool_engines),
        keep_resident: size(c.keep_resident, Config::default_keep_resident(memory_mode)),
        core_dumps: c.core_dumps != 0,
        perf_map: c.perf_map != 0,
        real_time: c.avoid_real_time == 0,
        replay: NonZeroU64::new(c.replay_seed),
        compile_limit_factor: if c.compile_limit_factor == 0 { d.compile_limit_factor } else { c.compile_limit_factor },
        debug_info: c.debug_info != 0,
        expands_record_calls: c.host_record_calls == 0,
        compile_helper: helper(scope, c)?,
        processors: text(c.processors.owned(scope, "processors")?),
    })
}

/// Text unless it is empty, which is the default.
fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn helper(scope: &CallScope, c: &wasm_runtime_config) -> Result<Option<CompileHelperConfig>> {
    let Some(program) = text(c.compile_helper.owned(scope, "compile_helper")?) else { return Ok(None) };
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    Ok(Some(CompileHelperConfig {
        program: program.into(),
        time_limit: Duration::from_nanos(or(c.compile_time_limit_ns, 60_000_000_000)),
        memory_limit: usize::try_from(or(c.compile_memory_limit, 2 << 30)).unwrap_or(usize::MAX),
    }))
}

/// The choice with this number. Choices are numbered from 0.
fn choice<T: Copy>(field: &str, number: u32, choices: &[T]) -> Result<T> {
    choices.get(number as usize).copied().ok_or_else(|| {
        Error::invalid(format!("config field {field} is {number}; it must be between 0 and {}", choices.len() - 1))
    })
}

/// An allocator of the host if there is one.
///
/// # Safety
///
/// `table` is NULL or points to a `wasm_allocator` with its size.
unsafe fn allocator(table: *const wasm_allocator, name: &str) -> Result<Option<Allocator>> {
    if table.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller says so. All zeros is a valid table.
    Allocator::new(unsafe { take(table, first_size!(wasm_allocator, release), name)? }, name).map(Some)
}

/// Makes a runtime. `config` may be NULL for the defaults. Its content is copied. Any thread. Any number of runtimes.
///
/// Host functions, a schema registry and a code cache are added next: before the runtime sees its first module. Release
/// the runtime with `wasm_runtime_release`.
///
/// A host with its own handlers for SIGSEGV, SIGILL or SIGFPE should install them before it makes the first runtime.
/// Wasmtime's handlers pass signals that are not theirs on to the handlers that they found.
///
/// `WASM_STATUS_INVALID_ARGUMENT` if a field is invalid. The message names it. `WASM_STATUS_SYSTEM` if a thread cannot
/// be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_create(
    config: *const wasm_runtime_config,
    runtime: *mut *mut wasm_runtime,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: there are no callbacks.
        let mut sink = unsafe { Owned::new(wasm_log_sink { data: core::ptr::null_mut(), drop: None, line: None }) };
        let mut chosen = Config::default();
        let mut allocators = Allocators::default();
        if !config.is_null() {
            // SAFETY: the header says so. All zeros is a valid config.
            let config = unsafe { sized(config, first_size!(wasm_runtime_config, avoid_real_time), "config")? };
            // First of all, so that what the host gives up is dropped on every path.
            // SAFETY: the header says so.
            let (memory, stack) = unsafe {
                sink = Owned::new(config.log);
                let memory = allocator(config.memory_allocator, "memory_allocator");
                (memory, allocator(config.stack_allocator, "stack_allocator"))
            };
            allocators = Allocators { memory: memory?, stack: stack? };
            chosen = settings(scope, &config)?;
        }
        let out = Out::new(runtime, "runtime")?;
        memory_is_there()?;
        let runtime = Arc::new(Runtime::new(chosen, Arc::new(sink), allocators)?);
        out.set(Arc::into_raw(Arc::new(wasm_runtime { runtime })).cast_mut());
        Ok(())
    })
}

/// The compile helper as a whole program: for a host that has its own instead of `wasm-compile-helper`. The program's
/// `main` does nothing else and returns what this returns. Does not return if the library has started the program.
/// Otherwise returns 2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_compile_helper_main() -> c_int {
    lent(|_| child::main())
}

/// Validates a module without compiling it. Returns `WASM_STATUS_OK` or the `WASM_STATUS_MODULE_…` that a compilation
/// would report. The message has the details. Takes some 15 ms per megabyte on the calling thread. Any thread.
/// `wasm_factory_validate` also knows limits, rights and host functions of a factory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_validate(
    runtime: *const wasm_runtime,
    module: wasm_slice,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        memory_is_there()?;
        let request = FactoryRequest::of_runtime(&runtime.runtime.shared.config);
        runtime.runtime.validate(module.bytes(scope, "module")?, &request)
    })
}

/// Describes a module as a JSON document. Also a module that is refused. Members: `size`, `abi_version`,
/// `schema_registry_abi_version`, `language`, `producers`, `functions`, `code_size`, `data_segments`, `has_names`,
/// `memories`, `imports`, `exports` and `refused`. The last one is null or has `status` and `message`. Any thread.
///
/// Also describes an artifact. Its document has a member `artifact` that says how the artifact was made: `library`,
/// `wasmtime`, `rewriting`, `target`, `settings`, `module` (SHA-256 of the module) and `module_size`. The settings are
/// text, as `memory_mode ON_DEMAND, host_record_calls 0 and trap_mode SIGNALS`. Damaged bytes are
/// `WASM_STATUS_MODULE_ARTIFACT_DAMAGED`.
///
/// `json` gets text. Release it with `wasm_bytes_release`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_inspect(
    runtime: *const wasm_runtime,
    module: wasm_slice,
    json: *mut *mut wasm_bytes,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        let out = Out::new(json, "json")?;
        memory_is_there()?;
        let document = runtime.runtime.inspect(module.bytes(scope, "module")?)?;
        out.set(wasm_bytes::of(document.to_string()));
        Ok(())
    })
}

/// Releases the runtime. Factories and engines made from it stay valid. The compile threads end after their current
/// work. The ticker thread ends when the last factory, engine, factory cache and `wasm_metrics` of the process are
/// gone. This call does not wait for those threads. They may run for some milliseconds more. Any thread. NULL does
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_release(runtime: *mut wasm_runtime) {
    if !runtime.is_null() {
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that the runtime came from the library and is released once.
            drop(unsafe { Arc::from_raw(runtime.cast_const()) });
            Ok(())
        });
    }
}

/// Text fields as owned strings.
pub(crate) fn strings(scope: &CallScope, data: *const wasm_slice, count: usize, name: &str) -> Result<Vec<String>> {
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let slices = unsafe { slice::array(data, count, name)? };
    let mut strings = fallible::vec(slices.len())?;
    for slice in slices {
        strings.push(slice.owned(scope, name)?);
    }
    Ok(strings)
}
