//! Compares options with those of last time.

use super::{CONTROL, Code, NATIVE_MEMORY, arg, control};
use wasm_encoder::BlockType;

/// Options of fewer bytes than this are left to the host, as are those of more than `MOST`.
const FEWEST: i32 = 4;

/// Options that the control has room for.
pub const MOST: usize = 64;

/// A part of the options.
#[derive(Clone, Copy)]
enum From {
    /// So many bytes from the first on.
    Start(u64),
    /// From so many bytes before the end on.
    End(i32),
}

impl Code<'_> {
    /// Leaves the block unless the options are the bytes that the control has.
    pub fn same_options(&mut self, options: u32, length: u32) {
        let known = self.i64_local(3);
        let code = &mut self.code;
        code.local_get(length).i32_const(0).i32_load(arg(CONTROL, control::OPTIONS_LENGTH)).i32_ne().br_if(0);
        code.local_get(length).i32_const(FEWEST).i32_lt_u().br_if(0);
        self.range_end(options, length);
        self.memory_bytes();
        self.code.i64_gt_u().br_if(0);
        self.control(control::OPTIONS).code.local_set(known);
        self.code.block(BlockType::Empty);
        self.at_least(16, length);
        {
            self.differ(16, From::Start(0), options, length);
            self.differ(16, From::End(16), options, length);
            self.code.local_get(length).i32_const(32).i32_le_u().br_if(1);
            self.differ(16, From::Start(16), options, length);
            self.differ(16, From::End(32), options, length);
            self.code.br(1).end();
        }
        for bytes in [8, 4] {
            self.at_least(bytes, length);
            self.differ(bytes, From::Start(0), options, length);
            self.differ(bytes, From::End(bytes), options, length);
            self.code.br(1).end();
        }
        self.code.end();
    }

    fn at_least(&mut self, bytes: i32, length: u32) {
        self.code.local_get(length).i32_const(bytes).i32_ge_u().if_(BlockType::Empty);
    }

    /// Leaves the outer block of two blocks and an `if` if these bytes differ.
    fn differ(&mut self, bytes: i32, from: From, options: u32, length: u32) {
        let known = self.i64_local(3);
        for memory in [0, NATIVE_MEMORY] {
            self.code.local_get(if memory == 0 { options } else { known });
            let offset = match from {
                From::Start(offset) => offset,
                From::End(before) => {
                    self.code.local_get(length).i32_const(before).i32_sub();
                    if memory == 0 {
                        self.code.i32_add();
                    } else {
                        self.code.i64_extend_i32_u().i64_add();
                    }
                    0
                }
            };
            match bytes {
                16 => self.code.v128_load(arg(memory, offset)),
                8 => self.code.i64_load(arg(memory, offset)),
                _ => self.code.i32_load(arg(memory, offset)),
            };
        }
        match bytes {
            16 => self.code.v128_xor().v128_any_true(),
            8 => self.code.i64_ne(),
            _ => self.code.i32_ne(),
        };
        self.code.br_if(2);
    }
}
