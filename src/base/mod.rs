//! The basis of all other wings: status, error, state, text, configuration and the description of a transform.

pub mod config;
pub mod description;
pub mod error;
pub mod limits;
pub mod number;
pub mod rights;
pub mod state;
pub mod status;
pub mod text;
pub mod thread_mark;
