//! A schema registry: the host's own or one in memory.
#![allow(unsafe_code)]

use super::owned::{Owned, host_data};
use crate::base::error::{Error, Result};
use crate::base::number::{wasm_callback_result_number, wasm_schema_type_number};
use crate::batch::fallible;
use crate::host::call::{Settled, wasm_call, wasm_callback_result};
use crate::host::schema::{Reference, Schema, SubjectSchema, wasm_schema_type};
use crate::host::slice::{self, CallScope, wasm_slice};
use crate::host::value::wasm_value;
use core::ffi::c_void;
use parking_lot::Mutex;
use std::collections::{HashMap, TryReserveError};

/// A reference of a schema to another one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_schema_reference {
    /// The name by which the schema refers to the other.
    pub name: wasm_slice,
    /// The other's subject.
    pub subject: wasm_slice,
    /// The other's version.
    pub version: i32,
}

/// A schema.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_schema {
    /// Its language.
    pub schema_type: wasm_schema_type_number,
    /// The schema's text.
    pub definition: wasm_slice,
    /// The schemas that this one refers to.
    pub references: *const wasm_schema_reference,
    /// Number of `references`.
    pub reference_count: usize,
}

/// A schema with its place in a registry.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_subject_schema {
    /// The schema's id. Unique in the registry.
    pub id: i32,
    /// Number of the schema within its subject.
    pub version: i32,
    /// The schema.
    pub schema: wasm_schema,
}

/// A schema registry of the host.
///
/// Its functions are called on the threads of engines while their guests run and on the guests' stacks. Several
/// threads may call them at once. Each returns a `wasm_callback_result`. Done: after `wasm_call_return_schema` or
/// `wasm_call_return_schema_id`. Pending: with a promise, which is resolved by `wasm_promise_resolve_schema`, or by
/// `wasm_promise_resolve_values` with the id. Failed: the guest sees an error of the registry and the log gets a
/// warning with the reason. Arguments are valid until the function returns. The functions must not throw and must not
/// block.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_schema_registry {
    /// `sizeof(wasm_schema_registry)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once when the runtime and everything made from it are gone. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// The schema of this id. The `version` of the result is ignored.
    pub get_schema:
        Option<unsafe extern "C" fn(data: *mut c_void, id: i32, call: *mut wasm_call) -> wasm_callback_result_number>,
    /// Gets the schema of a subject in this version. −1 is the latest.
    pub get_subject_schema: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            subject: wasm_slice,
            version: i32,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
    /// Registers a schema under a subject or finds the existing one. The result is its id.
    pub create_schema: Option<
        unsafe extern "C" fn(
            data: *mut c_void,
            subject: wasm_slice,
            schema: *const wasm_schema,
            call: *mut wasm_call,
        ) -> wasm_callback_result_number,
    >,
}

/// A schema from C.
pub(crate) fn read_schema(scope: &CallScope, raw: &wasm_schema) -> Result<Schema> {
    let ty = wasm_schema_type::from_number(raw.schema_type)
        .ok_or_else(|| Error::invalid(format!("{} is not a wasm_schema_type", raw.schema_type)))?;
    // SAFETY: the header says that arrays in arguments can be read for the call.
    let references = unsafe { slice::array(raw.references, raw.reference_count, "references")? };
    let reference = |r: &wasm_schema_reference| -> Result<Reference> {
        Ok(Reference {
            name: r.name.owned(scope, "reference name")?,
            subject: r.subject.owned(scope, "reference subject")?,
            version: r.version,
        })
    };
    let mut copies = fallible::vec(references.len())?;
    for raw in references {
        copies.push(reference(raw)?);
    }
    Ok(Schema { ty, definition: raw.definition.owned(scope, "definition")?, references: copies })
}

host_data!(wasm_schema_registry: AnyThread, "The header says: on several threads at once, and `drop` on any.");

/// A registry that is owned.
pub struct SchemaRegistry(Owned<wasm_schema_registry>);

impl SchemaRegistry {
    /// Takes ownership of a host's registry. `None` if a function is missing. The text names it.
    pub fn new(table: Owned<wasm_schema_registry>) -> Result<Self, &'static str> {
        match *table {
            wasm_schema_registry { get_schema: None, .. } => Err("get_schema"),
            wasm_schema_registry { get_subject_schema: None, .. } => Err("get_subject_schema"),
            wasm_schema_registry { create_schema: None, .. } => Err("create_schema"),
            _ => Ok(Self(table)),
        }
    }

    /// Asks for a schema by id.
    pub fn get_schema(&self, id: i32, call: &mut wasm_call) -> u32 {
        let Some(function) = self.0.get_schema else { return wasm_callback_result::Failed as u32 };
        // SAFETY: the host passed function and data together. `call` lives until after the call.
        unsafe { function(self.0.data, id, call) }
    }

    /// Asks for a subject's schema.
    pub fn get_subject_schema(&self, subject: &str, version: i32, call: &mut wasm_call) -> u32 {
        let Some(function) = self.0.get_subject_schema else { return wasm_callback_result::Failed as u32 };
        // SAFETY: the host passed function and data together. The arguments live until after the call.
        unsafe { function(self.0.data, wasm_slice::of(subject.as_bytes()), version, call) }
    }

    /// Registers a schema.
    pub fn create_schema(&self, subject: &str, schema: &Schema, call: &mut wasm_call) -> Result<u32, TryReserveError> {
        let Some(function) = self.0.create_schema else { return Ok(wasm_callback_result::Failed as u32) };
        let mut references = fallible::vec(schema.references.len())?;
        references.extend(schema.references.iter().map(|r| wasm_schema_reference {
            name: wasm_slice::of(r.name.as_bytes()),
            subject: wasm_slice::of(r.subject.as_bytes()),
            version: r.version,
        }));
        let raw = wasm_schema {
            schema_type: schema.ty as u32,
            definition: wasm_slice::of(schema.definition.as_bytes()),
            references: references.as_ptr(),
            reference_count: references.len(),
        };
        // SAFETY: the host passed function and data together. The arguments live until after the call.
        Ok(unsafe { function(self.0.data, wasm_slice::of(subject.as_bytes()), &raw const raw, call) })
    }
}

