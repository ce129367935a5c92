//! Copies a payload between the guest's memory and the native one.

use super::{Code, NATIVE_MEMORY};
use wasm_encoder::BlockType;

/// Wasmtime copies so many bytes without a call if the length is a constant.
const LARGEST: i32 = 128;

/// Two copies that may overlap take any size from such a length to its double.
const LENGTHS: [i32; 4] = [64, 32, 16, 8];

/// Where a payload is copied to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum To {
    Guest,
    Native,
}

impl Code<'_> {
    /// Copies `size` bytes. The locals have the place in the guest's memory, the native address and the size, which are
    /// known to be right.
    pub fn copy(&mut self, to: To, guest: u32, native: u32, size: u32) {
        self.code.block(BlockType::Empty);
        self.code.local_get(size).i32_const(LARGEST).i32_le_u().if_(BlockType::Empty);
        for length in LENGTHS {
            self.code.local_get(size).i32_const(length).i32_ge_u().if_(BlockType::Empty);
            self.copy_ends(to, guest, native, size, length);
            self.code.br(2).end();
        }
        self.code.end();
        self.code.local_get(size).i32_const(LARGEST + 1).i32_sub().i32_const(LARGEST).i32_lt_u().if_(BlockType::Empty);
        self.copy_ends(to, guest, native, size, LARGEST);
        self.code.br(1).end();
        let (first, second) = if to == To::Guest { (guest, native) } else { (native, guest) };
        self.code.local_get(first).local_get(second).local_get(size);
        self.memory_copy(to);
        self.code.end();
    }

    /// Copies the first and the last `length` bytes.
    fn copy_ends(&mut self, to: To, guest: u32, native: u32, size: u32, length: i32) {
        for last in [false, true] {
            for is_native in if to == To::Guest { [false, true] } else { [true, false] } {
                self.code.local_get(if is_native { native } else { guest });
                if last {
                    self.code.local_get(size).i32_const(length).i32_sub();
                    if is_native {
                        self.code.i64_extend_i32_u().i64_add();
                    } else {
                        self.code.i32_add();
                    }
                }
            }
            self.code.i32_const(length);
            self.memory_copy(to);
        }
    }

    fn memory_copy(&mut self, to: To) {
        match to {
            To::Guest => self.code.memory_copy(0, NATIVE_MEMORY),
            To::Native => self.code.memory_copy(NATIVE_MEMORY, 0),
        };
    }
}
