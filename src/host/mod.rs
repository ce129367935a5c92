//! What the host passes in: slices, values, callbacks, wakers, sinks, logs and schema registries.

pub mod call;
pub mod log;
pub mod owned;
pub mod parsed_output;
pub mod schema;
pub mod schema_registry;
pub mod sink;
pub mod slice;
pub mod timer;
pub mod value;
pub mod waker;
