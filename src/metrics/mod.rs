//! Metrics: what engines count per transform and shard and what a runtime knows about itself.
//!
//! An engine counts in its own [`counters`]. Only its thread writes them and any thread may read them. Its [`meter`]
//! decides what is written and when a clock is read. A runtime's [`registry`] adds the counters up on request. A
//! [`snapshot`] has the numbers and [`text`] the names. The registry's lock is taken when engines come and go and
//! when numbers are read. It is not taken on the data path.

pub mod clock;
pub mod code_cache;
pub mod counters;
pub mod log_limit;
pub mod meter;
pub mod registry;
pub mod snapshot;
pub mod text;

use core::cell::Cell;

thread_local!(static SHARD: Cell<u32> = const { Cell::new(0) });

/// The label that the host gave this thread. 0 if it gave none.
pub fn shard() -> u32 {
    SHARD.get()
}

/// Labels this thread. Engines created on it from now on count under `shard`.
pub fn set_shard(shard: u32) {
    SHARD.set(shard);
}
