//! TODO

pub mod config;
pub mod description;
pub mod error;
pub mod status;
pub mod thread_mark;
