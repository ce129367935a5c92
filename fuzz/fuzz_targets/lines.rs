//! Debug information of a module: any line section, in a module with some code, within a budget. The table of lines is
//! then searched everywhere.
//!
//! Bytes that begin as a module are one. Of others the first two bytes say how long the section of lines is. Then that
//! of its strings comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use wasm_encoder::{CodeSection, CustomSection, Function, FunctionSection, Module, TypeSection};
use wasm_engine_fuzz::budget;
use wasm_engine_fuzz::module::lines::{Lines, Recorder, are_in};

/// `compile::rewriting` asks for as much before it reads lines.
const MEMORY: usize = 64 << 20;

fuzz_target!(|bytes: &[u8]| {
    let module = if bytes.starts_with(b"\0asm") {
        bytes.to_vec()
    } else {
        let Some((size, rest)) = bytes.split_first_chunk::<2>() else { return };
        let size = usize::from(u16::from_le_bytes(*size));
        with_sections(rest.split_at_checked(size).unwrap_or((rest, &[])))
    };
    let lines = budget::within(MEMORY, Duration::from_millis(100), || {
        are_in(&module).then(|| Recorder::new(&module)).flatten().map(|recorder| recorder.unchanged(&module))
    });
    let Some(Ok(lines)) = lines else { return };
    let again = Lines::from_bytes(lines.bytes());
    for function in [0, 1, 2, 5, u32::MAX] {
        for offset in [0, 1, 2, 3, 10, 30, 45, 150, u32::MAX] {
            let found = lines.find(function, offset);
            assert_eq!(found, again.find(function, offset));
            assert!(found.is_none_or(|place| !place.file.contains(char::is_control)));
        }
    }
});

/// Four functions with some instructions, and sections of debug information.
fn with_sections((line, strings): (&[u8], &[u8])) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for size in [1, 10, 40, 200] {
        functions.function(0);
        let mut function = Function::new([]);
        for _ in 0..size {
            function.instructions().nop();
        }
        function.instructions().end();
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    for (name, data) in [(".debug_line", line), (".debug_line_str", strings), (".debug_str", strings)] {
        module.section(&CustomSection { name: name.into(), data: data.into() });
    }
    module.finish()
}
