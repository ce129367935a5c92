//! Validates a module before it is compiled and says precisely what is wrong with it.

use super::abi;
use super::inspect::{Import, ItemKind, Summary};
use crate::base::config::WASM_PAGE;
use crate::base::error::{Error, Result};
use crate::base::rights::Rights;
use crate::base::status::wasm_status as Status;
use crate::base::text::printable;
use crate::module::artifact;
use crate::module::complexity::{Estimate, Refusal};
use crate::module::rights::{self, Lacking};
use std::collections::HashMap;
use wasmparser::{FuncValidatorAllocations, Parser, ValidPayload, Validator, WasmFeatures};

/// The functions that guests may import: type by module and name.
#[derive(Debug, Default)]
pub struct HostFunctions(HashMap<String, HashMap<String, String>>);

impl HostFunctions {
    /// Adds a function with its type as text.
    pub fn add(&mut self, module: &str, name: &str, signature: String) {
        self.0.entry(module.into()).or_default().insert(name.into(), signature);
    }

    /// Whether there is a function of this name.
    pub fn contains(&self, module: &str, name: &str) -> bool {
        self.0.get(module).is_some_and(|functions| functions.contains_key(name))
    }

    fn find(&self, import: &Import) -> Option<&str> {
        self.0.get(&import.module)?.get(&import.name).map(String::as_str)
    }
}

/// What a module may import.
#[derive(Clone, Copy)]
pub struct Imports<'a> {
    /// The runtime's host functions and the library's.
    pub runtime: &'a HostFunctions,
    /// Those of the factory.
    pub own: &'a HostFunctions,
    /// Which of all these the transform has a right to.
    pub rights: &'a Rights,
}

impl Imports<'_> {
    fn find(&self, import: &Import) -> Option<&str> {
        self.own.find(import).or_else(|| self.runtime.find(import))
    }
}

/// Limits that a module must keep.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of the module.
    pub size: usize,
    /// Initial bytes of the memory.
    pub memory: usize,
    /// Its tables.
    pub tables: usize,
    /// Initial elements of all tables together.
    pub table_elements: usize,
}

/// What modules may use: Wasmtime's defaults without what `wasmtime_config` turns off. A test compares the two.
const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .difference(WasmFeatures::GC_TYPES)
    .difference(WasmFeatures::GC)
    .difference(WasmFeatures::EXCEPTIONS)
    .difference(WasmFeatures::MEMORY64)
    .difference(WasmFeatures::MULTI_MEMORY)
    .difference(WasmFeatures::THREADS);

const MAGIC: &[u8] = b"\0asm";
const CORE_VERSION: &[u8] = &[1, 0, 0, 0];

/// How many names a message lists.
const NAMES_SHOWN: usize = 8;

/// Checks the module against the Wasm specification and against the limits of what is compiled, which `factor`
/// multiplies. On the calling thread: Wasmtime's own function starts threads of Rayon.
pub fn check_specification(module: &[u8], factor: u32) -> Result<()> {
    validate_all(module, factor).map_err(|refusal| match refusal {
        Refusal::Invalid(e) => Error::new(Status::ModuleInvalid, format!("the module is not valid: {e}")),
        Refusal::Complex(e) => e,
    })
}

fn validate_all(module: &[u8], factor: u32) -> core::result::Result<(), Refusal> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut estimate = Estimate::new(module, factor);
    let mut functions = Vec::new();
    for payload in parser.parse_all(module) {
        let payload = payload?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            functions.push((function, body));
        } else {
            estimate.section(&payload)?;
        }
    }
    // Their bodies may refer to what comes behind them.
    let mut memory = FuncValidatorAllocations::default();
    for (function, body) in functions {
        memory = estimate.function(function, &body, memory)?;
    }
    Ok(())
}

/// All checks but the one of the specification.
pub fn check(module: &[u8], bounds: Bounds, host: Imports<'_>) -> Result<Summary> {
    check_format(module, bounds.size)?;
    let (summary, read) = Summary::read(module);
    read.map_err(|e| Error::new(Status::ModuleInvalid, format!("the module is malformed: {}", e.0)))?;
    check_exports(&summary, bounds.memory)?;
    check_tables(&summary, bounds.tables, bounds.table_elements)?;
    check_abi(&summary)?;
    check_imports(&summary, host)?;
    Ok(summary)
}

fn check_format(module: &[u8], limit: usize) -> Result<()> {
    if !module.starts_with(MAGIC) {
        let text = core::str::from_utf8(&module[..module.len().min(4096)]).map(str::trim_start);
        if text.is_ok_and(|text| text.starts_with("(module") || text.starts_with(";;") || text.starts_with("(;")) {
            return Err(Error::new(
                Status::ModuleTextFormat,
                "this is WebAssembly text: compile it to binary first (for instance with wat2wasm)",
            ));
        }
        let what = if module.is_empty() {
            "the module is empty"
        } else if module.starts_with(artifact::MAGIC) {
            "this is an artifact of wasm_runtime_precompile and not a module: use wasm_factory_load"
        } else {
            "this is not WebAssembly: it does not begin with \\0asm"
        };
        return Err(Error::new(Status::ModuleNotWasm, what));
    }
    if module.len() > limit {
        return Err(Error::new(
            Status::ModuleTooLarge,
            format!("the module has {} bytes, more than max_module_size ({limit})", module.len()),
        ));
    }
    match module.get(4..8) {
        Some(CORE_VERSION) => Ok(()),
        Some([_, _, 1, 0]) => Err(Error::new(
            Status::ModuleIsComponent,
            "this is a component and a transform is a core module: build it for wasm32-wasip1 instead of wasip2",
        )),
        _ => Err(Error::new(Status::ModuleInvalid, "the module's version is not 1")),
    }
}

