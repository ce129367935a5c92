//! Wasmtime's configuration from ours.

use crate::base::config::{Config, WASM_PAGE, wasm_memory_mode as Mode, wasm_trap_mode};
use crate::guest::core_dump;
use crate::guest::limits::MAX_TABLES;
use crate::system::memory::block::{Source, page};
use crate::system::memory::creators::Provider;
use std::sync::Arc;
use wasmtime::{InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, ProfilingStrategy};

/// Address space that the process's pool may take for memories without checks in code. A process has 128 TiB.
const POOL_ADDRESS_SPACE: u64 = 32 << 40;

/// Address space of one such memory: all 32-bit addresses and a guard for constant offsets.
const UNCHECKED_MEMORY: u64 = (4 << 30) + (32 << 20);

/// Elements of a table in the process's pool, which reserves them in full. Wasmtime's own default.
const POOLED_TABLE_ELEMENTS: usize = 20_000;

/// Tables that a module may have and the elements of all of them together.
pub fn tables(config: &Config) -> (usize, usize) {
    match config.memory_mode {
        Mode::ProcessPool => (1, config.table_limit.min(POOLED_TABLE_ELEMENTS)),
        _ => (MAX_TABLES, config.table_limit),
    }
}

/// The configuration. `provider` is there in the modes in which the library provides memory.
pub fn make(config: &Config, provider: Option<&Provider>) -> wasmtime::Config {
    let mut wasmtime = wasmtime::Config::new();
    wasmtime
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(config.guest_share())
        .async_stack_size(config.stack_size(page()))
        .memory_may_move(false)
        // Else each registration of a module would make every C++ throw of the process slower.
        .native_unwind_info(false)
        // Backtraces name functions. A map costs an eighth of the code's size: see `with_positions`.
        .generate_address_map(false)
        // Transform SDKs do not need these. Nor do they need externref, exceptions and GC, which live on a
        // garbage-collected heap: a second memory for the guest. Wasmtime is compiled without that.
        .wasm_gc(false)
        // The validator refuses modules that have these themselves. See `module::record_calls`.
        .wasm_memory64(config.expands_record_calls())
        .wasm_multi_memory(config.expands_record_calls())
        .wasm_custom_page_sizes(config.expands_record_calls());
    if config.trap_mode == wasm_trap_mode::Checks {
        wasmtime.signals_based_traps(false).memory_guard_size(0);
    }
    if config.core_dumps {
        wasmtime.coredump_on_trap(true).wasm_backtrace_max_frames(Some(core_dump::MOST_FRAMES));
    }
    if config.perf_map {
        wasmtime.profiler(ProfilingStrategy::PerfMap);
    }
    if let Some(Provider::Mapped) = provider {
        wasmtime.with_host_memory(Arc::new(Provider::Mapped)).memory_init_cow(false);
    } else if let Some(provider) = provider {
        let provider = Arc::new(provider.clone());
        wasmtime
            .with_host_memory(provider.clone())
            .with_host_stack(provider)
            // Nothing around these memories faults: every access is compared with the memory's size.
            .memory_reservation(0)
            .memory_guard_size(0)
            .memory_init_cow(false);
    }
    if config.memory_mode == Mode::ProcessPool {
        pool(config, &mut wasmtime);
    }
    wasmtime
}

/// The same for a process that compiles and runs nothing. The code is the same.
pub fn for_helper(config: &Config) -> wasmtime::Config {
    let provider = match config.memory_mode {
        Mode::OnDemand if config.expands_record_calls() => Some(Provider::Mapped),
        Mode::OnDemand | Mode::ProcessPool => None,
        // Nobody asks it for anything.
        Mode::ThreadPool | Mode::Host => {
            let memory = config.memory_size();
            Some(Provider::Host { memories: Source::System, stacks: Source::System, memory })
        }
    };
    let mut wasmtime = make(&Config { perf_map: false, ..config.clone() }, provider.as_ref());
    // The process's pool would reserve its memory.
    wasmtime.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    wasmtime
}

/// The same for an engine that only compiles. Its code has a map to the positions of instructions, for modules whose
/// frames have lines. Engines without maps run such code as it is.
pub fn with_positions(wasmtime: &wasmtime::Config) -> wasmtime::Config {
    let mut wasmtime = wasmtime.clone();
    wasmtime
        .generate_address_map(true)
        // It needs no pool and no profile of its own.
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .profiler(ProfilingStrategy::None);
    wasmtime
}

fn pool(config: &Config, wasmtime: &mut wasmtime::Config) {
    let engines = config.pool_engines as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(engines)
        .total_memories(engines)
        .total_stacks(engines)
        .total_tables(engines)
        .max_memory_size(config.memory_size())
        .table_elements(tables(config).1)
        .linear_memory_keep_resident(config.keep_resident);
    wasmtime.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    if u64::from(engines) * UNCHECKED_MEMORY > POOL_ADDRESS_SPACE {
        // Memories lie side by side to fit. An access past a memory's size still faults. An access past its limit
        // need not.
        wasmtime.memory_reservation(config.memory_size() as u64).memory_guard_size(WASM_PAGE as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::validate::check_specification;

    #[test]
    fn features_are_those_of_the_engine() {
        // With it Wasmtime has several memories for the library's own.
        let config = Config { expands_record_calls: false, ..Config::default() };
        let engine = wasmtime::Engine::new(&make(&config, None)).unwrap();
        let proposals = [
            ("nothing", "(module)", true),
            ("multi-value", "(module (func (result i32 i32) i32.const 1 i32.const 2))", true),
            ("sign extension", "(module (func (param i32) (result i32) local.get 0 i32.extend8_s))", true),
            ("bulk memory", "(module (memory 1) (func i32.const 0 i32.const 0 i32.const 0 memory.fill))", true),
            ("function references", "(module (table 1 funcref) (func (param funcref)))", true),
            ("external references", "(module (table 1 externref) (func (param externref)))", false),
            ("simd", "(module (func (result v128) v128.const i64x2 0 0))", true),
            (
                "relaxed simd",
                "(module (func (param v128 v128) (result v128) local.get 0 local.get 1 i8x16.relaxed_swizzle))",
                true,
            ),
            ("tail calls", "(module (func $f return_call $f))", true),
            ("extended constants", "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))", true),
            ("typed references", "(module (type $t (func)) (func (param (ref $t)) local.get 0 call_ref $t))", true),
            ("gc", "(module (type (struct (field i32))))", false),
            ("i31", "(module (func (result i31ref) i32.const 1 ref.i31))", false),
            ("exceptions", "(module (tag) (func throw 0))", false),
            ("memory64", "(module (memory i64 1))", false),
            ("several memories", "(module (memory 1) (memory 1))", false),
            ("shared memory", "(module (memory 1 1 shared))", false),
            ("atomics", "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", false),
            ("custom page sizes", "(module (memory 1 (pagesize 1)))", false),
            (
                "wide arithmetic",
                "(module (func (param i64 i64) (result i64 i64) local.get 0 local.get 1 i64.mul_wide_u))",
                false,
            ),
            ("stack switching", "(module (type $f (func)) (type (cont $f)))", false),
        ];
        for (proposal, text, allowed) in proposals {
            let module = wat::parse_str(text).unwrap();
            assert_eq!(wasmtime::Module::validate(&engine, &module).is_ok(), allowed, "Wasmtime: {proposal}");
            assert_eq!(check_specification(&module, 1).is_ok(), allowed, "we: {proposal}");
        }
    }
}
