//! TODO

pub mod call;
pub mod log;
pub mod schema;
pub mod schema_registry;
pub mod sink;
pub mod value;
pub mod waker;