fn check_exports(summary: &Summary, memory_limit: usize) -> Result<()> {
    match summary.export("_start") {
        Some(&ItemKind::Function(ty)) => {
            let ty = summary.signature(ty);
            if ty != "() -> ()" {
                let ty = printable(&ty);
                return Err(Error::new(
                    Status::ModuleStartSignature,
                    format!("_start has type {ty} instead of () -> ()"),
                ));
            }
        }
        _ => {
            return Err(Error::new(
                Status::ModuleNoStart,
                "the module exports no function _start: build it as a command and not as a library (reactor)",
            ));
        }
    }
    let Some(ItemKind::Memory(index)) = summary.export("memory") else {
        return Err(Error::new(Status::ModuleNoMemory, "the module exports no memory named \"memory\""));
    };
    let Some(memory) = summary.memories.get(*index as usize) else {
        return Err(Error::new(Status::ModuleInvalid, "the exported memory does not exist"));
    };
    if memory.memory64 {
        return Err(Error::new(Status::ModuleMemory64, "the memory is addressed with 64 bits: build for wasm32"));
    }
    let initial = memory.initial.saturating_mul(WASM_PAGE as u64);
    if initial > memory_limit as u64 {
        return Err(Error::new(
            Status::ModuleMemoryLimit,
            format!("the module starts with {initial} bytes of memory, more than memory_limit ({memory_limit})"),
        ));
    }
    Ok(())
}

fn check_tables(summary: &Summary, tables: usize, limit: usize) -> Result<()> {
    if summary.tables.len() > tables {
        return Err(Error::new(
            Status::ModuleTableLimit,
            format!("the module has {} tables but this host allows {tables}", summary.tables.len()),
        ));
    }
    let elements = summary.tables.iter().fold(0u64, |sum, &initial| sum.saturating_add(initial));
    if elements > limit as u64 {
        return Err(Error::new(
            Status::ModuleTableLimit,
            format!("the module's tables start with {elements} elements, more than table_limit ({limit})"),
        ));
    }
    Ok(())
}

fn check_abi(summary: &Summary) -> Result<()> {
    match summary.abi_version(abi::TRANSFORM) {
        Some(1 | 2) => {}
        Some(version) => {
            return Err(Error::new(
                Status::ModuleUnknownAbi,
                format!("the module needs transform ABI version {version}: this host has 1 and 2"),
            ));
        }
        None => {
            return Err(Error::new(
                Status::ModuleNoAbi,
                "the module imports no redpanda_transform.check_abi_version_*: it was not built with a transform SDK",
            ));
        }
    }
    match summary.abi_version(abi::SCHEMA_REGISTRY) {
        None | Some(0) => Ok(()),
        Some(version) => Err(Error::new(
            Status::ModuleUnknownSchemaRegistry,
            format!("the module needs schema registry ABI version {version}: this host has 0"),
        )),
    }
}

/// Names for a message.
fn list(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    names.truncate(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

fn check_imports(summary: &Summary, host: Imports<'_>) -> Result<()> {
    let name = |import: &Import| printable(&format!("{}.{}", import.module, import.name));
    let unknown: Vec<_> = summary
        .imports
        .iter()
        .filter(|import| !matches!(import.kind, ItemKind::Function(_)) || host.find(import).is_none())
        .map(name)
        .collect();
    if !unknown.is_empty() {
        let names = list(unknown);
        return Err(Error::new(
            Status::ModuleUnknownImport,
            format!("the module imports what this host does not have: {names}"),
        ));
    }
    let denied: Vec<_> = summary
        .imports
        .iter()
        .filter_map(|import| {
            Some(match rights::lacking(host.rights, &import.module, &import.name)? {
                Lacking::Import => format!("{} (allowed_imports does not have it)", name(import)),
                Lacking::Wasi(right) => format!("{} (wasi_rights needs {})", name(import), right.name()),
            })
        })
        .collect();
    if !denied.is_empty() {
        let names = list(denied);
        return Err(Error::new(
            Status::ModuleImportDenied,
            format!("the module imports what this transform has no right to: {names}"),
        ));
    }
    for import in &summary.imports {
        let (ItemKind::Function(ty), Some(expected)) = (import.kind, host.find(import)) else { continue };
        let found = summary.signature(ty);
        if found != expected {
            let found = printable(&found);
            return Err(Error::new(
                Status::ModuleImportSignature,
                format!(
                    "the module imports {}.{} as {found}: this host has it as {expected}",
                    import.module, import.name
                ),
            ));
        }
    }
    Ok(())
}
