//! Metrics of a runtime and its transforms: as text for Prometheus or as numbers for the host's own metrics system.

use super::bytes::wasm_bytes;
use super::engine::{engine_on_this_thread, wasm_engine};
use super::error::wasm_error;
use super::runtime::wasm_runtime;
use super::{Out, boundary, fill_sized, first_size, lent, memory_is_there};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::batch::fallible;
use crate::compile::runtime::Shared;
use crate::host::slice::wasm_slice;
use crate::metrics::counters::{Condition, Counter};
use crate::metrics::snapshot::{RuntimeMetrics, Snapshot, TransformMetrics, wasm_error_count, wasm_latency_bucket};
use crate::metrics::text;
use std::sync::Arc;

/// Numbers of a runtime. Counters begin when it is made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_runtime_metrics {
    /// `sizeof(wasm_runtime_metrics)`, set by the caller.
    pub size: usize,
    /// Engines that were made and not released yet.
    pub engines: u64,
    /// Factories, also those of custom engines.
    pub factories: u64,
    /// Bytes of machine code. Code that several factories share counts once.
    pub executable_bytes: u64,
    /// Compilations that have ended. Those that failed count too, also modules that were refused before the
    /// compilation.
    pub compilations: u64,
    /// Compilations that failed.
    pub compilations_failed: u64,
    /// Nanoseconds that all compilations took on the compile threads.
    pub compile_ns: u64,
    /// Modules whose machine code was loaded from the code cache or from an artifact.
    pub loads: u64,
    /// Nanoseconds that the loads took. From validating and hashing to code.
    pub load_ns: u64,
    /// Modules that were found in the code cache and loaded.
    pub code_cache_hits: u64,
    /// Modules that were not found in the code cache and had to be compiled.
    pub code_cache_misses: u64,
    /// Entries written to the code cache.
    pub code_cache_stores: u64,
    /// Entries removed because all together exceeded `max_bytes`.
    pub code_cache_evictions: u64,
    /// Entries ignored because they were damaged or too large, could not be loaded or were writable by others. Each is
    /// a miss, too.
    pub code_cache_rejected: u64,
    /// Faults of the code cache's directory or the disk. None of them made a compilation fail.
    pub code_cache_faults: u64,
    /// Pools: one for each thread that reserved one or the one of the process.
    pub pools: u64,
    /// Engines that the pools are for.
    pub pool_engines: u64,
    /// Memories of pools that engines have.
    pub pool_memories_in_use: u64,
    /// Memories of pools that must be reclaimed before they can be taken again.
    pub pool_memories_dirty: u64,
    /// Stacks of pools that engines have.
    pub pool_stacks_in_use: u64,
    /// Requests to factory caches for a factory that was in the cache.
    pub factory_cache_hits: u64,
    /// Requests to factory caches that waited for a compilation of another request.
    pub factory_cache_joined: u64,
    /// Requests to factory caches that found neither.
    pub factory_cache_misses: u64,
    /// Factories that factory caches dropped because they were unused.
    pub factory_cache_collected: u64,
    /// Compiled modules in memory. Factories that differ only in their configuration share one.
    pub modules: u64,
    /// Factories that got the compiled module of another one: it was in memory or in compilation.
    pub shared_modules: u64,
}

/// Output to one topic.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_topic_metrics {
    /// The topic's name. Empty: topics of engines that are gone beyond the first 256, together.
    pub topic: wasm_slice,
    /// Records of guests that sinks accepted. Dead letters are none of them.
    pub output_records: u64,
    /// Bytes of their keys, values and headers.
    pub output_bytes: u64,
}

/// Code that engines of a transform have.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_code_metrics {
    /// SHA-256 of the module.
    pub sha256: [u8; 32],
    /// Engines that have it now.
    pub engines: u64,
}

