//! The expansion of `read_next_record(attributes, timestamp, offset, buffer, length) -> i32`.

use super::copy::To;
use super::layout::{ENTRY, ENTRY_ATTRIBUTES, ENTRY_OFFSET, ENTRY_SIZE, ENTRY_START};
use super::{CONTROL, Code, NATIVE_MEMORY, arg, control};
use wasm_encoder::{BlockType, ValType};

impl Code<'_> {
    /// ```wat
    /// (block $done (result i32)
    ///   (block $host
    ///     ;; the next entry; $host if its payload does not fit: so large is also the entry behind the last
    ///     ;; $host if the buffer or a pointer is outside of the memory
    ///     ;; write attributes, timestamp and offset
    ///     ;; the record is taken: the entry after it is the next; output before it is finished
    ///     ;; copy the payload
    ///     (br $done (local.get $size)))
    ///   (call $host …))
    /// ```
    pub fn read(&mut self, host: u32) {
        let [attributes, timestamp, offset, buffer, length, size] =
            [0, 1, 2, 3, 4, 5].map(|local| self.i32_local(local));
        let [entry, start, limit] = [0, 1, 2].map(|local| self.i64_local(local));
        let times = self.v128_local();
        let code = &mut self.code;
        for operand in [length, buffer, offset, timestamp, attributes] {
            code.local_set(operand);
        }
        code.block(BlockType::Result(ValType::I32)).block(BlockType::Empty);
        self.control(control::NEXT).code.local_set(entry);
        self.code.local_get(entry).i32_load(arg(NATIVE_MEMORY, ENTRY_SIZE)).local_set(size);
        // Payloads have less than 2 GiB. Without its highest bit no length is as large as the size behind the last
        // entry.
        self.code.local_get(size).local_get(length).i32_const(i32::MAX).i32_and().i32_gt_u().br_if(0);
        self.memory_bytes();
        self.code.local_set(limit);
        self.range_end(buffer, size);
        self.code.local_get(limit).i64_gt_u().br_if(0);
        // The host says which of them is outside. It also writes the one byte of attributes at the memory's end.
        self.code.local_get(limit).i64_const(8).i64_sub().local_set(limit);
        for pointer in [attributes, timestamp, offset] {
            self.code.local_get(pointer).i64_extend_i32_u().local_get(limit).i64_gt_s().br_if(0);
        }
        let code = &mut self.code;
        code.local_get(attributes).local_get(entry).i32_load(arg(NATIVE_MEMORY, ENTRY_ATTRIBUTES));
        code.i32_store8(arg(0, 0));
        code.local_get(entry).v128_load(arg(NATIVE_MEMORY, ENTRY_OFFSET)).local_set(times);
        code.i32_const(0).local_get(times).v128_store(arg(CONTROL, control::TIMES));
        code.local_get(timestamp).local_get(times).v128_store64_lane(arg(0, 0), 1);
        code.local_get(offset).local_get(times).v128_store64_lane(arg(0, 0), 0);
        code.local_get(entry).i64_load(arg(NATIVE_MEMORY, ENTRY_START)).local_set(start);
        code.i32_const(0).local_get(entry).i64_const(ENTRY).i64_add().i64_store(arg(CONTROL, control::NEXT));
        // The next index, of which there is no output.
        code.i32_const(0).i32_const(0).i32_load(arg(CONTROL, control::POSITION)).i32_const(1).i32_add();
        code.i64_extend_i32_u().i64_store(arg(CONTROL, control::POSITION));
        code.i32_const(0);
        self.control(control::RECORD).code.i64_store(arg(CONTROL, control::FINISHED));
        self.copy(To::Guest, buffer, start, size);
        self.code.local_get(size).br(1).end();
        for operand in [attributes, timestamp, offset, buffer, length] {
            self.code.local_get(operand);
        }
        self.code.call(host).end();
    }
}
