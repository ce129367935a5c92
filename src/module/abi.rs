//! The names of the guest ABI: the host modules of Redpanda's transform SDKs and the functions of these that may have
//! to wait.

/// The host module that gives batches and takes records.
pub const TRANSFORM: &str = "redpanda_transform";

/// Its functions that may have to wait.
pub const TRANSFORM_WAITING: [&str; 3] = ["read_batch_header", "write_record", "write_record_with_options"];

/// The host module that asks for schemas.
pub const SCHEMA_REGISTRY: &str = "redpanda_schema_registry";

/// Its functions that may have to wait.
pub const SCHEMA_REGISTRY_WAITING: [&str; 5] = [
    "get_schema_definition_len",
    "get_schema_definition",
    "get_subject_schema_len",
    "get_subject_schema",
    "create_subject_schema",
];

pub use crate::base::rights::WASI;

/// What these functions return inside a wrapper of `suspend_points`. The guest's own code never sees it.
pub const WOULD_BLOCK: i32 = i32::MIN;
