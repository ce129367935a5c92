//! Gives a guest suspend points inside of synchronous host calls.
//!
//! A host function that may have to wait could be asynchronous. Every call would then pay for that, even if it does
//! not wait. Our host functions are synchronous and return `WOULD_BLOCK` instead. The guest must not see that value,
//! so each such import gets a wrapper. All references to the import are changed to the wrapper:
//!
//! ```wat
//! (func $wrapper (param …) (result i32) (local $r i32)
//!   (local.set $r (call $import (local.get 0) …))
//!   (if (i32.ne (local.get $r) (i32.const WOULD_BLOCK)) (then (return (local.get $r))))
//!   (loop $again
//!     (call $suspend_here)
//!     (local.set $r (call $import (local.get 0) …))
//!     (if (i32.ne (local.get $r) (i32.const WOULD_BLOCK)) (then (return (local.get $r))))
//!     (br $again)))
//! (func $suspend_here)
//! ```
//!
//! The first call is before the loop because each iteration of a loop checks the epoch.
//!
//! A host function of the embedder may have any results, so no value is left to mean *would block*. Its import gets an
//! additional result: a flag that the wrapper checks.
//!
//! `$suspend_here` is where Wasmtime checks the epoch. A function's entry reads the deadline anew. A loop may use the
//! deadline that it read before the call. Wrappers come after all other functions, so no index changes.
//!
//! In the same pass `bulk_memory` divides long operations and data segments, which would have no suspend point inside,
//! and `record_calls` expands the calls for usual records.

mod wrappers;

pub use wrappers::{Origin, Waits, Wrappers, own};

use super::bulk_memory::{PIECES, PieceSizes, Pieces, Plan};
use super::function_body::{self, Changes, Moves};
use super::lines::Recorder;
use super::record_calls::{self, RecordCalls, Site};
use core::convert::Infallible;
use std::rc::Rc;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, DataSection, Function, FunctionSection, MemorySection, ValType};
use wasmparser::{CompositeInnerType, FuncType, Parser, Payload, TypeRef};
use wrappers::{WaitingImport, wrapper};

/// What is done to a module beside its suspend points.
#[derive(Default)]
pub struct Options<'a> {
    /// Is told where instructions come.
    pub recorder: Option<&'a mut Recorder>,
    /// Calls for records are expanded.
    pub expands: bool,
}

struct Rewriter<'a> {
    /// Follows where instructions come if the module has lines.
    recorder: Option<&'a mut Recorder>,
    /// Index of the first function that is added.
    first_added: u32,
    waiting: Vec<WaitingImport>,
    /// Index into `waiting` by imported function. Modules can have many imports and many more references to them.
    by_import: Vec<Option<u32>>,
    /// The type `() -> ()` if any import waits.
    unit_type: u32,
    /// What is divided if anything is.
    pieces: Option<Rc<Pieces>>,
    /// Parameters of each own function of the module whose body is still to come. The last function comes first.
    params: Vec<u32>,
    /// The calls that are expanded if any are.
    calls: Option<RecordCalls>,
    /// Bodies so far.
    bodies: u32,
}

/// The same module with wrappers and with long operations divided. `None` if it needs neither. `module` must be
/// valid.
///
/// `waits` says whether the import with this module and name may have to wait.
pub fn add(
    module: &[u8],
    waits: impl Fn(&str, &str) -> Option<Waits>,
    options: Options<'_>,
) -> Result<Option<Changed>, Error> {
    add_with(module, waits, options, PIECES)
}

/// A module that was changed.
pub struct Changed {
    /// It.
    pub module: Vec<u8>,
    /// What was added.
    pub wrappers: Wrappers,
    /// Where calls for records are expanded. If any is, the module has two more memories.
    pub sites: Vec<Site>,
}

/// The same with pieces of any size, for tests and the fuzz targets.
pub fn add_with(
    module: &[u8],
    waits: impl Fn(&str, &str) -> Option<Waits>,
    options: Options<'_>,
    sizes: PieceSizes,
) -> Result<Option<Changed>, Error> {
    let Some(mut rewriter) = plan(module, waits, options, sizes)? else { return Ok(None) };
    let mut out = wasm_encoder::Module::new();
    rewriter.parse_core_module(&mut out, Parser::new(0), module)?;
    let wrappers = Wrappers {
        first: rewriter.first_added,
        bulk_operations: rewriter.pieces.as_ref().map_or(Vec::new(), |pieces| pieces.codes()),
        imports: rewriter.waiting.into_iter().map(|w| (w.import, w.name)).collect(),
    };
    let sites = rewriter.calls.map_or(Vec::new(), |calls| calls.sites);
    Ok(Some(Changed { module: out.finish(), wrappers, sites }))
}

