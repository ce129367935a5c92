//! Reads the lines from a module's debug information.
//!
//! The section `.debug_line` alone has what is needed. Whoever made the module chose its content, so time and memory
//! are linear in its size: headers and names have limits, strings are cut before their end is looked for, and what the
//! section defines while its program runs is ignored.

use super::Place;
use crate::base::text::printable;
use core::ops::Range;
use gimli::{
    AttributeValue, DebugLine, DebugLineOffset, EndianSlice, IncompleteLineProgram, LineInstruction, LineProgramHeader,
    LineRow,
};
use std::collections::HashMap;
use wasmparser::{Parser, Payload, TypeRef};

/// Bytes of the largest section that is read. The programs of 15 MB of code have some 8 MB.
const LARGEST: usize = 32 << 20;

/// Bytes of the largest header of a unit, which has the names of its files. Gimli takes some 100 bytes for each byte.
const LARGEST_HEADER: u32 = 256 << 10;

/// Rows that are read at most. They have 16 bytes each.
const MOST_ROWS: usize = 4 << 20;

/// Bytes that a name and a directory may have.
const LONGEST_NAME: usize = 512;

/// Bytes that all files' names together may have.
const NAMES: usize = 4 << 20;

/// Addresses and offsets have four bytes in Wasm.
const ADDRESS: u8 = 4;

type Slice<'a> = EndianSlice<'a, gimli::LittleEndian>;

/// Where a place of the source begins in the module.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Counted from the begin of the code section's content.
    pub address: u32,
    pub place: Place,
}

/// What is known of a module.
pub(super) struct Source {
    /// By address.
    pub rows: Vec<Row>,
    /// Names of the files.
    pub files: Vec<String>,
    /// Where the code section's content begins in the module.
    pub code: usize,
    /// Functions that the module imports.
    pub imported: u32,
}

/// Whether a module has lines.
pub fn are_in(module: &[u8]) -> bool {
    let is_line =
        |payload: &Payload<'_>| matches!(payload, Payload::CustomSection(section) if section.name() == ".debug_line");
    Parser::new(0).parse_all(module).map_while(Result::ok).any(|payload| is_line(&payload))
}

/// Reads the lines of a module. None if it has none.
pub(super) fn read(module: &[u8]) -> Option<Source> {
    let (mut line, mut code, mut first, mut imported) = (None, 0..0, None, 0);
    let mut strings = Strings { line: &[], other: &[] };
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import.ok()?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::CodeSectionStart { range, .. } => code = range,
            Payload::CodeSectionEntry(body) => first = first.or(Some(body.range().start)),
            Payload::CustomSection(section) => match section.name() {
                ".debug_line" => line = Some(section.data()),
                ".debug_line_str" => strings.line = section.data(),
                ".debug_str" => strings.other = section.data(),
                _ => {}
            },
            _ => {}
        }
    }
    let bodies = (first? - code.start) as u64..code.len() as u64;
    let mut reader = Reader { strings, bodies, files: Files::default(), rows: Vec::new() };
    reader.section(line.filter(|line| line.len() <= LARGEST)?);
    let (mut rows, files) = (reader.rows, reader.files.names);
    // Stable: of several rows with one address the last one counts.
    rows.sort_by_key(|row| row.address);
    (!rows.is_empty()).then_some(Source { rows, files, code: code.start, imported })
}

/// Where strings are that are not in place.
struct Strings<'a> {
    line: &'a [u8],
    other: &'a [u8],
}

impl<'a> Strings<'a> {
    /// The front of a string.
    fn get(&self, value: &AttributeValue<Slice<'a>>) -> Option<&'a [u8]> {
        let bytes = match value {
            AttributeValue::String(bytes) => bytes.slice(),
            AttributeValue::DebugLineStrRef(at) => self.line.get(at.0..)?,
            AttributeValue::DebugStrRef(at) => self.other.get(at.0..)?,
            _ => return None,
        };
        let front = &bytes[..bytes.len().min(LONGEST_NAME)];
        front.split(|&byte| byte == 0).next()
    }
}

/// Files by name. Different units have many in common.
#[derive(Default)]
struct Files {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    bytes: usize,
}

impl Files {
    fn number(&mut self, name: String) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&name) {
            return Some(number);
        }
        self.bytes += name.len();
        if self.bytes > NAMES {
            return None;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Some(number)
    }
}

