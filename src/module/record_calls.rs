//! Expands the calls that a guest makes for each record: the code of `read_next_record`, `write_record` and
//! `write_record_with_options` for usual records comes to the place of the call.
//!
//! A call of the host costs more than the work for a small record. So the host leaves the records' places and room for
//! output in memory that the guest's compiled code reaches by itself. Whatever is not usual is left to the call, which
//! has the same effect: the end of a batch, a full output, buffers and payloads that are refused, headers, other
//! topics.
//!
//! For that the module gets two memories that are its own, but that no instruction of its author can name:
//!
//! - `control` has the guest's control (`guest::control`): where the next record and room for output
//!   are. Its indices are constants below its size, so Wasmtime compares nothing.
//! - `native` is the process's memory from [`NATIVE`] on, with 64-bit indices. Only addresses that the host has put
//!   into the control are used there, and no more bytes than it says there.
//!
//! The validator refuses modules that have more than one memory or one with 64-bit indices. After the rewriting
//! `memories::check` looks at the whole module again: an instruction outside of the expansions that names a memory
//! other than the first is an error.

mod copy;
mod memories;
mod options;
mod read;
mod write;

pub use memories::check;
pub use options::MOST as MOST_OPTIONS;

use super::abi::TRANSFORM;
use super::function_body::MOST_LOCALS;
use wasm_encoder::{Function, InstructionSink, MemArg, MemorySection, MemoryType, ValType};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

pub use crate::batch::entries::NATIVE;

/// Bytes of the control. The options of last time in it are read as native memory.
pub const CONTROL_BYTES: usize = 192;
/// Bytes of the native memory: all addresses that a process can have.
pub const NATIVE_BYTES: usize = 1 << 47;

/// Calls of one import that are expanded. More would be much code for little.
const MOST_SITES: u32 = 16;

/// Locals that are added to a function.
const ADDED: u32 = Locals::I32S + Locals::I64S + 1;

/// What is expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `read_next_record`
    Read,
    /// `write_record`
    Write,
    /// `write_record_with_options`
    WriteWithOptions,
}

const CALLS: [(Call, &str); 3] = [
    (Call::Read, "read_next_record"),
    (Call::Write, "write_record"),
    (Call::WriteWithOptions, "write_record_with_options"),
];

/// The calls of a module that are expanded.
#[derive(Debug)]
pub struct RecordCalls {
    /// The index of each import that the module has.
    imports: Vec<(Call, u32)>,
    /// Calls of each that may still be expanded.
    left: [u32; CALLS.len()],
    /// Where the expansions are: the function among those with code and the bytes of its body without its size.
    pub sites: Vec<Site>,
}

/// An expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The function among those with code.
    pub function: u32,
    /// Its first byte in the body.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
}

impl RecordCalls {
    /// None yet.
    pub fn new() -> Self {
        Self { imports: Vec::new(), left: [MOST_SITES; CALLS.len()], sites: Vec::new() }
    }

    /// The module imports a function.
    pub fn import(&mut self, module: &str, name: &str, index: u32) {
        if module == TRANSFORM
            && let Some((call, _)) = CALLS.iter().find(|(_, known)| *known == name)
        {
            self.imports.push((*call, index));
        }
    }

    /// Whether there is anything to be expanded if the module calls it.
    pub fn any(&self) -> bool {
        self.imports.iter().any(|(call, _)| *call == Call::Read)
    }

    /// The call that this operator is and the import's index, if it is to be expanded.
    pub fn of(&self, operator: &Operator<'_>) -> Option<(Call, u32)> {
        let Operator::Call { function_index } = operator else { return None };
        self.imports.iter().find(|(call, index)| index == function_index && self.left[*call as usize] > 0).copied()
    }

