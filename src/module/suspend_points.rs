//! Gives a guest places where it can be suspended from inside synchronous host calls.
//!
//! A host function that may have to wait could be asynchronous, but then every call pays for it, also those that need not
//! wait. Ours are synchronous and answer `WOULD_BLOCK` instead. So that the guest never sees that, each such import
//! gets a wrapper, and whatever referred to the import refers to the wrapper from then on:
//!
//! ```wat
//! (func $wrapper (param …) (result i32) (local $r i32)
//!   (loop $again
//!     (local.set $r (call $import (local.get 0) …))
//!     (if (i32.ne (local.get $r) (i32.const WOULD_BLOCK)) (then (return (local.get $r))))
//!     (call $suspend_here)
//!     (br $again)))
//! (func $suspend_here)
//! ```
//!
//! `$suspend_here` is where Wasmtime looks at the epoch: a function's entry reads the deadline anew, while a loop may go
//! on with the one that it read before the call. Wrappers come after all other functions, so no index changes.

use crate::guest::transform::{MODULE, WAITING, WOULD_BLOCK};
use core::convert::Infallible;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{BlockType, CodeSection, Function, FunctionSection, ValType};
use wasmparser::{Parser, Payload, TypeRef};

/// An import that gets a wrapper.
#[derive(Clone, Debug)]
struct Waiting {
    import: u32,
    name: &'static str,
    type_index: u32,
    params: u32,
    wrapper: u32,
}

/// What was added to a module, so that backtraces can speak of the module as its author knows it.
#[derive(Debug, Default)]
pub struct Wrappers {
    /// Index of the first wrapper.
    first: u32,
    /// The import behind each wrapper, in order: its index and name.
    imports: Vec<(u32, &'static str)>,
}

/// A function of a rewritten module.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// The module's own.
    Own,
    /// A wrapper of this import.
    Import(u32, &'static str),
    /// The place of suspension.
    SuspendHere,
}

impl Wrappers {
    /// Where a function comes from.
    pub fn origin(&self, function: u32) -> Origin {
        match function.checked_sub(self.first) {
            Some(i) if !self.imports.is_empty() => match self.imports.get(i as usize) {
                Some(&(index, name)) => Origin::Import(index, name),
                None => Origin::SuspendHere,
            },
            _ => Origin::Own,
        }
    }
}

struct Rewriter {
    waiting: Vec<Waiting>,
    /// The type `() -> ()`.
    unit_type: u32,
}

/// The same module with wrappers, or `None` if it needs none. `module` must be valid.
pub fn add(module: &[u8]) -> Result<Option<(Vec<u8>, Wrappers)>, Error> {
    let Some(mut rewriter) = plan(module)? else { return Ok(None) };
    let mut out = wasm_encoder::Module::new();
    rewriter.parse_core_module(&mut out, Parser::new(0), module)?;
    let wrappers = Wrappers {
        first: rewriter.waiting[0].wrapper,
        imports: rewriter.waiting.iter().map(|w| (w.import, w.name)).collect(),
    };
    Ok(Some((out.finish(), wrappers)))
}

fn plan(module: &[u8]) -> Result<Option<Rewriter>, Error> {
    let mut waiting = Vec::new();
    let mut param_counts = Vec::new();
    let mut unit_type = None;
    let mut functions = 0;
    let mut defined = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(types) => {
                for ty in types.into_iter_err_on_gc_types() {
                    let ty = ty?;
                    if ty.params().is_empty() && ty.results().is_empty() {
                        unit_type = Some(param_counts.len() as u32);
                    }
                    param_counts.push(ty.params().len() as u32);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    let TypeRef::Func(type_index) = import.ty else { continue };
                    let name = WAITING.iter().find(|&&name| import.module == MODULE && import.name == name);
                    if let Some(name) = name {
                        let params = param_counts.get(type_index as usize).copied().unwrap_or(0);
                        waiting.push(Waiting { import: functions, name, type_index, params, wrapper: 0 });
                    }
                    functions += 1;
                }
            }
            Payload::FunctionSection(section) => {
                defined = section.count();
            }
            _ => {}
        }
    }
    // Without a function of its own a module cannot call anything.
    let (false, true, Some(unit_type)) = (waiting.is_empty(), defined > 0, unit_type) else { return Ok(None) };
    let first = functions + defined;
    for (i, w) in waiting.iter_mut().enumerate() {
        w.wrapper = first + i as u32;
    }
    Ok(Some(Rewriter { waiting, unit_type }))
}

