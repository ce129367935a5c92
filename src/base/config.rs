//! The runtime's settings and their defaults in the library's own terms.

use crate::base::error::{Error, Result};
use core::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// Where linear memories and guests' stacks come from.
///
/// `docs/memory-and-signals.md` has measurements of each mode and says which one to choose.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_memory_mode {
    /// Each start of an engine maps memory and stack, each stop unmaps them. Guests run fastest and starts are
    /// slowest. Each engine takes 4 GiB of address space and four to six of the process's 65,530 mappings. This is
    /// the default: nothing needs to be sized.
    OnDemand = 0,
    /// From a pool that each thread reserves with `wasm_thread_prepare`. The pool's memory comes from the system or
    /// from `memory_allocator` and `stack_allocator`. Nothing is mapped afterwards. Memories lie side by side without
    /// guard pages, so guests check each access in code. Stacks have guards. Before Linux 6.13 a guard takes two
    /// mappings per stack.
    ThreadPool = 1,
    /// From `memory_allocator` and `stack_allocator` for each engine.
    Host = 2,
    /// From Wasmtime's pool for the whole process, sized for `pool_engines` engines. Memories begin as copy-on-write
    /// images of the module's data. Takes four to six of the process's 65,530 mappings for each engine. A module can
    /// have one table of up to 20,000 elements.
    ProcessPool = 3,
}

/// How compiled code detects what a guest must not do.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_trap_mode {
    /// By SIGSEGV, SIGILL and SIGFPE where a signal is cheaper than a check. The default.
    Signals = 0,
    /// By checks in code only. No signal handler is installed or needed.
    Checks = 1,
}

/// When the library checks whether a signal that it needs is blocked on the thread.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_signal_check {
    /// At the first poll of a thread and at each start. After that at one poll per thread in half a time slice. The
    /// default. The cost is too small to measure.
    Sampled = 0,
    /// At each poll. This costs a system call. For hosts whose signal mask may change at any time and for tests.
    EachPoll = 1,
}

/// The validated settings of a runtime.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of linear memory that one engine may have.
    pub memory_limit: usize,
    /// Elements that all tables of one engine may have together.
    pub table_limit: usize,
    /// Bytes of stack for the guest's own frames.
    pub guest_stack: usize,
    /// Bytes of stack beyond `guest_stack` for the host functions that a guest calls.
    pub host_stack: usize,
    /// How long a guest may run before its host gets the thread back.
    pub time_slice: Duration,
    /// How long a guest may run for one record or for its start.
    pub record_time_limit: Duration,
    /// Bytes of output that one engine may hold. No record may be larger.
    pub output_buffer_limit: usize,
    /// Bytes of a module.
    pub max_module_size: usize,
    /// Bytes of a batch. The limit applies before and after decompression.
    pub max_batch_size: usize,
    /// Bytes of a log line. A longer line is cut into several.
    pub max_log_line: usize,
    /// Log lines per second that the guests of one transform and shard may write.
    pub log_lines_per_second: u32,
    /// Lines that they may write at once.
    pub log_burst_lines: u32,
    /// Threads that compile.
    pub compile_threads: usize,
    /// Whether a batch's CRC is compared with its content.
    pub check_crc: bool,
    /// Where memories and stacks come from.
    pub memory_mode: wasm_memory_mode,
    /// How traps are noticed.
    pub trap_mode: wasm_trap_mode,
    /// When blocked signals are looked for.
    pub signal_check: wasm_signal_check,
    /// Stacks have `host_stack` bytes including the guest's frames. For tests.
    pub tight_stacks: bool,
    /// Engines that the process's pool is for.
    pub pool_engines: usize,
    /// Bytes of a returned memory that are wiped in place. The pages behind them are given back to the system.
    pub keep_resident: usize,
    /// Whether errors of guests have core dumps.
    pub core_dumps: bool,
    /// Whether functions are listed for `perf`.
    pub perf_map: bool,
    /// Whether the ticker may run in real time.
    pub real_time: bool,
    /// The seed of guests that are replayed.
    pub replay: Option<NonZeroU64>,
    /// What multiplies the limits of what is compiled. `u32::MAX`: there are none.
    pub compile_limit_factor: u32,
    /// Whether frames of errors have file and line.
    pub debug_info: bool,
    /// The program in whose processes modules are compiled, if not in this one, and its limits.
    pub compile_helper: Option<CompileHelperConfig>,
    /// Whether guests have the code for usual records where they call for it.
    pub expands_record_calls: bool,
    /// Where the library's own threads run, as a list of processors. `None`: on those of the process.
    pub processors: Option<String>,
}

