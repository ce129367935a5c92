//! The image of a module's data: what a part of its memory begins with.
//!
//! Wasmtime copies each data segment whenever a guest starts. Modules of Go have twenty thousand of them with half a
//! megabyte. So the bytes of segments that lie close together are taken out of the module. They are mapped into the
//! guest's memory instead (`system::memory::image`), where a page is copied once the guest writes to it.
//!
//! The memory then has what Wasmtime would have made of it:
//!
//! - Only active segments at constant offsets are taken. They are applied to the image in their order.
//! - A segment at a computed offset may overlap with any other. So none behind it is taken.
//! - The image is there before Wasmtime applies the segments that stay. None of those in front overlaps with it: what
//!   touches the image is part of it.
//! - A module with a segment that does not fit is left alone. It cannot start and says so itself.
//!
//! An active segment has no bytes left when code of the module runs. So a passive segment without bytes takes its
//! place and all indices stay. Without a count of data no instruction can name one. Then the segments are removed.
//!
//! All that changes is the section of data. It comes behind the code, so no instruction moves.

use super::bulk_memory::constant;
use crate::base::config::WASM_PAGE;
use core::iter::repeat_n;
use core::ops::Range;
use std::sync::Arc;
use wasm_encoder::{DataSection, Section as _};
use wasmparser::{BinaryReaderError, DataKind, DataSectionReader, Parser, Payload};

/// The least that is worth two mappings for each guest and a descriptor: bytes, with those that segments count for.
/// 16 KiB cost as much to copy as to map. With 64 KiB a start takes 15 to 30 µs less.
const LEAST: u64 = 32 << 10;

/// Bytes that Wasmtime could copy in the time that it takes for a segment besides copying.
const SEGMENT: u64 = 16;

/// Bytes between two segments of an image at most.
const LARGEST_GAP: u64 = 64 << 10;

/// An image has at most so many times the bytes of its segments, and one such gap. Those of Go have 1.7 times as many.
const SPARSEST: u64 = 4;

/// What a part of a guest's memory begins with. Copies share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataImage {
    /// Address of the first byte.
    pub start: u32,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// Takes the image out of a valid module that has one memory at most. `None` if there is too little of it.
pub fn take(module: &[u8]) -> Result<Option<(Vec<u8>, DataImage)>, BinaryReaderError> {
    let (mut memory, mut counted, mut end) = (0, false, 0);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let begin = end;
        end = match &payload {
            Payload::Version { range, .. } => range.end,
            other => other.as_section().map_or(end, |(_, range)| range.end),
        };
        match payload {
            Payload::MemorySection(section) => {
                for ty in section {
                    memory = ty?.initial.saturating_mul(WASM_PAGE as u64);
                }
            }
            Payload::DataCountSection { .. } => counted = true,
            Payload::DataSection(section) => {
                let segments = applicable(section.clone(), memory)?;
                let Some(place) = densest(&segments) else { return Ok(None) };
                let image = draw(&segments, &place);
                let data = remaining(module, section, &segments, &place, counted)?;
                let mut out = Vec::with_capacity(module.len());
                out.extend_from_slice(&module[..begin]);
                if !data.is_empty() {
                    data.append_to(&mut out);
                }
                out.extend_from_slice(&module[end..]);
                return Ok(Some((out, image)));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// A segment that can be part of an image.
#[derive(Clone, Copy)]
struct Segment<'a> {
    index: u32,
    start: u64,
    data: &'a [u8],
}

impl Segment<'_> {
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    fn is_in(&self, place: &Range<u64>) -> bool {
        place.contains(&self.start)
    }
}

/// The segments that can be applied before all others, in order. None if one does not fit into the memory.
fn applicable(section: DataSectionReader<'_>, memory: u64) -> Result<Vec<Segment<'_>>, BinaryReaderError> {
    let mut segments = Vec::new();
    let mut computed = false;
    for (segment, index) in section.into_iter().zip(0..) {
        let segment = segment?;
        let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else { continue };
        let Some(offset) = constant(&offset_expr)? else {
            computed = true;
            continue;
        };
        let segment = Segment { index, start: u64::from(offset as u32), data: segment.data };
        if segment.end() > memory {
            return Ok(Vec::new());
        }
        if !computed && !segment.data.is_empty() {
            segments.push(segment);
        }
    }
    Ok(segments)
}

/// Where most of the data lies close together, if that is enough.
fn densest(segments: &[Segment<'_>]) -> Option<Range<u64>> {
    let mut sorted = segments.to_vec();
    sorted.sort_unstable_by_key(|segment| segment.start);
    let (mut place, mut content, mut worth) = (0..0, 0, 0);
    let mut best = (place.clone(), 0);
    for segment in sorted {
        let size = segment.data.len() as u64;
        let gap = segment.start.saturating_sub(place.end);
        let size_with_gap = segment.end().max(place.end) - place.start;
        // What overlaps or touches always belongs together.
        if content == 0 || gap > 0 && (gap > LARGEST_GAP || size_with_gap > SPARSEST * (content + size) + LARGEST_GAP) {
            (place, content, worth) = (segment.start..segment.start, 0, 0);
        }
        place.end = place.end.max(segment.end());
        content += size;
        worth += size + SEGMENT;
        if worth > best.1 {
            best = (place.clone(), worth);
        }
    }
    (best.1 >= LEAST).then_some(best.0)
}

fn draw(segments: &[Segment<'_>], place: &Range<u64>) -> DataImage {
    let mut bytes: Arc<[u8]> = repeat_n(0, (place.end - place.start) as usize).collect();
    let drawn = Arc::make_mut(&mut bytes);
    for segment in segments.iter().filter(|segment| segment.is_in(place)) {
        let start = (segment.start - place.start) as usize;
        drawn[start..start + segment.data.len()].copy_from_slice(segment.data);
    }
    DataImage { start: place.start as u32, bytes }
}

/// The section without what is in the image.
fn remaining(
    module: &[u8],
    section: DataSectionReader<'_>,
    segments: &[Segment<'_>],
    place: &Range<u64>,
    counted: bool,
) -> Result<DataSection, BinaryReaderError> {
    let mut taken = segments.iter().filter(|segment| segment.is_in(place)).map(|segment| segment.index).peekable();
    let mut data = DataSection::new();
    for (segment, index) in section.into_iter().zip(0..) {
        let segment = segment?;
        if taken.next_if_eq(&index).is_none() {
            data.raw(&module[segment.range]);
        } else if counted {
            data.passive([]);
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests;
