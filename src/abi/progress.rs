//! How far a transform has come: what a host checkpoints.

use super::engine::{engine_on_this_thread, wasm_engine};
use super::error::wasm_error;
use super::{boundary, first_size};
use crate::base::status::wasm_status;

/// How far the last transform of an engine has come: the first input record whose output the sink does not have whole.
///
/// For each record before that one the sink has accepted all output, or there was none, or a policy dropped the record,
/// or the sink has accepted the record as a dead letter. A block counts when its callback has returned done, or when a
/// poll has seen that its promise was resolved. Of the record itself and of those behind it the sink has nothing. One
/// exception: of a record whose output exceeds `output_buffer_limit` it may have a part. Another one: a guest that
/// writes before it takes a record or behind the last one.
///
/// A host that stores this with the output that it has accepted loses no record and repeats none: it goes on with
/// `wasm_engine_transform_many` or `wasm_engine_transform` for batch `batch`, with `first_record` `record`, and the
/// batches behind it. Or it goes on reading at `next_offset`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_engine_progress {
    /// `sizeof(wasm_engine_progress)`, set by the caller.
    pub size: usize,
    /// Index of the record's batch in the call. The number of batches when all have completed.
    pub batch: u32,
    /// Index of the record in that batch. If it is the number of the batch's records, all of them are whole, but the
    /// guest has not asked for the next batch: go on with that one. Only what a guest writes behind its last record may
    /// be missing.
    pub record: u32,
    /// The offset from which the input is to be read again: that of the record, or the one behind the last batch that
    /// has completed. It also passes offsets that compaction has left without a record.
    pub next_offset: i64,
    /// 1: `next_offset` is known. 0: the first batch is not checked yet or was refused, or there was no transform.
    pub has_offset: u32,
}

/// Writes how far the last transform of the engine has come. All fields are 0 before the first one. The caller has set
/// `progress->size`.
///
/// Any time on the engine's thread: while the transform is pending or yields, in callbacks of the engine, after it is
/// ready, failed or cancelled, and while the engine is stopped. In the sink's callback its block does not count yet.
/// The numbers never go back during a transform.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_get_progress(
    engine: *const wasm_engine,
    progress: *mut wasm_engine_progress,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let found = engine_on_this_thread(scope, engine)?.engine.progress()?;
        let filled = wasm_engine_progress {
            size: 0,
            batch: found.batch,
            record: found.record,
            next_offset: found.offset.unwrap_or(0),
            has_offset: u32::from(found.offset.is_some()),
        };
        // SAFETY: the header says that `size` is set.
        unsafe { super::fill_sized(progress, first_size!(wasm_engine_progress, has_offset), "progress", filled) }
    })
}
