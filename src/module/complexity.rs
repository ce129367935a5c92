//! What it will cost to compile a module, estimated while it is validated, and limits for that.
//!
//! Cranelift cannot be interrupted, and a few kilobytes can keep it busy for minutes or take gigabytes. The estimate
//! adds up what was measured for each kind of instruction (`costs.rs`) and what grows faster than the code: loops in
//! loops, locals that change in many branches, values that blocks pass on (`function.rs`). It is meant to be high
//! enough for code that was made to be expensive. `docs/compile-limits.md` has figures.

mod costs;
mod function;
mod liveness;

pub use costs::Cost;

use crate::base::error::Error;
use crate::base::status::wasm_status as Status;
use crate::base::text::printable;
use costs::*;
use function::{FunctionParts, arity};
use wasmparser::{
    BinaryReaderError, DataKind, ElementItems, ElementKind, FuncToValidate, FuncValidatorAllocations, FunctionBody,
    KnownCustom, Name, Operator, OperatorsReader, Parser, Payload, TypeRef, ValidatorResources,
    WasmModuleResources as _,
};

/// Why a module is refused.
pub enum Refusal {
    /// The module is invalid.
    Invalid(BinaryReaderError),
    /// It is too complex.
    Complex(Error),
}

impl From<BinaryReaderError> for Refusal {
    fn from(error: BinaryReaderError) -> Self {
        Self::Invalid(error)
    }
}

/// Adds up what a module costs. The sections come in their order and the functions at last.
pub struct Estimate<'a> {
    module: &'a [u8],
    /// What multiplies the limits. `UINT32_MAX`: there are none.
    factor: u32,
    /// All of the functions that were counted, and of what is around them.
    total: Cost,
    functions: u64,
    escaping: u64,
    /// For each local the function that wrote it last.
    written: Vec<u32>,
}

impl<'a> Estimate<'a> {
    /// Of nothing so far.
    pub fn new(module: &'a [u8], factor: u32) -> Self {
        Self { module, factor, total: Cost::default(), functions: 0, escaping: 0, written: Vec::new() }
    }

    /// Counts a section that is valid.
    pub fn section(&mut self, payload: &Payload<'_>) -> core::result::Result<(), Refusal> {
        match payload {
            Payload::ImportSection(section) => {
                let functions = section.clone().into_imports().flatten();
                let count = functions.filter(|i| matches!(i.ty, TypeRef::Func(_) | TypeRef::FuncExact(_))).count();
                self.total.add(count as u64, IMPORT);
            }
            Payload::FunctionSection(section) => self.functions = section.count().into(),
            Payload::ExportSection(section) => self.escaping += u64::from(section.count()),
            Payload::TableSection(section) => self.constants(section.range()),
            Payload::GlobalSection(section) => self.constants(section.range()),
            Payload::DataSection(section) => {
                for data in section.clone() {
                    if let DataKind::Active { offset_expr, .. } = data?.kind {
                        self.constants(offset_expr.get_binary_reader().range());
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    let element = element?;
                    if let ElementKind::Active { offset_expr, .. } = element.kind {
                        self.constants(offset_expr.get_binary_reader().range());
                    }
                    match element.items {
                        ElementItems::Functions(items) => self.escaping += u64::from(items.count()),
                        ElementItems::Expressions(_, items) => {
                            self.escaping += u64::from(items.count());
                            self.total.add(items.count().into(), ELEMENT_EXPRESSION);
                            self.constants(items.range());
                        }
                    }
                }
            }
            Payload::CodeSectionStart { .. } => {
                self.total.add(self.escaping.min(self.functions), ESCAPING);
            }
            _ => {}
        }
        self.check_total()
    }

    fn constants(&mut self, range: core::ops::Range<usize>) {
        self.total.add(range.len() as u64, CONSTANT_BYTE);
    }

    /// Validates a function and counts it.
    pub fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        memory: FuncValidatorAllocations,
    ) -> core::result::Result<FuncValidatorAllocations, Refusal> {
        let ((index, parts), memory) = self.measure(function, body, memory)?;
        self.add(index, &parts)?;
        Ok(memory)
    }

    /// The function's index and what is in it.
    fn measure(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        memory: FuncValidatorAllocations,
    ) -> core::result::Result<((u32, FunctionParts), FuncValidatorAllocations), Refusal> {
        let mut validator = function.into_validator(memory);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let locals = validator.len_locals();
        if self.written.len() < locals as usize {
            // At most 50,000.
            self.written.resize(locals as usize, u32::MAX);
        }
        let ty = validator.resources().type_index_of_function(validator.index()).unwrap_or(u32::MAX);
        let (params, results) = arity(validator.resources(), ty);
        let mut parts = FunctionParts::new(locals.into(), params + results);
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } = operator
                && let Some(last) = self.written.get_mut(local_index as usize)
                && *last != validator.index()
            {
                *last = validator.index();
                parts.change();
            }
            parts.count(&validator, &operator, self.module.get(offset).copied().unwrap_or(0));
        }
        operators.finish()?;
        parts.finish();
        Ok(((validator.index(), parts), validator.into_allocations()))
    }

    fn add(&mut self, index: u32, parts: &FunctionParts) -> core::result::Result<(), Refusal> {
        let cost = parts.total();
        let (time, memory) = (self.limit(FUNCTION.time), self.limit(FUNCTION.memory));
        if cost.time > time || cost.memory > memory {
            let (what, allowed) = if cost.time > time {
                (format!("{} to be compiled", seconds(cost.time)), seconds(time))
            } else {
                (format!("{} while it is compiled", mebibytes(cost.memory)), mebibytes(memory))
            };
            let why = parts.largest(|part| if cost.time > time { part.time } else { part.memory });
            let name = function_name(self.module, index).map_or_else(String::new, |name| format!(" ({name})"));
            return Err(too_complex(&format!("function {index}{name} may take {what}, mostly for {why}"), &allowed));
        }
        self.total.add(1, Cost { memory: 0, ..cost });
        self.check_total()
    }

    fn check_total(&self) -> core::result::Result<(), Refusal> {
        let (time, kept) = (self.limit(MODULE.time), self.limit(MODULE.kept));
        if self.total.time > time {
            return Err(too_complex("the module may take longer to be compiled than is allowed", &seconds(time)));
        }
        if self.total.kept > kept {
            return Err(too_complex("the module's code may take more memory than is allowed", &mebibytes(kept)));
        }
        Ok(())
    }

    fn limit(&self, limit: u64) -> u64 {
        if self.factor == u32::MAX { u64::MAX } else { limit.saturating_mul(self.factor.into()) }
    }

    /// Of all that was counted.
    #[cfg(test)]
    pub fn total(&self) -> Cost {
        self.total
    }
}

fn seconds(nanoseconds: u64) -> String {
    format!("{:.1} s", nanoseconds as f64 / 1e9)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn too_complex(what: &str, allowed: &str) -> Refusal {
    let what = format!("{what}: the limit is {allowed}. compile_limit_factor raises it");
    Refusal::Complex(Error::new(Status::ModuleTooComplex, what))
}

/// A function's name if the module has names.
fn function_name(module: &[u8], function: u32) -> Option<String> {
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.ok()? else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        for subsection in names {
            if let Name::Function(map) = subsection.ok()? {
                return map.into_iter().flatten().find(|name| name.index == function).map(|name| printable(name.name));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