/// Who compiles modules of strangers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileHelperConfig {
    /// The program.
    pub program: PathBuf,
    /// Processor time for a module.
    pub time_limit: Duration,
    /// Bytes of memory for a module.
    pub memory_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_limit: 64 << 20,
            table_limit: 1 << 20,
            guest_stack: 512 << 10,
            host_stack: 256 << 10,
            time_slice: Duration::from_micros(500),
            record_time_limit: Duration::from_secs(3),
            output_buffer_limit: 1 << 20,
            max_module_size: 64 << 20,
            max_batch_size: 128 << 20,
            max_log_line: 8 << 10,
            log_lines_per_second: 1_000,
            log_burst_lines: 5_000,
            compile_threads: 1,
            check_crc: true,
            memory_mode: wasm_memory_mode::OnDemand,
            trap_mode: wasm_trap_mode::Signals,
            signal_check: wasm_signal_check::Sampled,
            tight_stacks: false,
            pool_engines: 1000,
            keep_resident: Self::default_keep_resident(wasm_memory_mode::OnDemand),
            core_dumps: false,
            perf_map: false,
            real_time: true,
            replay: None,
            compile_limit_factor: 1,
            debug_info: false,
            compile_helper: None,
            processors: None,
            expands_record_calls: true,
        }
    }
}

/// Bytes in a page of linear memory.
pub const WASM_PAGE: usize = 64 << 10;

/// The shortest limit of a record's time.
pub const MIN_RECORD_TIME: Duration = Duration::from_micros(20);

/// The smallest limit of an engine's output.
pub const MIN_OUTPUT_BUFFER: usize = 1 << 10;

/// Bytes of a stack for Wasmtime's own frames below the guest's first frame. They must not reduce what guest and host
/// were promised.
const ENTRY_FRAMES: usize = 16 << 10;

impl Config {
    /// The default of `keep_resident` by mode. A thread's pool has reserved its memory already, and a new page costs
    /// more than wiping an old one. Wasmtime's pool would wipe all of it, used or not.
    pub fn default_keep_resident(mode: wasm_memory_mode) -> usize {
        if mode == wasm_memory_mode::ThreadPool { 4 << 20 } else { 64 << 10 }
    }

    /// Bytes of a memory rounded to whole Wasm pages.
    pub fn memory_size(&self) -> usize {
        self.memory_limit / WASM_PAGE * WASM_PAGE
    }

    /// Bytes of stack for the guest's frames.
    pub fn guest_share(&self) -> usize {
        if self.tight_stacks { self.guest_stack.min(self.host_stack / 4) } else { self.guest_stack }
    }

    /// Bytes of a whole stack without its guard. Rounded to whole system pages of `page` bytes.
    pub fn stack_size(&self, page: usize) -> usize {
        let bytes = if self.tight_stacks { self.host_stack } else { self.guest_stack + self.host_stack + ENTRY_FRAMES };
        bytes.next_multiple_of(page)
    }

    /// Whether calls for records are expanded. The process's pool has one memory for each engine. Elsewhere than on
    /// x86-64 a process may have memory at addresses that the expansions do not reach.
    pub fn expands_record_calls(&self) -> bool {
        let has_windows = self.memory_mode != wasm_memory_mode::ProcessPool;
        self.expands_record_calls && has_windows && cfg!(target_arch = "x86_64")
    }

    /// Whether memories begin with images of the modules' data that the library makes. Wasmtime makes its own where the
    /// library provides no memories. Those that it does not map itself cannot have one.
    pub fn has_data_images(&self) -> bool {
        self.expands_record_calls() && self.memory_mode == wasm_memory_mode::OnDemand
    }

    /// Refuses values that could not work. The error has the field's name and bounds.
    pub fn check(&self) -> Result<()> {
        fn within(field: &str, value: u128, low: u128, high: u128) -> Result<()> {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!("config field {field} is {value}: the value must be between {low} and {high}")))
        }
        within("memory_limit", self.memory_limit as u128, WASM_PAGE as u128, 4 << 30)?;
        within("table_limit", self.table_limit as u128, 1, u32::MAX.into())?;
        within("guest_stack_size", self.guest_stack as u128, 16 << 10, 256 << 20)?;
        within("host_stack_size", self.host_stack as u128, 64 << 10, 256 << 20)?;
        within("time_slice_ns", self.time_slice.as_nanos(), 20_000, 10_000_000_000)?;
        let shortest = MIN_RECORD_TIME.as_nanos();
        within("record_time_limit_ns", self.record_time_limit.as_nanos(), shortest, 86_400_000_000_000)?;
        within("output_buffer_limit", self.output_buffer_limit as u128, MIN_OUTPUT_BUFFER as u128, 1 << 30)?;
        within("max_module_size", self.max_module_size as u128, 8, 1 << 30)?;
        within("max_batch_size", self.max_batch_size as u128, 61, i32::MAX as u128)?;
        within("max_log_line", self.max_log_line as u128, 64, 1 << 20)?;
        within("compile_threads", self.compile_threads as u128, 1, 256)?;
        within("pool_engines", self.pool_engines as u128, 1, 1 << 20)?;
        if let Some(helper) = &self.compile_helper {
            within("compile_time_limit_ns", helper.time_limit.as_nanos(), 10_000_000, 86_400_000_000_000)?;
            within("compile_memory_limit", helper.memory_limit as u128, 64 << 20, 1 << 40)?;
        }
        within("keep_resident", self.keep_resident as u128, 0, 4 << 30)
    }
}