/// One transform on one shard: the sum of all its engines there. Counters never decrease while one of these engines
/// exists. When the last one is released, the numbers stay until they were read once more, as text or by a snapshot. If
/// an engine is made before that, the counters continue. Of more than 1,024 such pairs the oldest are dropped unread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_transform_metrics {
    /// `sizeof(wasm_transform_metrics)`, set by the caller.
    pub size: usize,
    /// The transform's name.
    pub transform: wasm_slice,
    /// The shard: the label of the engines' thread when they were made.
    pub shard: u32,
    /// Engines that were made and not released yet.
    pub engines: u64,
    /// Nanoseconds for which engines had their thread. Includes checks of batches, host functions and sinks.
    pub cpu_ns: u64,
    /// Bytes of linear memory that the guests have.
    pub memory_bytes: u64,
    /// Bytes that the guests may have: the sum of their `memory_limit`.
    pub memory_limit_bytes: u64,
    /// Records that guests took.
    pub input_records: u64,
    /// Bytes of their keys, values and headers.
    pub input_bytes: u64,
    /// Records of guests that sinks accepted.
    pub output_records: u64,
    /// Bytes of their keys, values and headers.
    pub output_bytes: u64,
    /// Starts of engines that had been started before.
    pub restarts: u64,
    /// Log lines that were dropped because there were too many.
    pub log_suppressed_lines: u64,
    /// Nanoseconds of `cpu_ns` spent in transforms: the sum of all records' latencies.
    pub latency_sum_ns: u64,
    /// Histogram of record latencies from the shortest to the longest. A record's latency is its batch's time on the
    /// thread without waiting, divided by the batch's records.
    pub latency: *const wasm_latency_bucket,
    /// Number of `latency`. All transforms have the same buckets.
    pub latency_count: usize,
    /// Failed starts and transforms by kind. Each operation counts once. Kinds that did not occur are left out.
    pub errors: *const wasm_error_count,
    /// Number of `errors`.
    pub error_count: usize,
    /// Records at which guests failed and that a policy dropped.
    pub skipped_records: u64,
    /// Records at which guests failed and that sinks took as dead letters.
    pub dead_lettered_records: u64,
    /// Batches that wait for a shared engine.
    pub queued_batches: u64,
    /// Of `engines`: not started yet or stopped by their hosts.
    pub engines_stopped: u64,
    /// Their guests start.
    pub engines_starting: u64,
    /// Their guests are started: they wait for a batch or work on one.
    pub engines_running: u64,
    /// Their guests failed and start again or wait for that under a policy's backoff.
    pub engines_restarting: u64,
    /// They were stopped by a failure.
    pub engines_failed: u64,
    /// Circuits of policies that are open. Each user of a shared engine has its own.
    pub circuits_open: u64,
    /// Those that are half-open.
    pub circuits_half_open: u64,
    /// How often policies stopped engines with `WASM_STATUS_POLICY_THRESHOLD`.
    pub policy_stops: u64,
    /// Nanoseconds since guests last took records or an engine was made: of the engine where it is shortest. Precise to
    /// some 20 ms. `UINT64_MAX` without engines.
    pub since_progress_ns: u64,
    /// Records that engines have not taken of their input, for those whose hosts called `wasm_engine_set_end_offset`.
    pub lag_records: u64,
    /// Whether there is such an engine.
    pub has_lag: bool,
    /// Output by topic: topics of current engines and of those that are gone.
    pub topics: *const wasm_topic_metrics,
    /// Number of `topics`.
    pub topic_count: usize,
    /// The code of current engines. More than one during a hot swap. Custom engines have none.
    pub codes: *const wasm_code_metrics,
    /// Number of `codes`.
    pub code_count: usize,
}

/// A snapshot of all metrics of a runtime. Owned by the host. Used by one thread at a time. It keeps no engine alive,
/// but the runtime's host functions, pools and ticker.
pub struct wasm_metrics {
    shared: Arc<Shared>,
    snapshot: Snapshot,
    /// Of `snapshot.transforms`.
    lists: Vec<Lists>,
}

/// What a transform's numbers point to.
#[derive(Default)]
struct Lists {
    topics: Vec<wasm_topic_metrics>,
    codes: Vec<wasm_code_metrics>,
}

impl Lists {
    /// Writes both anew.
    fn fill(&mut self, m: &TransformMetrics) -> Result<()> {
        self.topics.clear();
        fallible::reserve(&mut self.topics, m.topics.len())?;
        self.topics.extend(m.topics.iter().map(|topic| wasm_topic_metrics {
            topic: wasm_slice::of(topic.name.as_bytes()),
            output_records: topic.records,
            output_bytes: topic.bytes,
        }));
        self.codes.clear();
        fallible::reserve(&mut self.codes, m.codes.len())?;
        self.codes.extend(m.codes.iter().map(|&(sha256, engines)| wasm_code_metrics { sha256, engines }));
        Ok(())
    }
}

impl wasm_metrics {
    fn update(&mut self) -> Result<()> {
        let Self { shared, snapshot, lists } = self;
        snapshot.update(&shared.metrics, shared.pooled())?;
        let more = snapshot.transforms.len().saturating_sub(lists.len());
        fallible::reserve(lists, more)?;
        lists.extend((0..more).map(|_| Lists::default()));
        for (lists, transform) in lists.iter_mut().zip(&snapshot.transforms) {
            lists.fill(transform)?;
        }
        snapshot.forget_released(&shared.metrics);
        Ok(())
    }
}