struct Reader<'a> {
    strings: Strings<'a>,
    /// Where functions are in the code section.
    bodies: Range<u64>,
    files: Files,
    rows: Vec<Row>,
}

impl<'a> Reader<'a> {
    /// Reads one unit after the other. A unit that is damaged ends early.
    fn section(&mut self, mut section: &'a [u8]) {
        while let Some((length, rest)) = section.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            // Four bytes of ones announce a longer number. Nothing in Wasm needs that.
            let Some((unit, next)) = rest.split_at_checked(length) else { return };
            if header_length(unit).is_some_and(|length| length <= LARGEST_HEADER) {
                let program = DebugLine::new(&section[..4 + length], gimli::LittleEndian);
                if let Ok(program) = program.program(DebugLineOffset(0), ADDRESS, None, None) {
                    // What was read before the damage is good.
                    let _ = self.unit(program);
                }
            }
            section = next;
        }
    }

    fn unit(&mut self, mut program: IncompleteLineProgram<Slice<'a>>) -> gimli::Result<()> {
        let mut instructions = program.header().instructions();
        let mut row = LineRow::new(program.header());
        let (mut numbers, mut previous, mut is_first, mut dead) = (HashMap::new(), None, true, false);
        while let Some(instruction) = instructions.next_instruction(program.header())? {
            // A line that far back is none. Gimli would negate the number.
            let is_odd = matches!(instruction, LineInstruction::DefineFile(_) | LineInstruction::AdvanceLine(i64::MIN));
            if is_odd || !row.execute(instruction, &mut program)? {
                continue;
            }
            // Linkers leave the sequences of functions that they removed where no function is: before the first one or
            // at the end.
            dead |= is_first && row.address() < self.bodies.start;
            is_first = row.end_sequence();
            if is_first {
                (previous, dead) = (None, false);
            } else if !dead && row.address() < self.bodies.end {
                let place = self.place(&row, program.header(), &mut numbers);
                // Without a line are instructions that the compiler added. The line before is near.
                if let Some(place) = place.filter(|&place| Some(place) != previous) {
                    if self.rows.len() == MOST_ROWS {
                        return Ok(());
                    }
                    self.rows.push(Row { address: row.address() as u32, place });
                    previous = Some(place);
                }
            }
            row.reset(program.header());
        }
        Ok(())
    }

    fn place(
        &mut self,
        row: &LineRow,
        header: &LineProgramHeader<Slice<'a>>,
        numbers: &mut HashMap<u64, Option<u32>>,
    ) -> Option<Place> {
        let line = u32::try_from(row.line()?.get()).ok()?;
        let column = match row.column() {
            gimli::ColumnType::LeftEdge => 0,
            gimli::ColumnType::Column(column) => u16::try_from(column.get()).unwrap_or_default().into(),
        };
        let file = row.file_index();
        let file = match numbers.get(&file) {
            Some(&known) => known,
            None => *numbers.entry(file).or_insert(self.path(header, file)),
        };
        Some(Place { file: file?, line, column })
    }

    /// The number of a unit's file. Its name is relative to the compiler's directory if the compiler was given such a
    /// name.
    fn path(&mut self, header: &LineProgramHeader<Slice<'a>>, file: u64) -> Option<u32> {
        let file = header.file(file)?;
        let name = self.strings.get(&file.path_name())?;
        // 0 is the compiler's directory.
        let directory = match file.directory_index() {
            0 => None,
            directory => header.directory(directory).and_then(|directory| self.strings.get(&directory)),
        };
        let name = String::from_utf8_lossy(name);
        let path = match directory {
            Some(directory) if !name.starts_with('/') => format!("{}/{name}", String::from_utf8_lossy(directory)),
            _ => name.into_owned(),
        };
        self.files.number(printable(&path))
    }
}

/// Bytes of a unit's header behind this number.
fn header_length(unit: &[u8]) -> Option<u32> {
    let (version, rest) = unit.split_first_chunk()?;
    // Since version 5 sizes of addresses come before it.
    let rest = if u16::from_le_bytes(*version) < 5 { rest } else { rest.get(2..)? };
    rest.first_chunk().map(|length| u32::from_le_bytes(*length))
}
