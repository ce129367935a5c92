//! Preparation of each thread that polls engines. Call `wasm_thread_prepare` once on each of them before its first
//! engine.

use super::error::wasm_error;
use super::runtime::wasm_runtime;
use super::{Out, boundary, first_size, memory_is_there, sized};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::guest::{batches, output_block};
use crate::host::parsed_output;
use crate::host::slice::CallScope;
use crate::system::memory::pools::{Pools, ThreadPool, not_prepared};
use std::sync::Arc;

/// Engines that one thread can have.
const MOST_ENGINES: u32 = 1 << 20;

/// How a thread is prepared.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_thread_config {
    /// `sizeof(wasm_thread_config)`.
    pub size: usize,
    /// Engines of the runtime that this thread will have started at the same time. As many memories of `memory_limit`
    /// bytes and stacks are reserved. For memory mode `WASM_MEMORY_MODE_THREAD_POOL`. 0 in the others. At most 2^20.
    pub engines: u64,
    /// A label for the thread. Engines that it makes from now on count under this label in the metrics of every
    /// runtime. 0 leaves the label as it was. It is 0 at first.
    pub shard: u32,
}

/// The state of a thread's pool.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_thread_pool {
    /// `sizeof(wasm_thread_pool)`, set by the caller.
    pub size: usize,
    /// Engines that the pool is for.
    pub engines: u64,
    /// Bytes of each memory.
    pub memory_bytes: u64,
    /// Memories that can be taken.
    pub memories_free: u64,
    /// Memories of stopped engines that must be reclaimed first.
    pub memories_dirty: u64,
    /// Memories of engines.
    pub memories_in_use: u64,
    /// Bytes that are still to be reclaimed.
    pub dirty_bytes: u64,
    /// Stacks that can be taken.
    pub stacks_free: u64,
}

/// Prepares the calling thread for polling engines of `runtime`. Unblocks exactly the signals that the runtime uses
/// (see `wasm_thread_unblock_signals`). Sets up what Wasmtime keeps for each thread, including an alternate signal
/// stack of 256 KiB unless the thread has one that large. That stack goes with the thread, which then has none: a
/// smaller one of the host's does not come back. Reserves a pool.
///
/// To be called once on each such thread before its first poll because all this may take hundreds of microseconds that
/// the first poll would take otherwise. A thread that polls only futures of factories does not need it. The call is
/// required in memory mode `WASM_MEMORY_MODE_THREAD_POOL` and on a thread whose signals are blocked. A second call
/// with the same numbers changes nothing but the signals. `config` may be NULL: no pool.
///
/// The pool lives until `wasm_thread_release` or the end of the thread or the end of the runtime with all of its
/// factories and engines.
///
/// `WASM_STATUS_SYSTEM` if there is no memory for the pool or the call comes from a signal's handler.
/// `WASM_STATUS_OUT_OF_MEMORY` if there is none for the signal stack. `WASM_STATUS_INVALID_STATE` if the thread has a
/// pool of another size or is ending. `WASM_STATUS_INVALID_ARGUMENT` if engines are given in another memory mode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_thread_prepare(
    runtime: *mut wasm_runtime,
    config: *const wasm_thread_config,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        let (mut engines, mut shard) = (0, 0);
        if !config.is_null() {
            // SAFETY: the header says so. All zeros is a valid config.
            let config = unsafe { sized(config, first_size!(wasm_thread_config, engines), "config")? };
            (engines, shard) = (config.engines, config.shard);
        }
        let engines = u32::try_from(engines).ok().filter(|&engines| engines <= MOST_ENGINES).ok_or_else(|| {
            Error::invalid(format!("config field engines is {engines}; it must be between 0 and {MOST_ENGINES}"))
        })?;
        memory_is_there()?;
        runtime.runtime.shared.prepare_thread(engines)?;
        if shard != 0 {
            crate::metrics::set_shard(shard);
        }
        Ok(())
    })
}

/// Releases the calling thread's pool and the buffers that the thread keeps for batches and their output (up to 6 MiB).
/// `WASM_STATUS_INVALID_STATE` while engines use the pool. A thread without a pool is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_thread_release(runtime: *mut wasm_runtime, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        let pools = &scope.handle(runtime, "runtime")?.runtime.shared.pools;
        crate::batch::release_kept();
        output_block::release_kept();
        batches::release_kept();
        parsed_output::release_kept();
        pools.as_ref().map_or(Ok(()), |pools| pools.release())
    })
}

/// Unblocks the signals by which `runtime` notices traps of guests on the calling thread. These are SIGSEGV and SIGILL
/// and on x86-64 also SIGFPE. None with `WASM_TRAP_MODE_CHECKS`. Other signals and all handlers stay as they are.
///
/// `wasm_thread_prepare` does this too. A host whose mask may change afterwards calls this before it polls again. For
/// example `swapcontext` restores a mask and Seastar blocks most signals on its threads when it starts. A trap while
/// its signal is blocked kills the process even with a handler in place. So polls look for blocked signals as
/// `wasm_signal_check` says. They return `WASM_STATUS_SIGNALS_BLOCKED` then and change nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_thread_unblock_signals(
    runtime: *const wasm_runtime,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| scope.handle(runtime, "runtime")?.runtime.shared.unblock_signals())
}

/// The calling thread's pool.
fn mine(scope: &CallScope, runtime: *const wasm_runtime) -> Result<Arc<ThreadPool>> {
    let pools: Option<&Arc<Pools>> = scope.handle(runtime, "runtime")?.runtime.shared.pools.as_ref();
    pools.and_then(Pools::mine).ok_or_else(not_prepared)
}

/// Cleans memories of stopped engines in the calling thread's pool so that they can be taken again. For idle moments of
/// an event loop. Cleans at most `bytes` bytes in steps of 64 KiB that take some 5 to 10 µs each. Of the bytes that are
/// given back to the system 1 MiB counts as one step. A stop cleans 256 KiB by itself. A start that finds no clean
/// memory cleans as much at each poll and yields in between.
///
/// `more` tells whether some are left. It may be NULL. `WASM_STATUS_THREAD_NOT_PREPARED` if there is no pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_thread_reclaim(
    runtime: *mut wasm_runtime,
    bytes: usize,
    more: *mut bool,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let left = mine(scope, runtime)?.slabs.clean(bytes);
        if !more.is_null() {
            Out::new(more, "more")?.set(left);
        }
        Ok(())
    })
}

/// Writes the state of the calling thread's pool. The caller has set `pool->size`. `WASM_STATUS_THREAD_NOT_PREPARED` if
/// there is no pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_thread_get_pool(
    runtime: *const wasm_runtime,
    pool: *mut wasm_thread_pool,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let mine = mine(scope, runtime)?;
        let counts = mine.slabs.counts();
        // SAFETY: the header says that `size` is set.
        unsafe {
            super::fill_sized(
                pool,
                first_size!(wasm_thread_pool, stacks_free),
                "pool",
                wasm_thread_pool {
                    size: 0,
                    engines: mine.engines().into(),
                    memory_bytes: mine.slabs.slab() as u64,
                    memories_free: counts.free.into(),
                    memories_dirty: counts.dirty.into(),
                    memories_in_use: counts.in_use.into(),
                    dirty_bytes: counts.dirty_bytes,
                    stacks_free: mine.stacks.free().into(),
                },
            )
        }
    })
}
