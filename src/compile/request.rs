//! What a factory is to be made of beside its module: the transform's description and the host functions of its own.

use crate::base::config::Config;
use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::limits::TransformLimits;
use crate::base::status::wasm_status as Status;
use crate::compile::link::{Linked, RESERVED};
use crate::guest::context::GuestState;
use crate::guest::host_function::HostFunction;
use crate::host::value::wasm_value_type;
use crate::module::suspend_points::Waits;
use crate::module::validate::{HostFunctions, Imports};
use crate::system::memory::refusal;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use wasmtime::{InstancePre, Module};

/// A factory as a host asks for it.
pub struct FactoryRequest {
    /// Its description.
    pub transform: Arc<Description>,
    /// What its own host functions are.
    pub table: Arc<FunctionTable>,
    functions: Vec<HostFunction>,
}

/// The host functions of one factory without their data. Two are equal if they call the same functions with the same
/// data.
#[derive(Debug, Default)]
pub struct FunctionTable {
    types: HostFunctions,
    entries: Vec<TableEntry>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TableEntry {
    module: String,
    name: String,
    params: Vec<wasm_value_type>,
    results: Vec<wasm_value_type>,
    may_wait: bool,
    /// The addresses of function and data.
    callback: [usize; 2],
}

impl PartialEq for FunctionTable {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for FunctionTable {}

impl Hash for FunctionTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl FunctionTable {
    fn new(functions: &[HostFunction]) -> Result<Self> {
        let mut table = Self::default();
        for function in functions {
            let HostFunction { module, name, params, results, may_wait, callback } = function;
            if RESERVED.contains(&&**module) {
                return Err(Error::invalid(format!("module {module} is reserved for the library")));
            }
            if table.types.contains(module, name) {
                return Err(Error::invalid(format!("host function {module}.{name} is listed twice in functions")));
            }
            table.types.add(module, name, function.signature());
            table.entries.push(TableEntry {
                module: module.clone(),
                name: name.clone(),
                params: params.clone(),
                results: results.to_vec(),
                may_wait: *may_wait,
                callback: [callback.call as usize, callback.data.addr()],
            });
        }
        Ok(table)
    }
}

impl FactoryRequest {
    /// Checks what can be checked without the runtime's host functions.
    pub fn new(transform: Description, functions: Vec<HostFunction>) -> Result<Self> {
        transform.check()?;
        let table = Arc::new(FunctionTable::new(&functions)?);
        Ok(Self { transform: Arc::new(transform), table, functions })
    }

    /// Whatever the runtime allows: for modules without a transform.
    pub fn of_runtime(config: &Config) -> Self {
        let limits = TransformLimits::of(config);
        let transform = Arc::new(Description { limits, ..Description::default() });
        Self { transform, table: Arc::default(), functions: Vec::new() }
    }

    /// Refuses names that the runtime has.
    pub fn check_names(&self, linked: &Linked) -> Result<()> {
        match self.table.entries.iter().find(|entry| linked.functions.contains(&entry.module, &entry.name)) {
            None => Ok(()),
            Some(TableEntry { module, name, .. }) => {
                let what = format_args!(
                    "host function {module}.{name} is registered on the runtime already: a factory's own function needs \
                     another name"
                );
                Err(self.transform.error(Status::InvalidArgument, what))
            }
        }
    }

    /// What the module may import.
    pub fn imports<'a>(&'a self, linked: &'a Linked) -> Imports<'a> {
        Imports { runtime: &linked.functions, own: &self.table.types, rights: &self.transform.rights }
    }

    /// Whether and how an import may have to wait.
    pub fn waits(&self, linked: &Linked, module: &str, name: &str) -> Option<Waits> {
        let is_it = |entry: &&TableEntry| entry.module == module && entry.name == name;
        match self.table.entries.iter().find(is_it) {
            Some(entry) => entry.may_wait.then_some(Waits::Flag),
            None => linked.waits(module, name),
        }
    }

    /// Links the module with the runtime's host functions and these.
    pub fn link(self, linked: &Linked, module: &Module) -> Result<InstancePre<GuestState>> {
        let Self { transform, functions, .. } = self;
        let pre = if functions.is_empty() {
            linked.linker.instantiate_pre(module)
        } else {
            let mut linker = linked.linker.clone();
            let mut functions = functions.into_iter();
            functions
                .try_for_each(|function| Arc::new(function).define(&mut linker))
                .and_then(|()| linker.instantiate_pre(module))
        };
        pre.map_err(|e| {
            let status = if refusal::is_refusal(&e) { Status::OutOfMemory } else { Status::ModuleUnknownImport };
            transform.error(status, format_args!("the module could not be linked: {e:#}"))
        })
    }
}
