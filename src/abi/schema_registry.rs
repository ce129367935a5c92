//! A schema registry for guests that ask for schemas. A host without one leaves this out: its guests get an error of
//! the registry.

use super::error::wasm_error;
use super::promise;
use super::runtime::wasm_runtime;
use super::{Out, boundary, first_size, memory_is_there, take};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status;
use crate::host::call::{Expected, Settled, wasm_call, wasm_promise};
use crate::host::schema::SubjectSchema;
use crate::host::schema_registry::{self, SchemaRegistry, read_schema, wasm_schema_registry, wasm_subject_schema};
use crate::host::slice::CallScope;
use crate::host::value::wasm_value;

/// Gives guests a schema registry. Without one its functions tell them that it is not enabled. `registry` is copied.
/// Its `data` is taken over in any case. Any thread.
///
/// To be called before the runtime's first `wasm_runtime_validate`, `…_inspect` or `wasm_factory_create`. Afterwards
/// `WASM_STATUS_INVALID_STATE`. `WASM_STATUS_NULL_ARGUMENT` if a function is missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_runtime_set_schema_registry(
    runtime: *const wasm_runtime,
    registry: *const wasm_schema_registry,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so. All zeros is valid.
        let table = unsafe { take(registry, first_size!(wasm_schema_registry, create_schema), "registry")? };
        let registry = SchemaRegistry::new(table).map_err(|name| {
            Error::new(wasm_status::NullArgument, format!("the schema registry's function {name} is NULL"))
        })?;
        let runtime = scope.handle(runtime, "runtime")?;
        memory_is_there()?;
        runtime.runtime.set_schema_registry(registry)
    })
}

/// Writes the table of a new, empty registry in memory to `registry`. For tests and tools. The host owns its `data`:
/// pass it to `wasm_runtime_set_schema_registry` or free it with its `drop`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_schema_registry_in_memory(
    registry: *mut wasm_schema_registry,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |_| {
        let out = Out::new(registry, "registry")?;
        memory_is_there()?;
        out.set(schema_registry::in_memory());
        Ok(())
    })
}

fn found(scope: &CallScope, schema: *const wasm_subject_schema) -> Result<Settled> {
    let raw = scope.handle(schema, "schema")?;
    let schema = read_schema(scope, &raw.schema)?;
    Ok(Settled::Schema(Box::new(SubjectSchema { id: raw.id, version: raw.version, schema })))
}

fn return_schema(scope: &CallScope, call: *mut wasm_call, settled: impl FnOnce() -> Result<Settled>) -> Result<()> {
    let call = scope.handle_mut(call, "call")?;
    if !matches!(call.expected(), Expected::Schema | Expected::SchemaId) {
        return Err(Error::new(wasm_status::InvalidState, "this is not a call of a schema registry"));
    }
    let settled = settled()?;
    call.expected().check(&settled).map_err(Error::invalid)?;
    call.set_schema(settled);
    Ok(())
}

/// Returns the schema from `get_schema` or `get_subject_schema` synchronously. It is copied. The callback returns done
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_return_schema(
    call: *mut wasm_call,
    schema: *const wasm_subject_schema,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| return_schema(scope, call, || found(scope, schema)))
}

/// Returns the id from `create_schema` synchronously. The callback returns done then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_call_return_schema_id(
    call: *mut wasm_call,
    id: i32,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| return_schema(scope, call, || Ok(Settled::Values(vec![wasm_value { i32: id }]))))
}

/// Resolves the promise of `get_schema` or `get_subject_schema`. The schema is copied. Otherwise as
/// `wasm_promise_resolve`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_promise_resolve_schema(
    promise: *mut wasm_promise,
    schema: *const wasm_subject_schema,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| promise::settle(scope, promise, found(scope, schema)?))
}
