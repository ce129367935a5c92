//! TODO

pub mod fork;
pub mod memory;
pub mod scheduling;
pub mod signals;
pub mod ticker;
