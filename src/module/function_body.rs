//! Copies the bodies of a module's functions while it is rewritten.

use super::bulk_memory::Pieces;
use super::record_calls::{Locals, RecordCalls};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Function, ValType};
use wasmparser::FunctionBody;

/// Locals that a function may have including parameters: a limit of all engines.
pub const MOST_LOCALS: u32 = 50_000;

/// Learns where instructions come.
pub trait Moves {
    /// The instruction at this position of the module comes to this offset in its function.
    fn moved(&mut self, position: usize, offset: usize);
}

/// What is done to a body.
pub struct Changes<'a> {
    /// Parameters of the function.
    pub params: u32,
    /// Long operations are divided.
    pub pieces: Option<&'a Pieces>,
    /// Calls for records are expanded. With the function's index among those with code.
    pub calls: Option<(&'a mut RecordCalls, u32)>,
}

/// So many parameters and locals does a function have.
pub fn locals(body: &FunctionBody<'_>, params: u32) -> Result<u32, wasmparser::BinaryReaderError> {
    body.get_locals_reader()?.into_iter().try_fold(params, |count, group| Ok(count.saturating_add(group?.0)))
}

/// Copies a body with its changes.
pub fn copy<R: Reencode + Moves>(
    reencoder: &mut R,
    code: &mut CodeSection,
    body: &FunctionBody<'_>,
    changes: Changes<'_>,
) -> Result<(), Error<R::Error>> {
    let mut groups = Vec::new();
    let mut count = changes.params;
    for group in body.get_locals_reader()? {
        let (group, ty) = group?;
        groups.push((group, reencoder.val_type(ty)?));
        count += group;
    }
    let mut divider = None;
    if let Some(pieces) = changes.pieces {
        let length = (count < MOST_LOCALS).then_some(count);
        groups.extend(length.map(|_| (1, ValType::I32)));
        count += u32::from(length.is_some());
        divider = Some(pieces.divider(length));
    }
    let mut calls = changes.calls;
    let (locals, added) = Locals::after(count);
    if calls.is_some() {
        groups.extend(added);
    }
    let mut function = Function::new(groups);
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        reencoder.moved(reader.original_position(), function.byte_len());
        let operator = reader.read()?;
        if let Some(divider) = &mut divider
            && divider.divide(&mut function, &operator)
        {
            continue;
        }
        if let Some((calls, place)) = &mut calls
            && let Some((call, index)) = calls.of(&operator)
        {
            let host = reencoder.function_index(index)?;
            calls.expand(&mut function, locals, *place, call, host);
            continue;
        }
        function.instruction(&reencoder.instruction(operator)?);
    }
    code.function(&function);
    Ok(())
}
