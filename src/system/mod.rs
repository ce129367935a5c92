//! What the operating system provides: memory, signals, time, threads, forks and chance.

pub mod entropy;
pub mod fork;
pub mod memory;
pub mod processor_time;
pub mod processors;
pub mod scheduling;
mod signal_stack;
pub mod signals;
pub mod ticker;
