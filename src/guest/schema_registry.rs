//! The host module `redpanda_schema_registry`, as it is for a runtime without a registry: each call says so.

use super::context::GuestState;
use wasmtime::{Error, Linker};

/// The module's name.
pub const MODULE: &str = "redpanda_schema_registry";

/// The schema registry is not enabled.
const NOT_ENABLED: i32 = -1;

/// Defines the module.
pub fn define(linker: &mut Linker<GuestState>) -> Result<(), Error> {
    linker.func_wrap(MODULE, "check_abi_version_0", || {})?;
    linker.func_wrap(MODULE, "get_schema_definition_len", |_id: i32, _length: u32| NOT_ENABLED)?;
    linker.func_wrap(MODULE, "get_schema_definition", |_id: i32, _buffer: u32, _length: u32| NOT_ENABLED)?;
    linker.func_wrap(
        MODULE,
        "get_subject_schema_len",
        |_subject: u32, _subject_length: u32, _version: i32, _length: u32| NOT_ENABLED,
    )?;
    linker.func_wrap(
        MODULE,
        "get_subject_schema",
        |_subject: u32, _subject_length: u32, _version: i32, _buffer: u32, _length: u32| NOT_ENABLED,
    )?;
    linker.func_wrap(
        MODULE,
        "create_subject_schema",
        |_subject: u32, _subject_length: u32, _buffer: u32, _length: u32, _id: u32| NOT_ENABLED,
    )?;
    Ok(())
}
