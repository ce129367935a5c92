//! Data segments of a module. Long active ones become several with the same content one behind the other.
//!
//! Their numbers change. So do those of the segments behind them. An active segment has no bytes left when code of the
//! module runs. So it does not matter which of its pieces `memory.init` and `data.drop` name.
//!
//! A segment that does not fit into the memory traps before it is copied. Of its pieces some are copied before one
//! traps. Nobody sees that: the guest has not started and its memory is nobody else's.

use core::convert::Infallible;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{ConstExpr, DataSection, DataSegment, DataSegmentMode};
use wasmparser::{BinaryReaderError, DataKind, DataSectionReader, Operator};

/// The most that a module may have: a limit of all engines.
const MOST_SEGMENTS: u32 = 100_000;

/// The module's data segments.
#[derive(Default)]
pub struct DataSegments {
    /// Bytes of a piece. None if no segment is divided.
    piece: Option<u32>,
    segments: Vec<Segment>,
}

struct Segment {
    passive: bool,
    size: u32,
    /// Its new index.
    index: u32,
}

impl DataSegments {
    /// Plans pieces of so many bytes.
    pub(super) fn read(section: DataSectionReader<'_>, piece: u32) -> Result<Self, BinaryReaderError> {
        let mut segments = Vec::new();
        let mut index: u32 = 0;
        for segment in section.clone() {
            let segment = segment?;
            let (passive, size) = (matches!(segment.kind, DataKind::Passive), segment.data.len() as u32);
            segments.push(Segment { passive, size, index });
            index = index.saturating_add(if passive { 1 } else { size.div_ceil(piece).max(1) });
        }
        // Too many pieces: larger ones.
        if index > MOST_SEGMENTS && piece < u32::MAX / 2 {
            return Self::read(section, piece * 2);
        }
        let divided = index > segments.len() as u32 && index <= MOST_SEGMENTS;
        if !divided {
            segments.iter_mut().zip(0..).for_each(|(segment, index)| segment.index = index);
        }
        Ok(Self { piece: divided.then_some(piece), segments })
    }

    /// Whether any segment is divided.
    pub fn are_divided(&self) -> bool {
        self.piece.is_some()
    }

    /// The new index of a segment.
    pub fn index(&self, segment: u32) -> u32 {
        self.segments.get(segment as usize).map_or(segment, |segment| segment.index)
    }

    /// The new number of segments.
    pub fn count(&self, before: u32) -> u32 {
        before + self.segments.last().map_or(0, |last| last.index + self.pieces(last) - self.segments.len() as u32)
    }

    fn pieces(&self, segment: &Segment) -> u32 {
        match self.piece {
            Some(piece) if !segment.passive => segment.size.div_ceil(piece).max(1),
            _ => 1,
        }
    }

    /// Bytes of a passive segment. No other can be a source.
    pub(super) fn passive(&self, segment: u32) -> u32 {
        self.segments.get(segment as usize).filter(|segment| segment.passive).map_or(0, |segment| segment.size)
    }

    pub(super) fn sizes(&self) -> Vec<u32> {
        (0..self.segments.len() as u32).map(|segment| self.passive(segment)).collect()
    }

    /// Copies the section.
    pub fn divide<R: Reencode<Error = Infallible>>(
        &self,
        reencoder: &mut R,
        data: &mut DataSection,
        section: DataSectionReader<'_>,
    ) -> Result<(), Error> {
        for segment in section {
            let segment = segment?;
            match (self.piece, &segment.kind) {
                (Some(piece), &DataKind::Active { memory_index, ref offset_expr })
                    if segment.data.len() > piece as usize =>
                {
                    let constant = constant(offset_expr)?;
                    for (i, bytes) in (0..).zip(segment.data.chunks(piece as usize)) {
                        // If this wraps around then the piece before does not fit either: memories that are not
                        // smaller than 4 GiB are left out.
                        let further = piece.wrapping_mul(i) as i32;
                        let offset = match constant {
                            Some(offset) => ConstExpr::i32_const(offset.wrapping_add(further)),
                            None => reencoder.const_expr(offset_expr.clone())?.with_i32_const(further).with_i32_add(),
                        };
                        let mode = DataSegmentMode::Active { memory_index, offset: &offset };
                        data.segment(DataSegment { mode, data: bytes.iter().copied() });
                    }
                }
                _ => reencoder.parse_data(data, segment)?,
            }
        }
        Ok(())
    }
}

/// The value of an expression that is a plain constant. Wasmtime maps segments with such offsets instead of copying
/// them. So they stay plain.
pub fn constant(expression: &wasmparser::ConstExpr<'_>) -> Result<Option<i32>, BinaryReaderError> {
    let mut operators = expression.get_operators_reader();
    let first = operators.read()?;
    let last = operators.read()?;
    Ok(match (first, last) {
        (Operator::I32Const { value }, Operator::End) => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn data_of_a_memory_that_fills_the_address_space_stays_whole() {
        let data = "x".repeat(crate::module::bulk_memory::PIECES.bytes as usize + 1);
        let divided = |pages: u32| {
            let module = format!(r#"(module (memory {pages}) (data (i32.const 0) "{data}"))"#);
            crate::module::suspend_points::add(&wat::parse_str(module).unwrap(), |_, _| None, Default::default())
                .unwrap()
                .is_some()
        };
        assert!(divided(65_535));
        assert!(!divided(65_536));
    }
}