    /// Whether a function with so many parameters and locals has a call that is expanded.
    pub fn are_in(&self, body: &FunctionBody<'_>, locals: u32) -> Result<bool, BinaryReaderError> {
        // A call is the byte 0x10 and an index in LEB128. Imports come first, so theirs are short.
        let bytes = body.as_bytes();
        let is_near = |index: u32| {
            let (call, low) = (0x10, (index & 0x7f) as u8);
            bytes.windows(2).any(|pair| pair[0] == call && pair[1] & 0x7f == low)
        };
        if locals > MOST_LOCALS - ADDED || !self.imports.iter().any(|&(_, index)| is_near(index)) {
            return Ok(false);
        }
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            if self.of(&reader.read()?).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes a call's expansion. `host` is the index of what it calls otherwise, `place` the function's among those
    /// with code.
    pub fn expand(&mut self, function: &mut Function, locals: Locals, place: u32, call: Call, host: u32) {
        self.left[call as usize] -= 1;
        let start = function.byte_len();
        let mut code = Code { code: function.instructions(), locals };
        match call {
            Call::Read => code.read(host),
            Call::Write => code.write(host, false),
            Call::WriteWithOptions => code.write(host, true),
        }
        self.sites.push(Site { function: place, start, end: function.byte_len() });
    }
}

/// Index of the control.
const CONTROL: u32 = 1;
/// Index of the native memory.
const NATIVE_MEMORY: u32 = 2;

/// Memories of a guest with the two that are added.
pub const MEMORIES: usize = 3;

/// Whether a memory that is made is one of the two. A guest's own has whole pages of 64 KiB and less than 2^47 bytes.
pub fn is_window(minimum: usize, maximum: Option<usize>) -> bool {
    maximum == Some(minimum) && (minimum == CONTROL_BYTES || minimum == NATIVE_BYTES)
}

/// Adds the two memories to a module that has one.
pub fn add_memories(memories: &mut MemorySection) {
    let fixed = |size: u64, memory64: bool, page_size_log2| MemoryType {
        minimum: size,
        maximum: Some(size),
        memory64,
        shared: false,
        page_size_log2,
    };
    memories.memory(fixed(CONTROL_BYTES as u64, false, Some(0)));
    memories.memory(fixed(NATIVE_BYTES as u64 >> 16, true, None));
}

/// The locals of a function's expansions.
#[derive(Clone, Copy, Debug)]
pub struct Locals(u32);

impl Locals {
    /// Those behind the first `count`. The groups are to be added.
    pub fn after(count: u32) -> (Self, [(u32, ValType); 3]) {
        (Self(count), [(Self::I32S, ValType::I32), (Self::I64S, ValType::I64), (1, ValType::V128)])
    }

    const I32S: u32 = 8;
    const I64S: u32 = 4;
}

/// Places in the control: a test compares them with its fields.
pub mod control {
    /// The entry of the next record.
    pub const NEXT: u64 = 0;
    /// Where the next payload goes.
    pub const PAYLOAD: u64 = 8;
    /// Where it must end.
    pub const PAYLOAD_END: u64 = 16;
    /// Where the next output record goes.
    pub const RECORD: u64 = 24;
    /// There is none from here on.
    pub const RECORD_END: u64 = 32;
    /// `RECORD` when the record in progress was read.
    pub const FINISHED: u64 = 40;
    /// Where the next output record comes from: the index of the record in progress and its output records, 32 bits
    /// each.
    pub const POSITION: u64 = 48;
    /// Native address of the options that were used last.
    pub const OPTIONS: u64 = 56;
    /// How many bytes they are.
    pub const OPTIONS_LENGTH: u64 = 128;
    /// The topic that they name.
    pub const OPTIONS_TOPIC: u64 = 132;
    /// Offset and timestamp of the record in progress.
    pub const TIMES: u64 = 136;
}

/// Places in an entry and in an output record: a test compares them with the fields.
pub mod layout {
    /// Bytes of an entry.
    pub const ENTRY: i64 = 32;
    /// Bytes of an output record.
    pub const OUTPUT: i64 = 40;
    /// Offset and timestamp of an entry.
    pub const ENTRY_OFFSET: u64 = 0;
    /// Native address of the payload.
    pub const ENTRY_START: u64 = 16;
    /// Bytes of the payload.
    pub const ENTRY_SIZE: u64 = 24;
    /// Attributes.
    pub const ENTRY_ATTRIBUTES: u64 = 28;
    /// Address of the payload of an output record. Its size and the topic follow, 32 bits each.
    pub const OUTPUT_PAYLOAD: u64 = 0;
    /// Offset and timestamp of the input record.
    pub const OUTPUT_OFFSET: u64 = 16;
    /// Its index and the ordinal.
    pub const OUTPUT_POSITION: u64 = 32;
}

fn arg(memory: u32, offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: memory }
}

/// Writes an expansion.
struct Code<'a> {
    code: InstructionSink<'a>,
    locals: Locals,
}

impl Code<'_> {
    fn i32_local(&self, index: u32) -> u32 {
        self.locals.0 + index
    }

    fn i64_local(&self, index: u32) -> u32 {
        self.locals.0 + Locals::I32S + index
    }

    fn v128_local(&self) -> u32 {
        self.locals.0 + Locals::I32S + Locals::I64S
    }

    /// Loads a 64-bit field of the control.
    fn control(&mut self, field: u64) -> &mut Self {
        self.code.i32_const(0).i64_load(arg(CONTROL, field));
        self
    }

    /// Bytes of the guest's memory as 64 bits.
    fn memory_bytes(&mut self) {
        self.code.memory_size(0).i64_extend_i32_u().i64_const(16).i64_shl();
    }

    /// The end of a range of the guest's memory as 64 bits, without overflow.
    fn range_end(&mut self, start: u32, length: u32) {
        self.code.local_get(start).i64_extend_i32_u().local_get(length).i64_extend_i32_u().i64_add();
    }
}

#[cfg(test)]
mod tests;
