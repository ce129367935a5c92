//! Which operations of a module are divided and the functions that do it:
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
//! A range that is not inside the memory, the table or the segment is left to Wasmtime as a whole: it traps before it
//! writes anything. Code cannot ask whether a segment was dropped. If so the first piece traps. Nothing can drop it
//! between the pieces.

use super::segments::DataSegments;
use super::{BulkOperation, PieceSizes, find};
use core::convert::Infallible;
use std::collections::{BTreeMap, BTreeSet};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, CodeSection, Function, FunctionSection, InstructionSink, TypeSection};
use wasmparser::{
    BinaryReaderError, ElementItems, ElementKind, ElementSectionReader, FuncType, FunctionBody, Payload, TableType,
    TypeRef, ValType,
};

/// Collects what is known about a module's operations, section by section.
pub struct Plan {
    sizes: PieceSizes,
    operations: BTreeSet<BulkOperation>,
    tables: Vec<TableType>,
    /// Elements of each segment. Zero if it is not passive and so can be no source.
    elements: Vec<u32>,
    data: DataSegments,
    /// The memory has all pages that can be addressed.
    fills_address_space: bool,
}

/// Pages of 4 GiB.
const PAGES: u64 = 1 << 16;

/// What is added to a module for its operations.
pub struct Pieces {
    pub(super) sizes: PieceSizes,
    pub(super) data: DataSegments,
    operations: BTreeMap<BulkOperation, Piece>,
    /// Types that the module does not have.
    types: Vec<FuncType>,
    /// The size of each data segment and of each element segment.
    segments: [Vec<u32>; 2],
}

/// The function that divides one operation.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub function: u32,
    pub ty: u32,
}

impl Plan {
    /// Nothing is known yet.
    pub(in crate::module) fn new(sizes: PieceSizes) -> Self {
        let (operations, tables, elements) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self { sizes, operations, tables, elements, data: DataSegments::default(), fills_address_space: false }
    }

    /// Looks at the next part of the module.
    pub fn read(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    if let TypeRef::Table(ty) = import?.ty {
                        self.tables.push(ty);
                    }
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    self.tables.push(table?.ty);
                }
            }
            Payload::ElementSection(elements) => self.read_elements(elements.clone())?,
            Payload::CodeSectionEntry(body) => self.read_body(body)?,
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.fills_address_space |= memory?.initial >= PAGES;
                }
            }
            Payload::DataSection(data) => {
                // In such a memory a piece may end where addresses wrap around: the next would not trap.
                let piece = if self.fills_address_space { u32::MAX } else { self.sizes.bytes };
                self.data = DataSegments::read(data.clone(), piece)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn read_elements(&mut self, elements: ElementSectionReader<'_>) -> Result<(), BinaryReaderError> {
        for element in elements {
            let element = element?;
            let count = match element.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            };
            self.elements.push(if matches!(element.kind, ElementKind::Passive) { count } else { 0 });
        }
        Ok(())
    }

    fn read_body(&mut self, body: &FunctionBody<'_>) -> Result<(), BinaryReaderError> {
        find(body, self.sizes, |operation| {
            self.operations.insert(operation);
            true
        })
    }

    /// The most bytes or elements that an operation can work on if the module says.
    fn most(&self, operation: BulkOperation) -> u64 {
        let table = |index: u32| self.tables.get(index as usize).and_then(|ty| ty.maximum).unwrap_or(u64::MAX);
        match operation {
            BulkOperation::MemoryFill | BulkOperation::MemoryCopy => u64::MAX,
            BulkOperation::MemoryInit(data) => self.data.passive(data).into(),
            BulkOperation::TableFill(index) => table(index),
            BulkOperation::TableCopy { dst, src } => table(dst).min(table(src)),
            BulkOperation::TableInit { table: index, elem } => {
                table(index).min(self.elements.get(elem as usize).copied().unwrap_or_default().into())
            }
        }
    }

    /// What is to be added to a module with these types. Its own functions are numbered from `first` on and new types
    /// from `next_type` on. None if nothing is divided.
    pub fn finish(self, types: &[Option<FuncType>], next_type: u32, first: u32) -> Option<Pieces> {
        // A module can have as many segments as it has bytes. Only long ones need a function.
        let long = |operation: &BulkOperation| self.most(*operation) > operation.piece(self.sizes).into();
        let long: Vec<_> = self.operations.iter().copied().filter(long).collect();
        if long.is_empty() && !self.data.are_divided() {
            return None;
        }
        let segments = [self.data.sizes(), self.elements];
        let mut pieces =
            Pieces { sizes: self.sizes, data: self.data, operations: BTreeMap::new(), types: vec![], segments };
        for (function, operation) in (first..).zip(long) {
            let value = match operation {
                BulkOperation::TableFill(table) => self.tables.get(table as usize).map(|ty| ty.element_type),
                _ => None,
            };
            let params = [ValType::I32, value.map_or(ValType::I32, ValType::Ref), ValType::I32];
            let ty = FuncType::new(params, []);
            let known = types.iter().position(|known| known.as_ref() == Some(&ty));
            let ty = known.map(|known| known as u32).unwrap_or_else(|| {
                let new = pieces.types.iter().position(|new| *new == ty).unwrap_or_else(|| {
                    pieces.types.push(ty);
                    pieces.types.len() - 1
                });
                next_type + new as u32
            });
            pieces.operations.insert(operation, Piece { function, ty });
        }
        Some(pieces)
    }
}

