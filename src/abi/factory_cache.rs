//! `wasm_factory_cache_*`: factories by key, each compiled once.

use super::error::wasm_error;
use super::factory::{description, wasm_factory_config};
use super::future::wasm_future;
use super::runtime::wasm_runtime;
use super::{Out, boundary, fill_sized, first_size, sized};
use crate::base::status::wasm_status;
use crate::compile::factory_cache::{DEFAULT_IDLE, FactoryCache, Lookup};
use crate::host::slice::wasm_slice;
use std::sync::Arc;
use std::time::Duration;

/// A cache of factories. Owned; it may be used on any thread, by several at once.
pub struct wasm_factory_cache {
    cache: Arc<FactoryCache>,
}

/// Settings of a factory cache. Zero in any field but `size` means the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_factory_cache_config {
    /// `sizeof(wasm_factory_cache_config)`.
    pub size: usize,
    /// Nanoseconds for which nobody must have used a factory before `wasm_factory_cache_get` drops it by itself. Default
    /// 300,000,000,000, five minutes.
    pub idle_ns: u64,
    /// Nanoseconds between two times that `wasm_factory_cache_get` looks for such factories, on the thread of whoever
    /// calls it then. Default 0: never, so that `wasm_factory_cache_collect` alone drops factories.
    pub collect_interval_ns: u64,
}

/// What a factory cache has, and what it counted since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_factory_cache_stats {
    /// `sizeof(wasm_factory_cache_stats)`, set by the caller.
    pub size: usize,
    /// Factories that it has.
    pub entries: u64,
    /// Factories that are being compiled, or wait for a compile thread.
    pub compiling: u64,
    /// Requests for a factory that was there.
    pub hits: u64,
    /// Requests for one that was being compiled for somebody else.
    pub joined: u64,
    /// Requests for one that was neither, also those without a module.
    pub misses: u64,
    /// Compilations that were begun, also those that failed.
    pub compilations: u64,
    /// Factories that were dropped because nobody used them.
    pub collected: u64,
}

fn nanoseconds(value: u64, default: Duration) -> Duration {
    if value == 0 { default } else { Duration::from_nanos(value) }
}

/// Makes an empty cache of factories: what is asked for twice is compiled once and kept. `config` may be NULL for the
/// defaults. It is for factories of this runtime only, which it keeps alive; a runtime may have several. Any thread.
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
            // SAFETY: the header says so; and all zeros is a valid config.
            let config = unsafe { sized(config, first, "config")? };
            (idle, interval) = (config.idle_ns, config.collect_interval_ns);
        }
        let out = Out::new(cache, "cache")?;
        let interval = (interval > 0).then(|| Duration::from_nanos(interval));
        let made = FactoryCache::new(runtime.runtime.clone(), nanoseconds(idle, DEFAULT_IDLE), interval);
        out.set(Box::into_raw(Box::new(wasm_factory_cache { cache: made })));
        Ok(())
    })
}

/// Asks for a factory by its key: any bytes of the embedder's, which are copied. With an empty key it is the SHA-256 of
/// the module together with all else in `config`, with names in the same order.
///
/// `future` is like that of `wasm_factory_create`. It is ready from the beginning if the factory is there. If it is not,
/// its module is compiled, as by `wasm_factory_create`; whoever asks for the same key meanwhile gets a future of their own
/// for the same compilation. Releasing one of them takes nothing from the others; when all were released before the
/// compilation began, it is left out. When it fails, all of these futures fail with the same error, and nothing is kept:
/// the next request compiles again. The factory is one like any other: it and its engines may outlive the cache.
///
/// With a key, `config` may be NULL, or its `module` empty: then nothing else in it is looked at, and nothing is compiled.
/// If the factory is neither there nor being compiled: `WASM_STATUS_NOT_CACHED`, without a future. Where the time counts,
/// ask like this first, since a module that is given is hashed on the calling thread each time: half a millisecond per
/// megabyte, and several without the processor's instructions for SHA-256.
///
/// A key with a module belongs to that one, with that description: `WASM_STATUS_INVALID_ARGUMENT`, and a message that
/// says what differs, if the key is already that of another. A new version of a transform needs a new key, or none. Other
/// errors of the call are those of `wasm_factory_create`; threads that cannot be started fail the future instead. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_get(
    cache: *const wasm_factory_cache,
    key: wasm_slice,
    config: *const wasm_factory_config,
    future: *mut *mut wasm_future,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let cache = &scope.handle(cache, "cache")?.cache;
        let key = key.bytes(scope, "key")?;
        let config = if config.is_null() {
            None
        } else {
            // SAFETY: the header says so; and all zeros is a valid config.
            Some(unsafe { sized(config, first_size!(wasm_factory_config, env_count), "config")? })
        };
        let out = Out::new(future, "future")?;
        let wanted = match &config {
            Some(config) => match config.module.bytes(scope, "module")? {
                [] => None,
                module => Some((module, description(scope, config)?)),
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

/// Drops the factories that nobody has used for at least `min_idle_ns`, with their machine code; 0 for all that nobody
/// uses now. A factory is used by handles, by futures that have it, and by engines, also stopped ones; the time counts
/// from when the last of them was released, on whichever thread, and does not go on while the machine sleeps. `collected`
/// gets their number; it may be NULL. Takes some 30 µs for each on the calling thread. Any thread.
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

/// Fills `stats`, whose `size` the caller has set, with what is true at one moment. Any thread.
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

/// Frees the cache. Its factories go with it as far as nobody uses them, and compilations that are asked for go on; the
/// runtime's compile threads end after those. NULL is fine. No other call may use the cache meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_factory_cache_release(cache: *mut wasm_factory_cache) {
    if !cache.is_null() {
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that it is a cache that the library gave out, released once.
            drop(unsafe { Box::from_raw(cache) });
            Ok(())
        });
    }
}
