//! The wrappers of imports that may have to wait: which imports those are, the code of a wrapper, and what backtraces
//! say of one.

use super::value_types;
use crate::module::abi::{self, WOULD_BLOCK};
use crate::module::bulk_memory;
use wasm_encoder::reencode::Error;
use wasm_encoder::{BlockType, Function, ValType};
use wasmparser::FuncType;

/// An import that gets a wrapper.
#[derive(Clone, Debug)]
pub struct WaitingImport {
    /// Its index.
    pub import: u32,
    /// Module and name.
    pub name: String,
    /// The type that the guest knows.
    pub type_index: u32,
    /// The same.
    pub ty: FuncType,
    /// With a flag, the import's own type is added to the module at this index.
    pub flagged_type: Option<u32>,
    /// Index of the wrapper.
    pub wrapper: u32,
}

/// How an import reports that it would block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// By the result `WOULD_BLOCK`.
    Value,
    /// By an additional result.
    Flag,
}

impl Waits {
    /// As a number that keys and artifacts have. 0 if it does not wait.
    pub fn number(waits: Option<Self>) -> u8 {
        match waits {
            None => 0,
            Some(Self::Value) => 1,
            Some(Self::Flag) => 2,
        }
    }

    /// The reverse.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Value),
            2 => Some(Self::Flag),
            _ => None,
        }
    }
}

/// How one of the library's own imports waits.
pub fn own(module: &str, name: &str) -> Option<Waits> {
    let names: &[&str] = match module {
        abi::TRANSFORM => &abi::TRANSFORM_WAITING,
        abi::SCHEMA_REGISTRY => &abi::SCHEMA_REGISTRY_WAITING,
        _ => &[],
    };
    names.contains(&name).then_some(Waits::Value)
}

/// What was added to a module. Backtraces use it to describe the module as its author knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrappers {
    /// Index of the first function that was added.
    pub first: u32,
    /// The index and name of the import behind each wrapper in order. The suspend point comes after the wrappers if
    /// there are any.
    pub imports: Vec<(u32, String)>,
    /// The code of the operation that each of `bulk_memory`'s functions divides. These come last.
    pub bulk_operations: Vec<u8>,
}

/// A function of a rewritten module.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// The module's own.
    Own,
    /// A wrapper of this import.
    Import(u32, String),
    /// The place of suspension.
    SuspendHere,
    /// The function that divides this operation for its caller.
    BulkOperation(&'static str),
}

impl Wrappers {
    /// Where a function comes from.
    pub fn origin(&self, function: u32) -> Origin {
        let Some(i) = function.checked_sub(self.first) else { return Origin::Own };
        let mut added = i as usize;
        if let Some((index, name)) = self.imports.get(added) {
            return Origin::Import(*index, name.clone());
        }
        if !self.imports.is_empty() {
            if added == self.imports.len() {
                return Origin::SuspendHere;
            }
            added -= self.imports.len() + 1;
        }
        let name = self.bulk_operations.get(added).and_then(|&code| bulk_memory::name(code));
        name.map_or(Origin::Own, Origin::BulkOperation)
    }
}

/// The code of a wrapper.
pub fn wrapper(w: &WaitingImport, suspend_here: u32) -> Result<Function, Error> {
    let params = w.ty.params().len() as u32;
    let results = value_types(w.ty.results())?;
    let count = results.len() as u32;
    let flag = params + count;
    let flagged = w.flagged_type.is_some();
    let locals = results.into_iter().chain(flagged.then_some(ValType::I32));
    let mut function = Function::new_with_locals_types(locals);
    let mut code = function.instructions();
    for again in [false, true] {
        if again {
            code.loop_(BlockType::Empty).call(suspend_here);
        }
        for param in 0..params {
            code.local_get(param);
        }
        code.call(w.import);
        if flagged {
            code.local_set(flag);
        }
        for result in (params..flag).rev() {
            code.local_set(result);
        }
        if flagged {
            code.local_get(flag).i32_eqz();
        } else {
            code.local_get(params).i32_const(WOULD_BLOCK).i32_ne();
        }
        code.if_(BlockType::Empty);
        for result in params..flag {
            code.local_get(result);
        }
        code.return_().end();
        if again {
            code.br(0).end();
        }
    }
    code.unreachable().end();
    Ok(function)
}