impl Pieces {
    /// The codes of the operations that get a function, in their order.
    pub fn codes(&self) -> Vec<u8> {
        self.operations.keys().map(|operation| operation.code()).collect()
    }

    /// The module's data segments.
    pub fn data(&self) -> &DataSegments {
        &self.data
    }

    pub(super) fn of(&self, operation: BulkOperation) -> Option<Piece> {
        self.operations.get(&operation).copied()
    }

    /// Adds their types after all others.
    pub fn add_types<R: Reencode<Error = Infallible>>(
        &self,
        reencoder: &mut R,
        types: &mut TypeSection,
    ) -> Result<(), Error> {
        for ty in &self.types {
            let params = ty.params().iter().map(|&ty| reencoder.val_type(ty)).collect::<Result<Vec<_>, _>>()?;
            types.ty().function(params, []);
        }
        Ok(())
    }

    /// Declares the functions after all others.
    pub fn declare(&self, functions: &mut FunctionSection) {
        for piece in self.operations.values() {
            functions.function(piece.ty);
        }
    }

    /// Adds the functions after all others.
    pub fn add_functions(&self, code: &mut CodeSection) {
        for &operation in self.operations.keys() {
            code.function(&self.function(operation));
        }
    }

    fn function(&self, operation: BulkOperation) -> Function {
        const DST: u32 = 0;
        /// The value of a fill or the position in the source.
        const OTHER: u32 = 1;
        const LENGTH: u32 = 2;
        let step = operation.piece(self.sizes) as i32;
        let source = operation.source();
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.block(BlockType::Empty);
        code.local_get(LENGTH).i32_const(step).i32_le_u().br_if(0);
        let ranges = [Some((DST, operation.destination())), source.map(|source| (OTHER, source))];
        for (from, place) in ranges.into_iter().flatten() {
            // The range's end as 64 bits.
            code.local_get(from).i64_extend_i32_u().local_get(LENGTH).i64_extend_i32_u().i64_add();
            self.emit_size(&mut code, place);
            code.i64_gt_u().br_if(0);
        }
        let again = |code: &mut InstructionSink<'_>| {
            code.local_get(LENGTH).i32_const(step).i32_gt_u().br_if(0);
        };
        let overlap = source == Some(operation.destination());
        if overlap {
            // From the back if the front of the destination may be the back of the source.
            code.local_get(DST).local_get(OTHER).i32_gt_u().if_(BlockType::Empty);
            code.loop_(BlockType::Empty);
            code.local_get(LENGTH).i32_const(step).i32_sub().local_set(LENGTH);
            for place in [DST, OTHER] {
                code.local_get(place).local_get(LENGTH).i32_add();
            }
            code.i32_const(step);
            operation.emit(&mut code, &self.data);
            again(&mut code);
            code.end().else_();
        }
        code.loop_(BlockType::Empty);
        code.local_get(DST).local_get(OTHER).i32_const(step);
        operation.emit(&mut code, &self.data);
        code.local_get(DST).i32_const(step).i32_add().local_set(DST);
        if source.is_some() {
            code.local_get(OTHER).i32_const(step).i32_add().local_set(OTHER);
        }
        code.local_get(LENGTH).i32_const(step).i32_sub().local_set(LENGTH);
        again(&mut code);
        code.end();
        if overlap {
            code.end();
        }
        code.end();
        code.local_get(DST).local_get(OTHER).local_get(LENGTH);
        operation.emit(&mut code, &self.data);
        code.end();
        function
    }

    /// The size of a place as 64 bits.
    fn emit_size(&self, code: &mut InstructionSink<'_>, place: Place) {
        let constant = |sizes: &[u32], index: u32| sizes.get(index as usize).copied().unwrap_or_default().into();
        match place {
            Place::Memory => code.memory_size(0).i64_extend_i32_u().i64_const(16).i64_shl(),
            Place::Table(table) => code.table_size(table).i64_extend_i32_u(),
            Place::Data(segment) => code.i64_const(constant(&self.segments[0], segment)),
            Place::Elements(segment) => code.i64_const(constant(&self.segments[1], segment)),
        };
    }
}

/// What an operation reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Table(u32),
    Data(u32),
    Elements(u32),
}

impl BulkOperation {
    fn destination(self) -> Place {
        match self {
            Self::MemoryFill | Self::MemoryCopy | Self::MemoryInit(_) => Place::Memory,
            Self::TableFill(table) | Self::TableCopy { dst: table, .. } | Self::TableInit { table, .. } => {
                Place::Table(table)
            }
        }
    }

    fn source(self) -> Option<Place> {
        match self {
            Self::MemoryFill | Self::TableFill(_) => None,
            Self::MemoryCopy => Some(Place::Memory),
            Self::MemoryInit(segment) => Some(Place::Data(segment)),
            Self::TableCopy { src, .. } => Some(Place::Table(src)),
            Self::TableInit { elem, .. } => Some(Place::Elements(elem)),
        }
    }
}
