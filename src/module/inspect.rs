//! Reads what a module says about itself without validating it.

use serde_json::{Value, json};
use wasmparser::{BinaryReaderError, ExternalKind, KnownCustom, Parser, Payload, TypeRef};

/// An import.
#[derive(Debug)]
pub struct Import {
    /// Module name.
    pub module: String,
    /// Name in that module.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}

/// Imports that a module may have. Real modules have fewer than a hundred. Each import costs memory before anything
/// else is known about the module.
const MAX_IMPORTS: u32 = 10_000;
/// Exports that a module may have.
const MAX_EXPORTS: u32 = 100_000;
/// Memories and tables that can be read. No valid module has more than a hundred.
const MAX_MEMORIES: u32 = 10_000;
const MAX_TABLES: u32 = 10_000;
/// Entries of a list in the JSON document and characters of a type. More are left out.
const JSON_ENTRIES: usize = 1_000;
const JSON_TYPE: usize = 300;

/// What is imported or exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A function with the index of its type. `Summary::signature` has the text.
    Function(u32),
    /// A memory with its index.
    Memory(u32),
    /// Another kind by name.
    Other(&'static str),
}

/// A memory's type.
#[derive(Clone, Copy, Debug)]
pub struct DeclaredMemory {
    /// Pages at the start.
    pub initial: u64,
    /// The module's own limit in pages.
    pub maximum: Option<u64>,
    /// Addressed with 64 bits.
    pub memory64: bool,
}

/// A module's outside.
#[derive(Debug, Default)]
pub struct Summary {
    /// Bytes of the module.
    pub size: usize,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<(String, ItemKind)>,
    /// Memories in order. Imported memories come first.
    pub memories: Vec<DeclaredMemory>,
    /// Elements that each table starts with.
    pub tables: Vec<u64>,
    /// Functions that the module defines.
    pub functions: u32,
    /// Bytes of code.
    pub code_size: usize,
    /// Data segments.
    pub data_segments: u32,
    /// The producers section: field, name and version.
    pub producers: Vec<(String, String, String)>,
    /// Whether functions have names for backtraces.
    pub has_names: bool,
    types: Vec<Option<wasmparser::FuncType>>,
    function_types: Vec<u32>,
}

/// Why a module cannot be read.
#[derive(Debug)]
pub struct Unreadable(pub String);

impl From<BinaryReaderError> for Unreadable {
    fn from(error: BinaryReaderError) -> Self {
        Self(error.to_string())
    }
}

fn at_most(what: &str, count: u32, limit: u32) -> Result<(), Unreadable> {
    if count <= limit {
        return Ok(());
    }
    Err(Unreadable(format!("it has {count} {what}; {limit} are allowed")))
}

/// `(i32, i64) -> (i32)`.
pub fn signature<P: core::fmt::Display, R: core::fmt::Display>(
    params: impl Iterator<Item = P>,
    results: impl Iterator<Item = R>,
) -> String {
    fn list<T: core::fmt::Display>(types: impl Iterator<Item = T>) -> String {
        types.map(|t| t.to_string()).collect::<Vec<_>>().join(", ")
    }
    format!("({}) -> ({})", list(params), list(results))
}

impl Summary {
    /// Reads the sections. On an error the summary holds the sections before it.
    pub fn read(module: &[u8]) -> (Self, Result<(), Unreadable>) {
        let mut summary = Self { size: module.len(), ..Self::default() };
        let result = Parser::new(0).parse_all(module).try_for_each(|payload| summary.section(payload?));
        (summary, result)
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), Unreadable> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for ty in group?.types() {
                        self.types.push(match &ty.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(function) => Some(function.clone()),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                at_most("imports", imports.count(), MAX_IMPORTS)?;
                for import in imports.into_imports() {
                    let import = import?;
                    let kind = match import.ty {
                        TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                            self.function_types.push(index);
                            ItemKind::Function(index)
                        }
                        TypeRef::Memory(ty) => ItemKind::Memory(self.memory(ty)),
                        TypeRef::Table(_) => ItemKind::Other("table"),
                        TypeRef::Global(_) => ItemKind::Other("global"),
                        TypeRef::Tag(_) => ItemKind::Other("tag"),
                    };
                    self.imports.push(Import { module: import.module.into(), name: import.name.into(), kind });
                }
            }
            Payload::FunctionSection(functions) => {
                for index in functions {
                    self.function_types.push(index?);
                    self.functions += 1;
                }
            }
            Payload::MemorySection(memories) => {
                at_most("memories", memories.count(), MAX_MEMORIES)?;
                for memory in memories {
                    self.memory(memory?);
                }
            }
            Payload::TableSection(tables) => {
                at_most("tables", tables.count(), MAX_TABLES)?;
                for table in tables {
                    self.tables.push(table?.ty.initial);
                }
            }
            Payload::ExportSection(exports) => {
                at_most("exports", exports.count(), MAX_EXPORTS)?;
                for export in exports {
                    let export = export?;
                    let kind = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => ItemKind::Function(
                            self.function_types.get(export.index as usize).copied().unwrap_or(u32::MAX),
                        ),
                        ExternalKind::Memory => ItemKind::Memory(export.index),
                        ExternalKind::Table => ItemKind::Other("table"),
                        ExternalKind::Global => ItemKind::Other("global"),
                        ExternalKind::Tag => ItemKind::Other("tag"),
                    };
                    self.exports.push((export.name.into(), kind));
                }
            }
            Payload::CodeSectionStart { size, .. } => self.code_size = size as usize,
            Payload::DataSection(data) => self.data_segments = data.count(),
            Payload::CustomSection(custom) => self.custom(&custom),
            _ => {}
        }
        Ok(())
    }

    /// The specification says that a broken custom section counts as absent.
    fn custom(&mut self, custom: &wasmparser::CustomSectionReader<'_>) {
        match custom.as_known() {
            KnownCustom::Name(_) => self.has_names = true,
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().flatten() {
                    let room = JSON_ENTRIES - self.producers.len();
                    for value in field.values.into_iter().flatten().take(room) {
                        self.producers.push((field.name.into(), value.name.into(), value.version.into()));
                    }
                }
            }
            _ => {}
        }
    }

    fn memory(&mut self, ty: wasmparser::MemoryType) -> u32 {
        self.memories.push(DeclaredMemory { initial: ty.initial, maximum: ty.maximum, memory64: ty.memory64 });
        self.memories.len() as u32 - 1
    }

    /// A function type as text, such as `(i32, i64) -> (i32)`.
    pub fn signature(&self, ty: u32) -> String {
        match self.types.get(ty as usize) {
            Some(Some(ty)) => signature(ty.params().iter(), ty.results().iter()),
            _ => "not a function".into(),
        }
    }

    /// The export of this name.
    pub fn export(&self, name: &str) -> Option<&ItemKind> {
        self.exports.iter().find(|(n, _)| n == name).map(|(_, kind)| kind)
    }

    /// The version in an imported marker function `<module>.check_abi_version_<N>`. The highest version if there are
    /// several.
    pub fn abi_version(&self, module: &str) -> Option<u32> {
        self.imports
            .iter()
            .filter(|import| import.module == module)
            .filter_map(|import| import.name.strip_prefix("check_abi_version_")?.parse().ok())
            .max()
    }

    /// The module's source language if its producers section names it.
    pub fn language(&self) -> Option<&str> {
        let producer = |field: &str, name: Option<&str>| {
            let matches = |(f, n, _): &&(String, String, String)| f == field && name.is_none_or(|name| n == name);
            self.producers.iter().find(matches).map(|(_, n, _)| n.as_str())
        };
        // Rust and C++ guests name C too because of their C library's start-up code.
        producer("processed-by", Some("rustc"))
            .map(|_| "Rust")
            .or_else(|| producer("language", Some("Rust")))
            .or_else(|| producer("language", Some("C++")))
            .or_else(|| producer("language", None))
    }

    /// The summary as a JSON document.
    pub fn to_json(&self) -> Value {
        let kind = |kind: &ItemKind| match kind {
            ItemKind::Function(ty) => {
                json!({ "kind": "function", "type": self.signature(*ty).chars().take(JSON_TYPE).collect::<String>() })
            }
            ItemKind::Memory(index) => json!({ "kind": "memory", "index": index }),
            ItemKind::Other(name) => json!({ "kind": name }),
        };
        let named = |object: Value, fields: &[(&str, &str)]| {
            let mut object = object;
            for (key, value) in fields {
                object[*key] = json!(value);
            }
            object
        };
        json!({
            "size": self.size,
            "abi_version": self.abi_version(super::abi::TRANSFORM),
            "schema_registry_abi_version": self.abi_version(super::abi::SCHEMA_REGISTRY),
            "language": self.language(),
            "producers": self.producers.iter()
                .map(|(field, name, version)| json!({ "field": field, "name": name, "version": version }))
                .collect::<Vec<_>>(),
            "import_count": self.imports.len(),
            "export_count": self.exports.len(),
            "functions": self.functions,
            "code_size": self.code_size,
            "data_segments": self.data_segments,
            "has_names": self.has_names,
            "memories": self.memories.iter().take(JSON_ENTRIES)
                .map(|m| json!({ "initial_pages": m.initial, "maximum_pages": m.maximum, "memory64": m.memory64 }))
                .collect::<Vec<_>>(),
            "tables": self.tables.iter().take(JSON_ENTRIES).collect::<Vec<_>>(),
            "imports": self.imports.iter().take(JSON_ENTRIES)
                .map(|i| named(kind(&i.kind), &[("module", &i.module), ("name", &i.name)]))
                .collect::<Vec<_>>(),
            "exports": self.exports.iter().take(JSON_ENTRIES).map(|(name, k)| named(kind(k), &[("name", name)])).collect::<Vec<_>>(),
        })
    }
}
