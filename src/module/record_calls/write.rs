//! The expansion of `write_record(buffer, length) -> i32` and of the same with `options, options_length`.

use super::copy::To;
use super::layout::{OUTPUT, OUTPUT_OFFSET, OUTPUT_PAYLOAD, OUTPUT_POSITION};
use super::{CONTROL, Code, NATIVE, NATIVE_MEMORY, arg, control};
use wasm_encoder::{BlockType, ValType};

/// Key, value and headers of the smallest payload that is looked at: a null key, a null value and no headers are three
/// bytes.
const SMALLEST: i32 = 4;

impl Code<'_> {
    /// ```wat
    /// (block $done (result i32)
    ///   (block $host
    ///     ;; $host if there is no room for the payload or for its record
    ///     ;; $host if the buffer is outside of the memory
    ///     ;; $host unless the options are those of last time
    ///     ;; $host unless the payload is valid, has a short key and a value of less than 1 MiB, and no headers
    ///     ;; copy the payload and write the record
    ///     ;; the next payload and record come behind them
    ///     (br $done (local.get $length)))
    ///   (call $host …))
    /// ```
    ///
    /// The record is there only when the last field of the control is written. So a guest that is suspended in a copy
    /// has written nothing.
    pub fn write(&mut self, host: u32, with_options: bool) {
        let [buffer, length, options, options_length] = [0, 1, 2, 3].map(|local| self.i32_local(local));
        let [payload, end, record, position] = [0, 1, 2, 3].map(|local| self.i64_local(local));
        let operands = if with_options { &[buffer, length, options, options_length][..] } else { &[buffer, length] };
        for &operand in operands.iter().rev() {
            self.code.local_set(operand);
        }
        self.code.block(BlockType::Result(ValType::I32)).block(BlockType::Empty);
        self.control(control::PAYLOAD).code.local_tee(payload);
        self.code.local_get(length).i64_extend_i32_u().i64_add().local_set(end);
        self.code.local_get(end);
        self.control(control::PAYLOAD_END).code.i64_gt_u().br_if(0);
        self.control(control::RECORD).code.local_tee(record);
        self.control(control::RECORD_END).code.i64_ge_u().br_if(0);
        self.range_end(buffer, length);
        self.memory_bytes();
        self.code.i64_gt_u().br_if(0);
        if with_options {
            self.same_options(options, options_length);
        }
        self.check_payload(buffer, length);
        self.copy(To::Native, buffer, payload, length);
        // Address, size and topic in one: each access of the native memory is compared with its end.
        let code = &mut self.code;
        code.local_get(record);
        code.local_get(payload).i64_const(NATIVE as i64).i64_add().i64x2_splat();
        code.local_get(length).i64_extend_i32_u();
        if with_options {
            code.i32_const(0).i64_load32_u(arg(CONTROL, control::OPTIONS_TOPIC)).i64_const(32).i64_shl().i64_or();
        }
        // Without options it is the first topic.
        code.i64x2_replace_lane(1).v128_store(arg(NATIVE_MEMORY, OUTPUT_PAYLOAD));
        // Offset and timestamp of the record in progress.
        code.local_get(record).i32_const(0).v128_load(arg(CONTROL, control::TIMES));
        code.v128_store(arg(NATIVE_MEMORY, OUTPUT_OFFSET));
        code.local_get(record);
        self.control(control::POSITION).code.local_tee(position).i64_store(arg(NATIVE_MEMORY, OUTPUT_POSITION));
        let code = &mut self.code;
        code.i32_const(0).local_get(position).i64_const(1 << 32).i64_add();
        code.i64_store(arg(CONTROL, control::POSITION));
        code.i32_const(0).local_get(end).i64_store(arg(CONTROL, control::PAYLOAD));
        code.i32_const(0).local_get(record).i64_const(OUTPUT).i64_add().i64_store(arg(CONTROL, control::RECORD));
        code.local_get(length).br(1).end();
        for &operand in operands {
            code.local_get(operand);
        }
        code.call(host).end();
    }

    /// Leaves the block unless key, value and headers fill the payload exactly, as `payload::validity` has it.
    fn check_payload(&mut self, buffer: u32, length: u32) {
        let [key, value, last, size] = [4, 5, 6, 7].map(|local| self.i32_local(local));
        let code = &mut self.code;
        code.local_get(length).i32_const(SMALLEST).i32_lt_u().br_if(0);
        code.local_get(buffer).local_get(length).i32_add().i32_const(1).i32_sub().local_set(last);
        // The key is null or its length takes one byte.
        code.local_get(buffer).i32_load8_u(arg(0, 0)).local_set(key);
        code.local_get(key).i32_const(0x81).i32_and().if_(BlockType::Empty);
        code.local_get(key).i32_const(1).i32_ne().br_if(1).end();
        // At least two bytes are behind the key: the value's length and the number of headers. Compared as a length:
        // behind a payload at the end of 4 GiB, addresses begin at 0 again.
        code.local_get(key).i32_const(1).i32_shr_u().local_tee(key).i32_const(3).i32_add();
        code.local_get(length).i32_gt_u().br_if(0);
        // From here on `value` is where the value's length is, less one.
        code.local_get(buffer).local_get(key).i32_add().local_set(value);
        code.local_get(value).i32_load16_u(arg(0, 1)).local_set(size);
        // Behind the value: one, two or three bytes of its length and so many of itself.
        code.local_get(size).i32_const(0x80).i32_and().if_(BlockType::Result(ValType::I32));
        {
            code.local_get(size).i32_const(1).i32_and().br_if(1);
            code.local_get(size).i32_const(0x8000).i32_and().if_(BlockType::Result(ValType::I32));
            {
                code.local_get(last).local_get(value).i32_sub().i32_const(4).i32_lt_u().br_if(2);
                code.local_get(value).i32_load8_u(arg(0, 3)).local_tee(key).i32_const(0x80).i32_and().br_if(2);
                Self::low_bits(code, size);
                code.local_get(key).i32_const(13).i32_shl().i32_or().i32_const(2).i32_add();
            }
            code.else_();
            {
                Self::low_bits(code, size);
                code.i32_const(1).i32_add();
            }
            code.end();
        }
        code.else_();
        {
            // A null value, −1, is left to the host.
            code.local_get(size).i32_const(1).i32_and().br_if(1);
            code.local_get(size).i32_const(0x7f).i32_and().i32_const(1).i32_shr_u();
        }
        code.end();
        // The number of headers is the last byte and 0. If the sum wraps, it is below 2 MiB, as the value is. It then
        // is not `last`, which is behind `value`.
        code.local_get(value).i32_const(2).i32_add().i32_add().local_get(last).i32_ne().br_if(0);
        code.local_get(last).i32_load8_u(arg(0, 0)).br_if(0);
    }

    /// The 13 bits of a length that its first two bytes have.
    fn low_bits(code: &mut wasm_encoder::InstructionSink<'_>, size: u32) {
        code.local_get(size).i32_const(0x7f).i32_and().i32_const(1).i32_shr_u();
        code.local_get(size).i32_const(0x7f00).i32_and().i32_const(2).i32_shr_u().i32_or();
    }
}