fn plan<'a>(
    module: &[u8],
    waits: impl Fn(&str, &str) -> Option<Waits>,
    options: Options<'a>,
    sizes: PieceSizes,
) -> Result<Option<Rewriter<'a>>, Error> {
    let mut waiting = Vec::new();
    let mut types = Vec::new();
    let mut functions = 0;
    let mut params = Vec::new();
    let mut bulk = Plan::new(sizes);
    let mut calls = RecordCalls::new();
    let (mut memories, mut bodies, mut expands, mut starts) = (0, 0, false, false);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        bulk.read(&payload)?;
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.types() {
                        types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(function.clone()),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    let TypeRef::Func(type_index) = import.ty else { continue };
                    if options.expands {
                        calls.import(import.module, import.name, functions);
                    }
                    if let Some(how) = waits(import.module, import.name)
                        && let Some(Some(ty)) = types.get(type_index as usize)
                    {
                        waiting.push(WaitingImport {
                            import: functions,
                            name: format!("{}.{}", import.module, import.name),
                            type_index,
                            ty: ty.clone(),
                            flagged_type: (how == Waits::Flag).then_some(0),
                            wrapper: 0,
                        });
                    }
                    functions += 1;
                }
            }
            Payload::FunctionSection(section) => {
                for type_index in section {
                    let ty = types.get(type_index? as usize).and_then(Option::as_ref);
                    params.push(ty.map_or(0, |ty| ty.params().len() as u32));
                }
                params.reverse();
            }
            Payload::MemorySection(section) => memories = section.count(),
            // Wasmtime calls it before the windows can be hidden (`system::memory::windows`).
            Payload::StartSection { .. } => starts = true,
            Payload::CodeSectionEntry(body) if calls.any() && !expands => {
                let count = params.len().checked_sub(1 + bodies).and_then(|i| params.get(i));
                let count = function_body::locals(&body, count.copied().unwrap_or_default())?;
                expands = calls.are_in(&body, count.saturating_add(1))?;
                bodies += 1;
            }
            _ => {}
        }
    }
    let is_unit = |ty: &FuncType| ty.params().is_empty() && ty.results().is_empty();
    let unit = types.iter().position(|ty| ty.as_ref().is_some_and(is_unit)).map(|index| index as u32);
    // A module without a function of its own cannot call anything.
    if params.is_empty() || unit.is_none() {
        waiting.clear();
    }
    let first_added = functions + params.len() as u32;
    let mut by_import = vec![None; functions as usize];
    let mut next_type = types.len() as u32;
    for (i, w) in waiting.iter_mut().enumerate() {
        w.wrapper = first_added + i as u32;
        by_import[w.import as usize] = Some(i as u32);
        if let Some(flagged) = &mut w.flagged_type {
            *flagged = next_type;
            next_type += 1;
        }
    }
    let first_piece = first_added + if waiting.is_empty() { 0 } else { waiting.len() as u32 + 1 };
    let pieces = bulk.finish(&types, next_type, first_piece).map(Rc::new);
    if waiting.is_empty() && pieces.is_none() {
        return Ok(None);
    }
    let unit_type = unit.unwrap_or_default();
    let calls = (expands && memories == 1 && !starts && !waiting.is_empty()).then_some(calls);
    let recorder = options.recorder;
    Ok(Some(Rewriter { recorder, first_added, waiting, by_import, unit_type, pieces, params, calls, bodies: 0 }))
}

impl Rewriter<'_> {
    fn of_import(&self, function: u32) -> Option<&WaitingImport> {
        let index = (*self.by_import.get(function as usize)?)?;
        self.waiting.get(index as usize)
    }

    fn suspend_here(&self) -> u32 {
        self.waiting.last().map_or(0, |w| w.wrapper + 1)
    }
}

