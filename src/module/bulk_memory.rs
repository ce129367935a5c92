//! Divides operations on much of a guest's memory into pieces, so that the guest can be suspended in between.
//!
//! Wasmtime checks the epoch before each `memory.fill` and `memory.copy` but not inside. For all of a guest's memory
//! that is milliseconds. An operation whose length is not known to be short therefore becomes
//!
//! ```wat
//! (local.tee $length) ;; the three operands stay on the stack
//! (i32.le_u (local.get $length) (i32.const PIECE))
//! (if (type $operation) (then (memory.fill)) (else (call $fill)))
//! ```
//!
//! with a function after all others of the module, so that no index changes:
//!
//! ```wat
//! (func $fill (type $operation) (param $dst i32) (param $value i32) (param $length i32)
//!   (block $rest
//!     (br_if $rest (i32.le_u (local.get $length) (i32.const PIECE)))
//!     (br_if $rest …) ;; not inside of the memory
//!     (loop $pieces
//!       (memory.fill (local.get $dst) (local.get $value) (i32.const PIECE))
//!       … ;; dst += PIECE, length -= PIECE
//!       (br_if $pieces (i32.gt_u (local.get $length) (i32.const PIECE)))))
//!   (memory.fill (local.get $dst) (local.get $value) (local.get $length)))
//! ```
//!
//! A range that is not inside the memory is left to Wasmtime as a whole: it traps before it writes anything.
//!
//! `memory.init` is not divided because its source is part of the module. Operations on tables are not divided either.
//!
//! A short operation pays for one comparison, which is too small to measure. A call for each operation would cost
//! another third. The operands stay where they are, so Wasmtime still sees which lengths are constant.

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, CodeSection, Function, InstructionSink, ValType};
use wasmparser::{BinaryReaderError, FuncType, FunctionBody, Operator};

/// Bytes that are filled or copied without an epoch check. That takes some ten microseconds if the memory was used
/// before and some thirty if its pages are new. This is little compared with a time slice and hundreds of times the
/// cost of dividing.
pub const PIECE: u32 = 128 << 10;

/// Locals that a function may have including parameters: a limit of all engines.
const MOST_LOCALS: u32 = 50_000;

/// The prefix of the operations' codes and the codes of `memory.copy` and `memory.fill`.
const PREFIX: u8 = 0xfc;
const CODES: [u8; 2] = [10, 11];

/// An operation that is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkOperation {
    /// `memory.fill`
    Fill,
    /// `memory.copy`
    Copy,
}

/// What is added to a module for them.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Index of their type, `(i32 i32 i32) -> ()`.
    pub ty: u32,
    /// Index of the first added function. The others follow.
    pub first: u32,
}

impl BulkOperation {
    /// All operations in the order of their functions.
    pub(super) const ALL: [Self; 2] = [Self::Fill, Self::Copy];

