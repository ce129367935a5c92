//! A module before it runs: inspected, validated and rewritten.

pub mod abi;
pub mod artifact;
pub mod bulk_memory;
pub mod complexity;
pub mod data_image;
pub mod data_segments;
pub mod elements;
mod function_body;
pub mod inspect;
pub mod lines;
pub mod record_calls;
pub mod rights;
pub mod suspend_points;
pub mod validate;