impl Moves for Rewriter<'_> {
    fn moved(&mut self, position: usize, offset: usize) {
        if let Some(recorder) = &mut self.recorder {
            recorder.instruction(position, offset);
        }
    }
}

impl Reencode for Rewriter<'_> {
    type Error = Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32, Error> {
        Ok(self.of_import(func).map_or(func, |w| w.wrapper))
    }

    fn parse_type_section(
        &mut self,
        types: &mut wasm_encoder::TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_type_section(self, types, section)?;
        for w in self.waiting.iter().filter(|w| w.flagged_type.is_some()) {
            let params = value_types(w.ty.params())?;
            let mut results = value_types(w.ty.results())?;
            results.push(ValType::I32);
            types.ty().function(params, results);
        }
        if let Some(pieces) = self.pieces.clone() {
            pieces.add_types(self, types)?;
        }
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut wasm_encoder::ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        let mut function = 0;
        for import in section.into_imports() {
            let import = import?;
            let mut ty = self.entity_type(import.ty)?;
            if let wasm_encoder::EntityType::Function(index) = &mut ty {
                *index = self.of_import(function).and_then(|w| w.flagged_type).unwrap_or(*index);
                function += 1;
            }
            imports.import(import.module, import.name, ty);
        }
        Ok(())
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
        if !self.waiting.is_empty() {
            functions.function(self.unit_type);
        }
        if let Some(pieces) = &self.pieces {
            pieces.declare(functions);
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: wasmparser::FunctionBody<'_>) -> Result<(), Error> {
        let params = self.params.pop().unwrap_or_default();
        if let Some(recorder) = &mut self.recorder {
            recorder.function(&body.range());
        }
        let place = self.bodies;
        self.bodies += 1;
        let pieces = self.pieces.clone().map(|pieces| pieces.are_in(&body).map(|any| any.then_some(pieces)));
        let pieces = pieces.transpose()?.flatten();
        // Out of `self` while it is used beside it.
        let mut calls = self.calls.take();
        let expands = match &calls {
            Some(calls) => {
                // The divided operations take a local too.
                calls.are_in(&body, function_body::locals(&body, params)?.saturating_add(1))?
            }
            None => false,
        };
        let copied = if pieces.is_some() || expands || self.recorder.is_some() {
            let calls = calls.as_mut().filter(|_| expands).map(|calls| (calls, place));
            let changes = Changes { params, pieces: pieces.as_deref(), calls };
            function_body::copy(self, code, &body, changes)
        } else {
            utils::parse_function_body(self, code, body)
        };
        self.calls = calls;
        copied
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_memory_section(self, memories, section)?;
        if self.calls.is_some() {
            record_calls::add_memories(memories);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        for w in &self.waiting {
            code.function(&wrapper(w, self.suspend_here())?);
        }
        if !self.waiting.is_empty() {
            let mut empty = Function::new([]);
            empty.instructions().end();
            code.function(&empty);
        }
        if let Some(pieces) = &self.pieces {
            pieces.add_functions(code);
        }
        Ok(())
    }

    fn data_index(&mut self, data: u32) -> Result<u32, Error> {
        Ok(self.pieces.as_ref().map_or(data, |pieces| pieces.data().index(data)))
    }

    fn data_count(&mut self, count: u32) -> Result<u32, Error> {
        Ok(self.pieces.as_ref().map_or(count, |pieces| pieces.data().count(count)))
    }

    fn parse_data_section(
        &mut self,
        data: &mut DataSection,
        section: wasmparser::DataSectionReader<'_>,
    ) -> Result<(), Error> {
        match self.pieces.clone() {
            Some(pieces) => pieces.data().divide(self, data, section),
            None => utils::parse_data_section(self, data, section),
        }
    }

    /// Names are kept for backtraces. Debug information is removed because its offsets would be wrong. Other custom
    /// sections are removed too.
    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        if let wasmparser::KnownCustom::Name(names) = section.as_known()
            // The specification says to ignore a broken name section.
            && let Ok(names) = utils::custom_name_section(self, names)
        {
            module.section(&names);
        }
        Ok(())
    }
}

fn value_types(types: &[wasmparser::ValType]) -> Result<Vec<ValType>, Error> {
    types.iter().map(|&ty| wasm_encoder::reencode::RoundtripReencoder.val_type(ty)).collect()
}

#[cfg(test)]
mod tests;