impl Rewriter {
    fn suspend_here(&self) -> u32 {
        self.waiting.last().map_or(0, |w| w.wrapper + 1)
    }
}

impl Reencode for Rewriter {
    type Error = Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32, Error> {
        Ok(self.waiting.iter().find(|w| w.import == func).map_or(func, |w| w.wrapper))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_function_section(self, functions, section)?;
        for w in &self.waiting {
            functions.function(w.type_index);
        }
        functions.function(self.unit_type);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        for w in &self.waiting {
            code.function(&wrapper(w, self.suspend_here()));
        }
        let mut empty = Function::new([]);
        empty.instructions().end();
        code.function(&empty);
        Ok(())
    }

    /// Names are for backtraces. Debug information would have the old offsets, so it goes, and the rest with it.
    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        if let wasmparser::KnownCustom::Name(names) = section.as_known()
            // A broken name section is no reason to refuse a module: the specification says to ignore it.
            && let Ok(names) = utils::custom_name_section(self, names)
        {
            module.section(&names);
        }
        Ok(())
    }
}

fn wrapper(w: &Waiting, suspend_here: u32) -> Function {
    let result = w.params;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    code.loop_(BlockType::Empty);
    for param in 0..w.params {
        code.local_get(param);
    }
    code.call(w.import).local_tee(result).i32_const(WOULD_BLOCK).i32_ne();
    code.if_(BlockType::Empty).local_get(result).return_().end();
    code.call(suspend_here).br(0).end();
    code.unreachable().end();
    function
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GUEST: &str = r#"(module
        (type $void (func))
        (import "redpanda_transform" "check_abi_version_2" (func (type $void)))
        (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
        (table 2 funcref)
        (elem (i32.const 0) $write $_start)
        (memory (export "memory") 1)
        (export "write" (func $write))
        (func $_start (export "_start") (drop (call $write (i32.const 1) (i32.const 2)))))"#;

    #[test]
    fn every_reference_goes_to_the_wrapper_and_the_result_is_valid() {
        let module = wat::parse_str(GUEST).unwrap();
        let (out, wrappers) = add(&module).unwrap().unwrap();
        wasmparser::validate(&out).unwrap();
        let mut calls = Vec::new();
        for payload in Parser::new(0).parse_all(&out) {
            match payload.unwrap() {
                Payload::CodeSectionEntry(body) => calls.push(
                    body.get_operators_reader()
                        .unwrap()
                        .into_iter()
                        .filter_map(|op| match op.unwrap() {
                            wasmparser::Operator::Call { function_index } => Some(function_index),
                            _ => None,
                        })
                        .collect::<Vec<_>>(),
                ),
                Payload::ExportSection(exports) => {
                    let write = exports.into_iter().map(Result::unwrap).find(|e| e.name == "write").unwrap();
                    assert_eq!(write.index, 3);
                }
                Payload::ElementSection(elements) => {
                    let element = elements.into_iter().next().unwrap().unwrap();
                    let wasmparser::ElementItems::Functions(items) = element.items else { unreachable!() };
                    assert_eq!(items.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [3, 2]);
                }
                _ => {}
            }
        }
        // _start calls the wrapper; the wrapper calls the import and the place of suspension, which calls nothing.
        assert_eq!(calls, [vec![3], vec![1, 4], vec![]]);
        assert_eq!(wrappers.origin(2), Origin::Own);
        assert_eq!(wrappers.origin(3), Origin::Import(1, "write_record"));
        assert_eq!(wrappers.origin(4), Origin::SuspendHere);
    }

    #[test]
    fn a_module_that_never_waits_is_left_alone() {
        let module = wat::parse_str("(module (func))").unwrap();
        assert!(add(&module).unwrap().is_none());
    }
}