fn of_runtime(m: &RuntimeMetrics) -> wasm_runtime_metrics {
    wasm_runtime_metrics {
        size: 0,
        engines: m.engines,
        factories: m.factories,
        executable_bytes: m.executable,
        compilations: m.compilations,
        compilations_failed: m.compile_errors.iter().map(|error| error.count).sum(),
        compile_ns: m.compile_ns,
        loads: m.code_cache.loads,
        load_ns: m.code_cache.load_ns,
        code_cache_hits: m.code_cache.hits,
        code_cache_misses: m.code_cache.misses,
        code_cache_stores: m.code_cache.stores,
        code_cache_evictions: m.code_cache.evictions,
        code_cache_rejected: m.code_cache.rejected,
        code_cache_faults: m.code_cache.faults,
        pools: m.pools.pools,
        pool_engines: m.pools.engines,
        pool_memories_in_use: m.pools.memories_in_use,
        pool_memories_dirty: m.pools.memories_dirty,
        pool_stacks_in_use: m.pools.stacks_in_use,
        factory_cache_hits: m.factory_hits,
        factory_cache_joined: m.factory_joined,
        factory_cache_misses: m.factory_misses,
        factory_cache_collected: m.factories_collected,
        modules: m.modules,
        shared_modules: m.shared_modules,
    }
}

fn of_transform(m: &TransformMetrics, lists: &Lists) -> wasm_transform_metrics {
    let in_condition = |condition: Condition| m.sums.conditions.get(condition as usize).copied().unwrap_or(0);
    let [circuits_open, circuits_half_open] = m.broken;
    wasm_transform_metrics {
        size: 0,
        transform: wasm_slice::of(m.transform.as_bytes()),
        shard: m.shard,
        engines: m.engines,
        cpu_ns: m.get(Counter::Cpu),
        memory_bytes: m.sums.memory,
        memory_limit_bytes: m.memory_limit,
        input_records: m.get(Counter::RecordsIn),
        input_bytes: m.get(Counter::BytesIn),
        output_records: m.get(Counter::RecordsOut),
        output_bytes: m.get(Counter::BytesOut),
        restarts: m.restarts,
        log_suppressed_lines: m.log_suppressed,
        latency_sum_ns: m.get(Counter::Latency),
        latency: m.latency.as_ptr(),
        latency_count: m.latency.len(),
        errors: m.errors.as_ptr(),
        error_count: m.errors.len(),
        skipped_records: m.get(Counter::Skipped),
        dead_lettered_records: m.get(Counter::DeadLettered),
        queued_batches: m.sums.queued,
        engines_stopped: in_condition(Condition::Stopped),
        engines_starting: in_condition(Condition::Starting),
        engines_running: in_condition(Condition::Running),
        engines_restarting: in_condition(Condition::Restarting),
        engines_failed: in_condition(Condition::Failed),
        circuits_open,
        circuits_half_open,
        policy_stops: m.stops,
        since_progress_ns: m.since_progress.unwrap_or(u64::MAX),
        lag_records: m.sums.lag.unwrap_or(0),
        has_lag: m.sums.lag.is_some(),
        topics: lists.topics.as_ptr(),
        topic_count: lists.topics.len(),
        codes: lists.codes.as_ptr(),
        code_count: lists.codes.len(),
    }
}

/// # Safety
///
/// As for `fill_sized`.
unsafe fn fill(metrics: *mut wasm_runtime_metrics, m: &RuntimeMetrics) -> Result<()> {
    // SAFETY: the caller says so.
    unsafe { fill_sized(metrics, first_size!(wasm_runtime_metrics, pool_stacks_in_use), "metrics", of_runtime(m)) }
}

/// Writes the runtime's own numbers. The caller has set `metrics->size`. Any thread, also while engines run on others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_get_metrics(
    runtime: *const wasm_runtime,
    metrics: *mut wasm_runtime_metrics,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let mut numbers = RuntimeMetrics::default();
        let shared = &scope.handle(runtime, "runtime")?.runtime.shared;
        numbers.read(&shared.metrics, shared.pooled());
        // SAFETY: the header says that `size` is set.
        unsafe { fill(metrics, &numbers) }
    })
}

