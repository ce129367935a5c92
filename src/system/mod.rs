//! What the operating system gives: memory, signals, time, threads, forks.

pub mod fork;
pub mod memory;
pub mod scheduling;
pub mod signals;
pub mod ticker;