/// The registry in memory for tests and tools. Ids count up from 1. So do versions within a subject. A schema that is
/// registered again keeps its numbers.
#[derive(Default)]
struct InMemory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    schemas: Vec<Schema>,
    /// Ids by subject in the order of versions.
    subjects: HashMap<String, Vec<usize>>,
}

impl Tables {
    fn create(&mut self, subject: &str, schema: Schema) -> i32 {
        let index = self.schemas.iter().position(|known| *known == schema).unwrap_or_else(|| {
            self.schemas.push(schema);
            self.schemas.len() - 1
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&index) {
            versions.push(index);
        }
        index as i32 + 1
    }

    fn by_id(&self, id: i32) -> Result<SubjectSchema, String> {
        let schema = usize::try_from(i64::from(id) - 1).ok().and_then(|index| self.schemas.get(index));
        let schema = schema.ok_or_else(|| format!("there is no schema with id {id}"))?;
        Ok(SubjectSchema { id, version: 0, schema: schema.clone() })
    }

    fn by_subject(&self, subject: &str, version: i32) -> Result<SubjectSchema, String> {
        let versions = self.subjects.get(subject).ok_or_else(|| format!("there is no subject \"{subject}\""))?;
        let number = if version == -1 { versions.len() as i32 } else { version };
        let index = usize::try_from(i64::from(number) - 1).ok().and_then(|i| versions.get(i));
        let index = *index.ok_or_else(|| format!("subject \"{subject}\" has no version {version}"))?;
        Ok(SubjectSchema { id: index as i32 + 1, version: number, schema: self.schemas[index].clone() })
    }
}

fn answer(call: &mut wasm_call, found: Result<Settled, String>) -> u32 {
    match found {
        Ok(settled) => {
            call.set_schema(settled);
            wasm_callback_result::Done as u32
        }
        Err(why) => {
            call.fail(why);
            wasm_callback_result::Failed as u32
        }
    }
}

/// A table for a new registry in memory.
pub fn in_memory() -> wasm_schema_registry {
    unsafe extern "C" fn get_schema(data: *mut c_void, id: i32, call: *mut wasm_call) -> u32 {
        // SAFETY: the table's data is a registry in memory until its drop. `call` is the library's.
        let (registry, call) = unsafe { (&*data.cast::<InMemory>(), &mut *call) };
        answer(call, registry.0.lock().by_id(id).map(|found| Settled::Schema(Box::new(found))))
    }
    unsafe extern "C" fn get_subject_schema(
        data: *mut c_void,
        subject: wasm_slice,
        version: i32,
        call: *mut wasm_call,
    ) -> u32 {
        // SAFETY: as above.
        let (registry, call, scope) = unsafe { (&*data.cast::<InMemory>(), &mut *call, CallScope::new()) };
        let found = subject
            .text(&scope, "subject")
            .map_err(|e| e.message)
            .and_then(|subject| registry.0.lock().by_subject(subject, version));
        answer(call, found.map(|found| Settled::Schema(Box::new(found))))
    }
    unsafe extern "C" fn create_schema(
        data: *mut c_void,
        subject: wasm_slice,
        schema: *const wasm_schema,
        call: *mut wasm_call,
    ) -> u32 {
        // SAFETY: as above. The schema is borrowed for the call.
        let (registry, call, schema, scope) =
            unsafe { (&*data.cast::<InMemory>(), &mut *call, &*schema, CallScope::new()) };
        let created = read_schema(&scope, schema)
            .and_then(|schema| Ok(registry.0.lock().create(subject.text(&scope, "subject")?, schema)));
        answer(call, created.map(|id| Settled::Values(vec![wasm_value { i32: id }])).map_err(|e| e.message))
    }
    unsafe extern "C" fn drop_registry(data: *mut c_void) {
        // SAFETY: `data` is the box below. It is dropped once.
        drop(unsafe { Box::from_raw(data.cast::<InMemory>()) });
    }
    wasm_schema_registry {
        size: size_of::<wasm_schema_registry>(),
        data: Box::into_raw(Box::<InMemory>::default()).cast(),
        drop: Some(drop_registry),
        get_schema: Some(get_schema),
        get_subject_schema: Some(get_subject_schema),
        create_schema: Some(create_schema),
    }
}