/// Writes all metrics as text in Prometheus's format (version 0.0.4). Serve it with `Content-Type: text/plain;
/// version=0.0.4`. `docs/metrics.md` lists them. Any thread, also while engines run on others.
///
/// There are some 60 lines for each transform and shard. Their number is up to the host. All runtimes of a process use
/// the same names. A host with several adds a label of its own. Release `text` with `wasm_bytes_release`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_metrics_text(
    runtime: *const wasm_runtime,
    text: *mut *mut wasm_bytes,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        let out = Out::new(text, "text")?;
        memory_is_there()?;
        let mut snapshot = Snapshot::default();
        let shared = &runtime.runtime.shared;
        snapshot.update(&shared.metrics, shared.pooled())?;
        let encoded = text::of(&mut snapshot).map_err(|_| Error::out_of_memory())?;
        snapshot.forget_released(&shared.metrics);
        out.set(wasm_bytes::of(encoded));
        Ok(())
    })
}

/// Takes a snapshot of all metrics for reading one transform and shard after another. Any thread, also while engines
/// run on others. The runtime may be released before the snapshot. Release the snapshot with `wasm_metrics_release`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_metrics_create(
    runtime: *const wasm_runtime,
    metrics: *mut *mut wasm_metrics,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let runtime = scope.handle(runtime, "runtime")?;
        let out = Out::new(metrics, "metrics")?;
        memory_is_there()?;
        let shared = runtime.runtime.shared.clone();
        let mut new = wasm_metrics { shared, snapshot: Snapshot::default(), lists: Vec::new() };
        new.update()?;
        out.set(Box::into_raw(Box::new(new)));
        Ok(())
    })
}

/// Takes the snapshot again. Allocates only if there is more than ever before. Pointers from `metrics` become invalid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_metrics_update(metrics: *mut wasm_metrics, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| scope.handle_mut(metrics, "metrics")?.update())
}

/// Number of pairs of transform and shard. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_metrics_count(metrics: *const wasm_metrics) -> usize {
    lent(|scope| scope.handle(metrics, "metrics").map_or(0, |metrics| metrics.snapshot.transforms.len()))
}

/// Writes the numbers of pair `index` of transform and shard. Counted from 0 in the order of names and shards. The
/// caller has set `transform->size`. Its pointers are valid until the next `wasm_metrics_update` or
/// `wasm_metrics_release`. `WASM_STATUS_INVALID_ARGUMENT` if there is no such index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_metrics_get(
    metrics: *const wasm_metrics,
    index: usize,
    transform: *mut wasm_transform_metrics,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let metrics = scope.handle(metrics, "metrics")?;
        let all = &metrics.snapshot.transforms;
        let (found, lists) = all.get(index).zip(metrics.lists.get(index)).ok_or_else(|| {
            Error::invalid(format!("index is {index}, but there are metrics of {} transforms and shards", all.len()))
        })?;
        let first = first_size!(wasm_transform_metrics, error_count);
        // SAFETY: the header says that `size` is set.
        unsafe { fill_sized(transform, first, "transform", of_transform(found, lists)) }
    })
}

/// Writes the runtime's own numbers of the snapshot. The caller has set `runtime->size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_metrics_get_runtime(
    metrics: *const wasm_metrics,
    runtime: *mut wasm_runtime_metrics,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let metrics = scope.handle(metrics, "metrics")?;
        // SAFETY: the header says that `size` is set.
        unsafe { fill(runtime, &metrics.snapshot.runtime) }
    })
}

/// Tells the library where the engine's input ends, for `lag_records`. `end_offset` is the offset that the input's next
/// record will have, such as the partition's high watermark. `next_offset` is the offset from which the engine
/// continues. It counts until the engine has taken a record. Then the offset of its last record does, or the one behind
/// it when the batch has completed. Cheap: a host may call this with each batch. -1 as `end_offset`: there is no lag
/// any more. A hot swap keeps both.
///
/// `WASM_STATUS_INVALID_ARGUMENT` if an offset is otherwise negative. `WASM_STATUS_INVALID_STATE` for a user of a
/// shared engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_set_end_offset(
    engine: *mut wasm_engine,
    next_offset: i64,
    end_offset: i64,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let engine = engine_on_this_thread(scope, engine)?;
        if end_offset == -1 {
            return engine.engine.tell_offsets(None);
        }
        match (u64::try_from(next_offset), u64::try_from(end_offset)) {
            (Ok(next), Ok(end)) => engine.engine.tell_offsets(Some((next, end))),
            (Err(_), _) => Err(Error::invalid(format!("next_offset is {next_offset}; it must not be negative"))),
            _ => Err(Error::invalid(format!("end_offset is {end_offset}; it must be -1 or more"))),
        }
    })
}

/// Frees the snapshot. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_metrics_release(metrics: *mut wasm_metrics) {
    if !metrics.is_null() {
        boundary(core::ptr::null_mut(), |_| {
            // SAFETY: the header says that the metrics came from the library and are released once.
            drop(unsafe { Box::from_raw(metrics) });
            Ok(())
        });
    }
}