    /// Its name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fill => "memory.fill",
            Self::Copy => "memory.copy",
        }
    }

    fn of(operator: &Operator<'_>) -> Option<Self> {
        match operator {
            Operator::MemoryFill { mem: 0 } => Some(Self::Fill),
            Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => Some(Self::Copy),
            _ => None,
        }
    }

    fn emit(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Fill => code.memory_fill(0),
            Self::Copy => code.memory_copy(0, 0),
        };
    }

    /// The operation with its operands on the stack or the call. `length` is a local for it.
    fn emit_divided(self, code: &mut InstructionSink<'_>, length: Option<u32>, pieces: Pieces) {
        let function = pieces.first + self as u32;
        // Without a local only the function can be called. It handles short lengths too.
        let Some(length) = length else {
            code.call(function);
            return;
        };
        code.local_tee(length).local_get(length).i32_const(PIECE as i32).i32_le_u();
        code.if_(BlockType::FunctionType(pieces.ty));
        self.emit(code);
        code.else_().call(function).end();
    }

    /// The added function.
    pub fn function(self) -> Function {
        const DST: u32 = 0;
        /// The value of a fill or the source of a copy.
        const OTHER: u32 = 1;
        const LENGTH: u32 = 2;
        const STEP: i32 = PIECE as i32;
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.block(BlockType::Empty);
        code.local_get(LENGTH).i32_const(STEP).i32_le_u().br_if(0);
        // The later of the two ranges' ends as 64 bits.
        code.local_get(DST);
        if self == Self::Copy {
            code.local_get(OTHER).local_get(DST).local_get(OTHER).i32_gt_u().select();
        }
        code.i64_extend_i32_u().local_get(LENGTH).i64_extend_i32_u().i64_add();
        code.memory_size(0).i64_extend_i32_u().i64_const(16).i64_shl().i64_gt_u().br_if(0);
        let again = |code: &mut InstructionSink<'_>| {
            code.local_get(LENGTH).i32_const(STEP).i32_gt_u().br_if(0);
        };
        if self == Self::Copy {
            // From the back if the front of the destination may be the back of the source.
            code.local_get(DST).local_get(OTHER).i32_gt_u().if_(BlockType::Empty);
            code.loop_(BlockType::Empty);
            code.local_get(LENGTH).i32_const(STEP).i32_sub().local_set(LENGTH);
            for place in [DST, OTHER] {
                code.local_get(place).local_get(LENGTH).i32_add();
            }
            code.i32_const(STEP);
            self.emit(&mut code);
            again(&mut code);
            code.end().else_();
        }
        code.loop_(BlockType::Empty);
        code.local_get(DST).local_get(OTHER).i32_const(STEP);
        self.emit(&mut code);
        code.local_get(DST).i32_const(STEP).i32_add().local_set(DST);
        if self == Self::Copy {
            code.local_get(OTHER).i32_const(STEP).i32_add().local_set(OTHER);
        }
        code.local_get(LENGTH).i32_const(STEP).i32_sub().local_set(LENGTH);
        again(&mut code);
        code.end();
        if self == Self::Copy {
            code.end();
        }
        code.end();
        code.local_get(DST).local_get(OTHER).local_get(LENGTH);
        self.emit(&mut code);
        code.end();
        function
    }
}

impl Pieces {
    /// Whether a type is theirs.
    pub fn is_type(ty: &FuncType) -> bool {
        ty.params() == [wasmparser::ValType::I32; 3] && ty.results().is_empty()
    }
}

/// Finds operations that may be long, operator by operator.
#[derive(Default)]
struct Finder {
    /// Whether the previous operator was a constant of at most a piece. The constant is then on top of the stack.
    short: bool,
}

impl Finder {
    fn next(&mut self, operator: &Operator<'_>) -> Option<BulkOperation> {
        let constant = matches!(operator, Operator::I32Const { value } if *value as u32 <= PIECE);
        if core::mem::replace(&mut self.short, constant) { None } else { BulkOperation::of(operator) }
    }
}

/// Whether a function does something that is to be divided.
pub fn is_in(body: &FunctionBody<'_>) -> Result<bool, BinaryReaderError> {
    // Most functions have none. Reading their operators would cost more than searching for two bytes. The second byte
    // is the first of a LEB128. Its highest bit says whether more follow.
    if !body.as_bytes().windows(2).any(|pair| pair[0] == PREFIX && CODES.contains(&(pair[1] & 0x7f))) {
        return Ok(false);
    }
    let mut finder = Finder::default();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        if finder.next(&reader.read()?).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies a function of a type with so many parameters and divides its operations.
pub fn divide<R: Reencode>(
    reencoder: &mut R,
    code: &mut CodeSection,
    body: &FunctionBody<'_>,
    params: u32,
    pieces: Pieces,
) -> Result<(), Error<R::Error>> {
    let mut locals = Vec::new();
    let mut count = params;
    for group in body.get_locals_reader()? {
        let (group, ty) = group?;
        locals.push((group, reencoder.val_type(ty)?));
        count += group;
    }
    let length = (count < MOST_LOCALS).then_some(count);
    locals.extend(length.map(|_| (1, ValType::I32)));
    let mut function = Function::new(locals);
    let mut finder = Finder::default();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        let operator = reader.read()?;
        match finder.next(&operator) {
            Some(operation) => operation.emit_divided(&mut function.instructions(), length, pieces),
            None => {
                function.instruction(&reencoder.instruction(operator)?);
            }
        }
    }
    code.function(&function);
    Ok(())
}

#[cfg(test)]
mod tests;
