//! The source lines of a guest's code, for the frames of errors.
//!
//! Debug information (DWARF) has the source line of each instruction by its position in the module. Rewriting moves
//! the instructions. So the lines are read when the module is compiled (`source`), and what is kept is a table of the
//! rewritten functions' offsets. Errors only search that table. The debug information itself is not kept.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..12 | number of files, number of chunks, bytes of all names |
//! | then | where each file's name ends among the names |
//! | then | the chunks in order: function, offset of the first row, where its rows begin among the rows |
//! | then | names |
//! | then | rows |
//!
//! These numbers have four bytes and are little-endian. A row has, in LEB128: how far its offset is behind that of the
//! row before, doubled, and one more if the file is another; then the difference to that file's number if so; the
//! difference to that row's line; the column. A chunk has few rows of one function. Its first row begins with zeros
//! before it. So a search reads a few hundred bytes, however large the function is.

mod recorder;
mod source;

pub use recorder::Recorder;
pub use source::are_in;

use crate::base::error::Location;
use std::sync::Arc;

/// Rows of a chunk.
const CHUNK_ROWS: u32 = 64;

/// Bytes of the numbers at the beginning.
const HEAD: usize = 12;

/// Bytes that say where a chunk is.
const CHUNK: usize = 12;

/// The table of a module. Copies share it. Empty if nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(Arc<[u8]>);

/// What a row says. The file is its number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    file: u32,
    line: u32,
    column: u32,
}

impl Lines {
    /// A table from its bytes. If something else than a table is searched, places are wrong or not found.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The place in the source of the instruction at this offset in a function of the rewritten module.
    pub fn find(&self, function: u32, offset: u32) -> Option<Location> {
        let bytes = &*self.0;
        let (files, chunks, names) =
            (number(bytes, 0)? as usize, number(bytes, 4)? as usize, number(bytes, 8)? as usize);
        let (ends, rest) = bytes.get(HEAD..)?.split_at_checked(files.checked_mul(4)?)?;
        let (chunks, rest) = rest.split_at_checked(chunks.checked_mul(CHUNK)?)?;
        let (names, rows) = rest.split_at_checked(names)?;
        let begins = |at: usize| Some((number(chunks, at * CHUNK)?, number(chunks, at * CHUNK + 4)?));
        // The last chunk that begins here or before.
        let (mut low, mut high) = (0, chunks.len() / CHUNK);
        while low < high {
            let middle = low.midpoint(high);
            if begins(middle)? <= (function, offset) { low = middle + 1 } else { high = middle }
        }
        let chunk = low.checked_sub(1)?;
        let (of, first) = begins(chunk)?;
        let start = number(chunks, chunk * CHUNK + 8)? as usize;
        let end = number(chunks, (chunk + 1) * CHUNK + 8).map_or(rows.len(), |end| end as usize);
        if of != function {
            return None;
        }
        let place = search(rows.get(start..end)?, offset - first)?;
        let name = |file: u32| number(ends, file as usize * 4).map(|end| end as usize);
        let start = if place.file == 0 { 0 } else { name(place.file - 1)? };
        let file = core::str::from_utf8(names.get(start..name(place.file)?)?).ok()?.to_owned();
        Some(Location { file, line: place.line, column: place.column })
    }
}

/// The place of the last row of a chunk that is not behind `offset`, which counts from the chunk's first row.
fn search(mut rows: &[u8], offset: u32) -> Option<Place> {
    let (mut found, mut at, mut place) = (None, 0_u32, Place::default());
    for _ in 0..CHUNK_ROWS {
        let Some(head) = take(&mut rows) else { break };
        at = at.checked_add(head >> 1)?;
        if at > offset {
            break;
        }
        if head & 1 != 0 {
            place.file = place.file.wrapping_add(unfold(take(&mut rows)?));
        }
        place.line = place.line.wrapping_add(unfold(take(&mut rows)?));
        place.column = take(&mut rows)?;
        found = Some(place);
    }
    found
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Takes a number in LEB128 from the front.
fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A difference such that small ones in both directions are small numbers.
fn fold(difference: u32) -> u32 {
    (difference << 1) ^ ((difference as i32 >> 31) as u32)
}

fn unfold(number: u32) -> u32 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests;
