//! Tables, debug information of both kinds and what somebody hostile makes of it, and rewritten modules.

use super::*;
use crate::module::suspend_points;
use proptest::prelude::*;
use wasm_encoder::CustomSection;
use wasmparser::{Parser, Payload};

/// A module whose operations are all of the kinds that rewriting changes, moves or leaves.
const GUEST: &str = r#"(module
    (type $void (func))
    (import "redpanda_transform" "check_abi_version_2" (func (type $void)))
    (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
    (memory (export "memory") 9)
    (func $plain (param i32) (result i32) (local i64 i32) (i32.add (local.get 0) (i32.const 7)))
    (func $_start (export "_start") (local i32)
        (memory.fill (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
        (memory.copy (i32.const 0) (i32.const 1) (i32.const 64))
        (drop (call $write (i32.const 1) (call $plain (i32.const 2))))
        (memory.copy (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
        (loop (br_if 0 (call $plain (i32.const 2))))))"#;

const IMPORTED: u32 = 2;

/// Where the code section's content is, and each operator: its function, its position in the body and what it is.
fn operators(module: &[u8]) -> (usize, Vec<(u32, usize, String)>) {
    let (mut code, mut function, mut out) = (0, IMPORTED, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::CodeSectionStart { range, .. } => code = range.start,
            Payload::CodeSectionEntry(body) => {
                let mut reader = body.get_operators_reader().unwrap();
                while !reader.eof() {
                    let at = reader.original_position() - body.range().start;
                    out.push((function, at, format!("{:?}", reader.read().unwrap())));
                }
                function += 1;
            }
            _ => {}
        }
    }
    (code, out)
}

/// Bodies' positions in a module.
fn bodies(module: &[u8]) -> Vec<core::ops::Range<usize>> {
    let entry = |payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => Some(body.range()),
        _ => None,
    };
    Parser::new(0).parse_all(module).filter_map(entry).collect()
}

/// What comes before the names of a line program: `length` and `header_length` are to be filled in.
const STANDARD: [u8; 18] = [1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];

fn unit(version: u16, names: &[u8], program: &[u8]) -> Vec<u8> {
    let mut unit = version.to_le_bytes().to_vec();
    if version >= 5 {
        unit.extend([4, 0]);
    }
    unit.extend((STANDARD.len() as u32 + names.len() as u32).to_le_bytes());
    unit.extend(STANDARD);
    unit.extend(names);
    unit.extend(program);
    [&(unit.len() as u32).to_le_bytes()[..], &unit].concat()
}

/// Names of version 4: `lib.rs` in `src` and `main.rs`.
const NAMES_4: &[u8] = b"src\0\0lib.rs\0\x01\0\0main.rs\0\0\0\0\0";
/// The same of version 5, whose first directory and file are the compiler's. `main.rs` is in `.debug_line_str`.
const NAMES_5: &[u8] = b"\x01\x01\x08\x02/home\0src\0\x02\x01\x1f\x02\x0b\x03\0\0\0\0\0\x08\0\0\0\x01\x08\0\0\0\x01";
const LINE_STR: &[u8] = b"main.rs\0lib.rs\0";

/// A sequence with rows at these addresses of a line each.
fn sequence(program: &mut Vec<u8>, addresses: &[usize], line: u32) {
    program.extend([0, 5, 2]);
    program.extend((addresses[0] as u32).to_le_bytes());
    let (mut at, mut lines) = (addresses[0], line - 1);
    for &address in addresses {
        program.push(2);
        put(program, (address - at) as u32);
        program.push(3);
        put(program, lines);
        program.extend([5, 9, 1]);
        (at, lines) = (address, 1);
    }
    program.extend([2, 1, 0, 1, 1]);
}

fn with_sections(module: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = module.to_vec();
    for (name, data) in sections {
        let section = CustomSection { name: (*name).into(), data: (*data).into() };
        wasm_encoder::Section::append_to(&section, &mut out);
    }
    out
}

/// GUEST with a line for each operator: the n-th has line n.
fn guest(version: u16) -> Vec<u8> {
    let module = wat::parse_str(GUEST).unwrap();
    let (code, all) = operators(&module);
    let bodies = bodies(&module);
    let mut program = Vec::new();
    let mut line = 1;
    // The functions' sequences come in another order than the functions. That of a removed function is at 0.
    let mut sequences = vec![(vec![0, 1, 2, 3, 4, 5, 6, 7], 1000)];
    for (function, body) in (IMPORTED..).zip(&bodies) {
        let of_function: Vec<_> = all.iter().filter(|(of, ..)| *of == function).collect();
        let addresses: Vec<_> = of_function.iter().map(|(_, at, _)| body.start - code + at).collect();
        line += addresses.len() as u32;
        sequences.push((addresses, line - of_function.len() as u32));
    }
    for (addresses, line) in sequences.iter().rev() {
        sequence(&mut program, addresses, *line);
    }
    let names = if version == 4 { NAMES_4 } else { NAMES_5 };
    with_sections(&module, &[(".debug_line", &unit(version, names, &program)), (".debug_line_str", LINE_STR)])
}

fn lines_of_unchanged(module: &[u8]) -> Option<Lines> {
    Recorder::new(module).map(|recorder| recorder.unchanged(module).unwrap())
}

#[test]
fn each_instruction_has_its_line() {
    for version in [4, 5] {
        let module = guest(version);
        assert!(are_in(&module));
        let lines = lines_of_unchanged(&module).unwrap();
        let (_, all) = operators(&module);
        for ((function, at, operator), line) in all.iter().zip(1..) {
            let found = lines.find(*function, *at as u32).unwrap();
            assert_eq!(found, Location { file: "src/lib.rs".into(), line, column: 9 }, "{operator}");
        }
        assert_eq!(lines.find(IMPORTED, 0).unwrap().line, 1, "at the entry");
        assert_eq!((lines.find(0, 0), lines.find(IMPORTED + 2, 0)), (None, None));
    }
    assert!(!are_in(&wat::parse_str(GUEST).unwrap()));
    assert!(Recorder::new(&wat::parse_str(GUEST).unwrap()).is_none());
}

#[test]
fn lines_follow_the_instructions_of_a_rewritten_module() {
    let module = guest(5);
    let mut recorder = Recorder::new(&module).unwrap();
    let with = |recorder| {
        let options = suspend_points::Options { recorder, expands: true };
        suspend_points::add(&module, suspend_points::own, options).unwrap().unwrap().module
    };
    let (rewritten, same) = (with(Some(&mut recorder)), with(None));
    assert_eq!(rewritten, same, "whoever looks on changes nothing");
    let lines = recorder.finish();
    let (_, before) = operators(&module);
    let (_, after) = operators(&rewritten);
    let line = |function: u32, at: usize| lines.find(function, at as u32).map(|found| found.line as usize);
    let mut met = vec![false; before.len() + 1];
    for (function, at, operator) in &after {
        let Some(line) = line(*function, *at) else {
            assert!(*function >= IMPORTED + 2, "{operator} of the module's own");
            continue;
        };
        let (of, _, original) = &before[line - 1];
        assert_eq!(of, function);
        met[line] = true;
        // A divided operation's instructions have its line. All others have that of the same instruction.
        let is_divided = original.starts_with("Memory") && !original.contains("Size");
        let is_call = original.starts_with("Call");
        assert!(operator == original || is_divided || is_call, "{operator} is on the line of {original}");
    }
    assert!(met[1..].iter().all(|&met| met), "{met:?}");
    let moved = |all: &[(u32, usize, String)]| all.iter().find(|(_, _, o)| o.starts_with("MemoryCopy")).unwrap().1;
    assert_ne!(moved(&before), moved(&after), "the test is about something");
}

#[test]
fn a_long_function_is_searched_by_chunks() {
    let mut module = wasm_encoder::Module::new();
    let (mut types, mut functions, mut code) =
        <(wasm_encoder::TypeSection, wasm_encoder::FunctionSection, wasm_encoder::CodeSection)>::default();
    types.ty().function([], []);
    for count in [1000_usize, 3, 5000] {
        functions.function(0);
        code.raw(&[&[0][..], &vec![1; count], &[0x0b]].concat());
    }
    module.section(&types).section(&functions).section(&code);
    let module = module.finish();
    let (start, program) = (operators(&module).0, &mut Vec::new());
    let mut line = 1;
    for body in bodies(&module) {
        let addresses: Vec<_> = (body.start + 1 - start..body.end - start).collect();
        sequence(program, &addresses, line);
        line += addresses.len() as u32;
    }
    let lines = lines_of_unchanged(&with_sections(&module, &[(".debug_line", &unit(4, NAMES_4, program))])).unwrap();
    let mut line = 0;
    for (function, body) in (0..).zip(bodies(&module)) {
        for offset in 1..body.len() as u32 {
            line += 1;
            assert_eq!(lines.find(function, offset).unwrap().line, line);
        }
    }
    // Line, column and offset of a row take a byte each.
    assert!(lines.bytes().len() < 4 * line as usize, "{} bytes for {line} lines", lines.bytes().len());
}

#[test]
fn files_have_their_directories() {
    let module = wat::parse_str(GUEST).unwrap();
    let start = bodies(&module)[0].start - operators(&module).0;
    for (version, names, files) in [(4, NAMES_4, ["src/lib.rs", "main.rs"]), (5, NAMES_5, ["main.rs", "src/lib.rs"])] {
        for (file, name) in files.iter().enumerate() {
            let number = if version == 4 { file as u8 + 1 } else { file as u8 };
            let mut program = vec![4, number];
            sequence(&mut program, &[start], 5);
            let sections = [(".debug_line", &*unit(version, names, &program)), (".debug_line_str", LINE_STR)];
            let lines = lines_of_unchanged(&with_sections(&module, &sections)).unwrap();
            assert_eq!(lines.find(IMPORTED, 3).unwrap().file, *name, "version {version}");
        }
    }
}

/// Bytes of the table of GUEST with such a section.
fn table_size(line: &[u8], line_str: &[u8]) -> usize {
    let module = wat::parse_str(GUEST).unwrap();
    let module = with_sections(&module, &[(".debug_line", line), (".debug_line_str", line_str)]);
    lines_of_unchanged(&module).map_or(0, |lines| lines.bytes().len())
}

#[test]
fn hostile_sections_take_no_more_than_their_size() {
    let module = wat::parse_str(GUEST).unwrap();
    let start = (bodies(&module)[0].start - operators(&module).0) as u8;
    let set_address = [0, 5, 2, start, 0, 0, 0];
    // A row for each byte, all of them at one address.
    let many: Vec<u8> = set_address.iter().copied().chain((0..8 << 20).map(|i| [18, 20][i % 2])).collect();
    assert!(table_size(&unit(4, NAMES_4, &many), b"") < 200);
    // More files than there are bytes, and of one byte each in a header that is too large.
    let huge = b"\x01\x01\x08\x01\0\x01\x01\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
    assert_eq!(table_size(&unit(5, huge, &many), b""), 0);
    let empty = [&b"\x01\x01\x08\x01\0\x01\x01\x08\x80\x80\x80\x04"[..], &vec![0; 8 << 20]].concat();
    assert_eq!(table_size(&unit(5, &empty, &many), b""), 0);
    // Files that are defined all over again, and a line before the first one.
    let define: Vec<u8> = (0..1 << 20).flat_map(|_| [0, 5, 3, 0, 0, 0, 0]).collect();
    let back = [3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
    assert!(table_size(&unit(4, NAMES_4, &[&set_address[..], &define, &back, &[1, 18]].concat()), b"") < 200);
    // Many files with names without an end.
    let endless = vec![b'x'; 8 << 20];
    let mut names = b"\x01\x01\x08\x01\0\x01\x01\x1f\x80\x80\x02".to_vec();
    names.extend((0..1_u32 << 15).flat_map(u32::to_le_bytes));
    let mut program = set_address.to_vec();
    for file in 0..1 << 15 {
        program.push(4);
        put(&mut program, file);
        program.push(18);
    }
    let section = unit(5, &names, &program);
    assert!(section.len() < 400 << 10);
    // The names are the same, as far as they are read.
    assert!(table_size(&section, &endless) < 1000);
    let different: Vec<u8> = (0..8 << 20).map(|i: u32| b'a' + (i.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
    assert!(table_size(&section, &different) < (5 << 20));
    // Many units, each of them too short.
    assert_eq!(table_size(&[2, 0, 0, 0, 4, 0].repeat(1 << 20), b""), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_sections_never_panic(
        version in 4_u16..=5,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut module = guest(version);
        let start = module.len() - (LINE_STR.len() + 18) - 200;
        for (at, byte) in damage {
            let length = module.len() - start;
            module[start + at.index(length)] = byte;
        }
        if let Some(lines) = lines_of_unchanged(&module) {
            for (function, at, _) in operators(&module).1 {
                lines.find(function, at as u32);
            }
        }
        // A part of the section alone.
        let line = guest(version);
        let line = &line[start..];
        table_size(&line[..cut.index(line.len())], LINE_STR);
    }

    #[test]
    fn damaged_tables_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let lines = lines_of_unchanged(&guest(4)).unwrap();
        let mut bytes = lines.bytes().to_vec();
        for (at, byte) in damage {
            let length = bytes.len();
            bytes[at.index(length)] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            let lines = Lines::from_bytes(bytes);
            for function in [0, IMPORTED, IMPORTED + 1, u32::MAX] {
                for offset in [0, 3, 20, u32::MAX] {
                    lines.find(function, offset);
                }
            }
        }
    }
}
