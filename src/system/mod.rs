//! What the operating system provides: memory, signals, time, threads and forks.

pub mod fork;
pub mod memory;
pub mod scheduling;
pub mod signals;
pub mod ticker;
