//! Factories by key, each compiled once. For hosts that deploy transforms at run time and whose shards ask for the same
//! one.

use super::error::wasm_error;
use super::factory::{Taken, wasm_factory_config};
use super::future::wasm_future;
use super::runtime::wasm_runtime;
use super::{Out, boundary, fill_sized, first_size, memory_is_there, sized};
use crate::base::status::wasm_status;
use crate::compile::factory_cache::{DEFAULT_IDLE, FactoryCache, Lookup};
use crate::host::slice::wasm_slice;
use std::sync::Arc;
use std::time::Duration;

/// A cache of factories. Owned by the host. Several threads may use it at once.
pub struct wasm_factory_cache {
    cache: Arc<FactoryCache>,
}

/// Settings of a factory cache. Zero in any field but `size` means the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_factory_cache_config {
    /// `sizeof(wasm_factory_cache_config)`.
    pub size: usize,
    /// Nanoseconds for which a factory must be unused before `wasm_factory_cache_get` drops it by itself. Default
    /// 300,000,000,000: five minutes.
    pub idle_ns: u64,
    /// Interval in nanoseconds at which `wasm_factory_cache_get` looks for such factories on its calling thread.
    /// Default 0: never. Then only `wasm_factory_cache_collect` drops factories.
    pub collect_interval_ns: u64,
}

/// Statistics of a factory cache. Counters begin when it is made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_factory_cache_stats {
    /// `sizeof(wasm_factory_cache_stats)`, set by the caller.
    pub size: usize,
    /// Factories in the cache.
    pub entries: u64,
    /// Factories that are being compiled or wait for a compile thread.
    pub compiling: u64,
    /// Requests for a factory that was in the cache.
    pub hits: u64,
    /// Requests for a factory that was being compiled for another request.
    pub joined: u64,
    /// Requests that found neither. Those without a module count too.
    pub misses: u64,
    /// Compilations that were begun. Those that failed count too. So do those that got the code of another factory.
    pub compilations: u64,
    /// Factories that were dropped because they were unused.
    pub collected: u64,
}

fn nanoseconds(value: u64, default: Duration) -> Duration {
    if value == 0 { default } else { Duration::from_nanos(value) }
}

/// Makes an empty cache of factories. A factory that is requested twice is compiled once and kept. `config` may be NULL
/// for the defaults. The cache is for factories of this runtime only and keeps the runtime alive. A runtime may have
/// several caches. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_create(
    runtime: *const wasm_runtime,
    config: *const wasm_factory_cache_config,
    cache: *mut *mut wasm_factory_cache,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        let (mut idle, mut interval) = (0, 0);
        if !config.is_null() {
            let first = first_size!(wasm_factory_cache_config, collect_interval_ns);
            // SAFETY: the header says so. All zeros is a valid config.
            let config = unsafe { sized(config, first, "config")? };
            (idle, interval) = (config.idle_ns, config.collect_interval_ns);
        }
        let out = Out::new(cache, "cache")?;
        memory_is_there()?;
        let interval = (interval > 0).then(|| Duration::from_nanos(interval));
        let made = FactoryCache::new(runtime.runtime.clone(), nanoseconds(idle, DEFAULT_IDLE), interval);
        out.set(Box::into_raw(Box::new(wasm_factory_cache { cache: made })));
        Ok(())
    })
}

/// Requests a factory by its key: any bytes that the host chooses. They are copied. If the key is empty, the key is the
/// SHA-256 of the module and everything else in `config`, with names in the same order. `functions` are the same if
/// they call the same functions with the same `data`.
///
/// `future` is like that of `wasm_factory_create`. It is ready from the beginning if the factory is in the cache.
/// Otherwise the module is compiled as by `wasm_factory_create`. Other requests for the same key get their own futures
/// for the same compilation. Releasing one of these futures does not affect the others. If all are released before the
/// compilation begins, it is left out. If the compilation fails, all of these futures fail with the same error. Nothing
/// is kept then and the next request compiles again. The factory is an ordinary one: it and its engines may outlive the
/// cache.
///
/// With a key `config` may be NULL or its `module` empty. Then nothing else in it is read but `functions`, whose data
/// is taken over and dropped. Nothing is compiled. If
/// the factory is neither in the cache nor being compiled, the call returns `WASM_STATUS_NOT_CACHED` without a future.
/// Where time counts, ask like this first. A given module is hashed on the calling thread each time. That takes half a
/// millisecond per megabyte, or several without the processor's SHA-256 instructions.
///
/// A key with a module belongs to that module and description. `WASM_STATUS_INVALID_ARGUMENT` if the key already
/// belongs to another. The message says what differs. A new version of a transform needs a new key or an empty one.
/// Other errors of the call are those of `wasm_factory_create`. Threads that cannot be started fail the future instead.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_get(
    cache: *const wasm_factory_cache,
    key: wasm_slice,
    config: *const wasm_factory_config,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let config = if config.is_null() {
            None
        } else {
            // SAFETY: the header says so. All zeros is a valid config.
            let config = unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? };
            Some((Taken::new(scope, &config), config))
        };
        let cache = &scope.handle(cache, "cache")?.cache;
        let key = key.bytes(scope, "key")?;
        let out = Out::new(future, "future")?;
        memory_is_there()?;
        let wanted = match config {
            Some((taken, config)) => match config.module.bytes(scope, "module")? {
                [] => None,
                module => Some((module, taken.request(scope, cache.config(), &config)?)),
            },
            None => None,
        };
        out.set(match cache.get(key, wanted)? {
            Lookup::Now(compiled) => wasm_future::compiled(compiled),
            Lookup::Soon(receiver) => wasm_future::job(receiver),
        });
        Ok(())
    })
}

/// Drops the factories that have been unused for at least `min_idle_ns`. Their machine code is freed. 0 for all that
/// are unused now. A factory is used by handles, by futures that hold it and by engines, also stopped ones. The time
/// counts from the release of the last of them on any thread. It does not advance while the machine sleeps. `collected`
/// gets the number of dropped factories. It may be NULL. Takes some 30 µs per factory on the calling thread. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_collect(
    cache: *const wasm_factory_cache,
    min_idle_ns: u64,
    collected: *mut u64,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let count = scope.handle(cache, "cache")?.cache.collect(Duration::from_nanos(min_idle_ns));
        if let Ok(out) = Out::new(collected, "collected") {
            out.set(count);
        }
        Ok(())
    })
}

/// Fills `stats` with a consistent snapshot. The caller has set `stats->size`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_get_stats(
    cache: *const wasm_factory_cache,
    stats: *mut wasm_factory_cache_stats,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let counted = scope.handle(cache, "cache")?.cache.counted();
        let value = wasm_factory_cache_stats {
            size: size_of::<wasm_factory_cache_stats>(),
            entries: counted.entries,
            compiling: counted.compiling,
            hits: counted.hits,
            joined: counted.joined,
            misses: counted.misses,
            compilations: counted.compilations,
            collected: counted.collected,
        };
        // SAFETY: the header says so.
        unsafe { fill_sized(stats, first_size!(wasm_factory_cache_stats, collected), "stats", value) }
    })
}

/// Frees the cache. Its unused factories are freed with it. Requested compilations continue and the runtime's compile
/// threads end after them. No other call may use the cache at the same time. Any thread. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_release(cache: *mut wasm_factory_cache) {
    if !cache.is_null() {
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that the cache came from the library and is released once.
            drop(unsafe { Box::from_raw(cache) });
            Ok(())
        });
    }
}
