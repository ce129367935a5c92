//! Divides operations on much of a guest's memory or tables into pieces, so that the guest can be suspended in between.
//!
//! Wasmtime checks the epoch before each `memory.fill` but not inside. For all of a guest's memory that is
//! milliseconds. The same holds for `memory.copy`, `memory.init`, `table.fill`, `table.copy` and `table.init`. An
//! operation whose length is not known to be short therefore becomes
//!
//! ```wat
//! (local.tee $length) ;; the three operands stay on the stack
//! (i32.le_u (local.get $length) (i32.const PIECE))
//! (if (type $operation) (then (memory.fill)) (else (call $fill)))
//! ```
//!
//! with a function after all others of the module, so that no index changes. There is one for each operation with its
//! segment or tables. `pieces` has them.
//!
//! A short operation pays for one comparison, which is too small to measure. A call for each operation would cost
//! another third. The operands stay where they are, so Wasmtime still sees which lengths are constant.
//!
//! Active data segments are divided as well (`segments`): Wasmtime copies them when a guest is instantiated and checks
//! the epoch before each.

mod pieces;
mod segments;

pub use pieces::{Pieces, Plan};
pub use segments::{DataSegments, constant};

use wasm_encoder::{BlockType, Function, InstructionSink};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

/// What is done without an epoch check.
#[derive(Clone, Copy, Debug)]
pub struct PieceSizes {
    /// Bytes of a memory.
    pub bytes: u32,
    /// Elements of a table.
    pub elements: u32,
}

/// Bytes take some ten microseconds if the memory was used before and some thirty if its pages are new. Elements take
/// up to sixty if they are copied and were never used before. This is little compared with a time slice and hundreds of
/// times the cost of dividing.
pub(super) const PIECES: PieceSizes = PieceSizes { bytes: 128 << 10, elements: 4 << 10 };

impl Default for PieceSizes {
    fn default() -> Self {
        PIECES
    }
}

/// The prefix of the operations' codes.
const PREFIX: u8 = 0xfc;

/// The operations' codes and names in the text format.
const OPERATIONS: [(u8, &str); 6] = [
    (8, "memory.init"),
    (10, "memory.copy"),
    (11, "memory.fill"),
    (12, "table.init"),
    (14, "table.copy"),
    (17, "table.fill"),
];

/// The name of the operation with this code.
pub fn name(code: u8) -> Option<&'static str> {
    OPERATIONS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// An operation that can be divided with its immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BulkOperation {
    /// `memory.fill`
    MemoryFill,
    /// `memory.copy`
    MemoryCopy,
    /// `memory.init` from this data segment.
    MemoryInit(u32),
    /// `table.fill` of this table.
    TableFill(u32),
    /// `table.copy`
    TableCopy {
        /// The destination.
        dst: u32,
        /// The source.
        src: u32,
    },
    /// `table.init`
    TableInit {
        /// The destination.
        table: u32,
        /// The element segment.
        elem: u32,
    },
}

impl BulkOperation {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        match *operator {
            Operator::MemoryFill { mem: 0 } => Some(Self::MemoryFill),
            Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => Some(Self::MemoryCopy),
            Operator::MemoryInit { data_index, mem: 0 } => Some(Self::MemoryInit(data_index)),
            Operator::TableFill { table } => Some(Self::TableFill(table)),
            Operator::TableCopy { dst_table: dst, src_table: src } => Some(Self::TableCopy { dst, src }),
            Operator::TableInit { elem_index: elem, table } => Some(Self::TableInit { table, elem }),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::MemoryInit(_) => 8,
            Self::MemoryCopy => 10,
            Self::MemoryFill => 11,
            Self::TableInit { .. } => 12,
            Self::TableCopy { .. } => 14,
            Self::TableFill(_) => 17,
        }
    }

    /// Bytes or elements of a piece.
    fn piece(self, sizes: PieceSizes) -> u32 {
        match self {
            Self::MemoryFill | Self::MemoryCopy | Self::MemoryInit(_) => sizes.bytes,
            Self::TableFill(_) | Self::TableCopy { .. } | Self::TableInit { .. } => sizes.elements,
        }
    }

    fn emit(self, code: &mut InstructionSink<'_>, data: &DataSegments) {
        match self {
            Self::MemoryFill => code.memory_fill(0),
            Self::MemoryCopy => code.memory_copy(0, 0),
            Self::MemoryInit(segment) => code.memory_init(0, data.index(segment)),
            Self::TableFill(table) => code.table_fill(table),
            Self::TableCopy { dst, src } => code.table_copy(dst, src),
            Self::TableInit { table, elem } => code.table_init(table, elem),
        };
    }
}

/// Finds operations that may be long, operator by operator.
struct Finder {
    sizes: PieceSizes,
    /// The constant on top of the stack if the previous operator was one.
    constant: Option<u32>,
}

impl Finder {
    fn new(sizes: PieceSizes) -> Self {
        Self { sizes, constant: None }
    }

    fn next(&mut self, operator: &Operator<'_>) -> Option<BulkOperation> {
        let constant = match *operator {
            Operator::I32Const { value } => Some(value as u32),
            _ => None,
        };
        let length = core::mem::replace(&mut self.constant, constant);
        BulkOperation::of(operator).filter(|operation| length.is_none_or(|length| length > operation.piece(self.sizes)))
    }
}

/// Tells `found` about each operation of a function that may be long until it returns false.
fn find(
    body: &FunctionBody<'_>,
    sizes: PieceSizes,
    mut found: impl FnMut(BulkOperation) -> bool,
) -> Result<(), BinaryReaderError> {
    // Most functions have none. Reading their operators would cost more than searching for two bytes. The second byte
    // is the first of a LEB128. Its highest bit says whether more follow.
    if !body.as_bytes().windows(2).any(|pair| pair[0] == PREFIX && name(pair[1] & 0x7f).is_some()) {
        return Ok(());
    }
    let mut finder = Finder::new(sizes);
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        if let Some(operation) = finder.next(&reader.read()?)
            && !found(operation)
        {
            break;
        }
    }
    Ok(())
}

impl Pieces {
    /// Whether a function does something that is to be divided.
    pub fn are_in(&self, body: &FunctionBody<'_>) -> Result<bool, BinaryReaderError> {
        let mut any = false;
        find(body, self.sizes, |operation| {
            any = self.of(operation).is_some();
            !any
        })?;
        Ok(any)
    }

    /// Divides the operations of a function. `length` is a local for that. Without it there are calls.
    pub fn divider(&self, length: Option<u32>) -> Divider<'_> {
        Divider { pieces: self, finder: Finder::new(self.sizes), length }
    }
}

/// Divides the operations of one function.
pub struct Divider<'a> {
    pieces: &'a Pieces,
    finder: Finder,
    length: Option<u32>,
}

impl Divider<'_> {
    /// Writes the next operator if it is one to be divided. Must see all of them.
    pub fn divide(&mut self, function: &mut Function, operator: &Operator<'_>) -> bool {
        let Some(operation) = self.finder.next(operator) else { return false };
        let Some(piece) = self.pieces.of(operation) else { return false };
        let mut code = function.instructions();
        // Without a local only the function can be called. It handles short lengths too.
        let Some(length) = self.length else {
            code.call(piece.function);
            return true;
        };
        code.local_tee(length).local_get(length);
        code.i32_const(operation.piece(self.pieces.sizes) as i32).i32_le_u();
        code.if_(BlockType::FunctionType(piece.ty));
        operation.emit(&mut code, &self.pieces.data);
        code.else_().call(piece.function).end();
        true
    }
}

#[cfg(test)]
mod tests;
