//! Makes the table while a module is rewritten.

use super::source::{self, Row, Source};
use super::{CHUNK_ROWS, HEAD, Lines, Place, fold, put};
use core::ops::Range;
use wasmparser::{BinaryReaderError, Parser, Payload};

/// Follows the functions of a module in their order.
pub struct Recorder {
    source: Source,
    /// The next row of the source.
    next: usize,
    /// The current function. It has none yet if nothing was begun.
    function: u32,
    /// Own functions that were begun.
    begun: u32,
    /// Where the current function's body ends.
    end: u32,
    /// Rows of the current chunk, the offset of the last one and what it says. No rows at a function's begin.
    chunk_rows: u32,
    offset: u32,
    place: Place,
    chunks: Vec<[u32; 3]>,
    rows: Vec<u8>,
}

impl Recorder {
    /// For this module. None if the module has no lines.
    pub fn new(module: &[u8]) -> Option<Self> {
        let source = source::read(module)?;
        Some(Self {
            source,
            next: 0,
            function: 0,
            begun: 0,
            end: 0,
            chunk_rows: 0,
            offset: 0,
            place: Place::default(),
            chunks: Vec::new(),
            rows: Vec::new(),
        })
    }

    /// The module's next own function begins. Its body is there in the module.
    pub fn function(&mut self, body: &Range<usize>) {
        // What the function before left.
        while self.upcoming(self.end).is_some() {
            self.next += 1;
        }
        self.function = self.source.imported + self.begun;
        self.begun += 1;
        self.end = self.address(body.end);
        self.chunk_rows = 0;
    }

    /// The instruction at this position of the module comes to this offset in its function's rewritten body.
    pub fn instruction(&mut self, position: usize, offset: usize) {
        let mut place = None;
        while let Some(row) = self.upcoming(self.address(position).saturating_add(1)) {
            place = Some(row.place);
            self.next += 1;
        }
        if let Some(place) = place {
            self.add(offset as u32, place);
        }
    }

    /// The table of a module that stays as it is.
    pub fn unchanged(mut self, module: &[u8]) -> Result<Lines, BinaryReaderError> {
        for payload in Parser::new(0).parse_all(module) {
            let Payload::CodeSectionEntry(body) = payload? else { continue };
            let body = body.range();
            self.function(&body);
            while let Some(row) = self.upcoming(self.end) {
                let position = (self.source.code + row.address as usize).max(body.start);
                self.instruction(position, position - body.start);
            }
        }
        Ok(self.finish())
    }

    /// The table.
    pub fn finish(self) -> Lines {
        let names: usize = self.source.files.iter().map(String::len).sum();
        let (files, chunks) = (self.source.files.len(), self.chunks.len());
        let mut bytes = Vec::with_capacity(HEAD + 4 * files + 12 * chunks + names + self.rows.len());
        let mut put = |number: u32| bytes.extend(number.to_le_bytes());
        [files, chunks, names].into_iter().for_each(|count| put(count as u32));
        let mut end = 0;
        for file in &self.source.files {
            end += file.len() as u32;
            put(end);
        }
        self.chunks.iter().flatten().for_each(|&number| put(number));
        self.source.files.iter().for_each(|file| bytes.extend(file.as_bytes()));
        bytes.extend(self.rows);
        Lines(bytes.into())
    }

    fn address(&self, position: usize) -> u32 {
        (position - self.source.code) as u32
    }

    /// The next row of the source if it is before this address.
    fn upcoming(&self, address: u32) -> Option<Row> {
        self.source.rows.get(self.next).filter(|row| row.address < address).copied()
    }

    fn add(&mut self, offset: u32, place: Place) {
        // A function's entry has no instruction of its own. Stacks overflow there.
        let offset = if self.chunk_rows == 0 { 0 } else { offset };
        if self.chunk_rows != 0 && self.place == place {
            return;
        }
        if self.chunk_rows.is_multiple_of(CHUNK_ROWS) {
            self.chunks.push([self.function, offset, self.rows.len() as u32]);
            (self.offset, self.place) = (offset, Place::default());
        }
        let head = (offset - self.offset) << 1;
        if place.file == self.place.file {
            put(&mut self.rows, head);
        } else {
            put(&mut self.rows, head | 1);
            put(&mut self.rows, fold(place.file.wrapping_sub(self.place.file)));
        }
        put(&mut self.rows, fold(place.line.wrapping_sub(self.place.line)));
        put(&mut self.rows, place.column);
        (self.offset, self.place) = (offset, place);
        self.chunk_rows += 1;
    }
}
