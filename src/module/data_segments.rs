//! Joins data segments that lie close together.
//!
//! Wasmtime compiles an instruction sequence for each active segment if it does not map an image of the memory. Go's
//! linker leaves runs of zeros out and so makes more than twenty thousand segments for one program: as much machine
//! code as for the program itself, which runs at each start. Joined they are seven. The zeros between them are written,
//! which changes nothing: a new memory is zero. Unless it begins as an image.

use wasm_encoder::{ConstExpr, DataSection, Encode as _, SectionId};
use wasmparser::{BinaryReaderError, Data, DataKind, Operator, Parser, Payload};

/// Segments with as many zeros between them or fewer are joined. A segment of its own takes more than that in code.
const GAP: u64 = 64;

/// Bytes before the first section.
const HEADER: usize = 8;

/// A module with fewer segments stays as it is.
const MANY: usize = 16;

/// The same module with fewer data segments. None if there is nothing to join or if it could make a difference:
/// segments that overlap, whose place is not a constant, or that instructions name. `module` must be valid.
pub fn join(module: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let mut section = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            // Instructions can only name segments if this section is there.
            Payload::DataCountSection { .. } => return Ok(None),
            Payload::DataSection(data) => section = Some(data),
            _ => {}
        }
    }
    let Some(section) = section.filter(|section| section.count() as usize >= MANY) else { return Ok(None) };
    let mut segments = Vec::new();
    for data in section {
        let data = data?;
        let Some(place) = place(&data)? else { return Ok(None) };
        segments.push((u64::from(place), data.data));
    }
    segments.sort_by_key(|&(place, bytes)| (place, bytes.len()));
    let Some(joined) = joined(&segments) else { return Ok(None) };
    // All other bytes stay as they are: debug information has positions of the code.
    let mut before = HEADER;
    for payload in Parser::new(0).parse_all(module) {
        match payload?.as_section() {
            Some((id, range)) if id == u8::from(SectionId::Data) => {
                let mut out = module[..before].to_vec();
                out.push(id);
                joined.encode(&mut out);
                out.extend_from_slice(&module[range.end..]);
                return Ok(Some(out));
            }
            Some((_, range)) => before = range.end,
            None => {}
        }
    }
    Ok(None)
}

/// Where an active segment begins if that is a constant.
fn place(data: &Data<'_>) -> Result<Option<u32>, BinaryReaderError> {
    let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return Ok(None) };
    let mut reader = offset_expr.get_operators_reader();
    let Operator::I32Const { value } = reader.read()? else { return Ok(None) };
    Ok(matches!(reader.read()?, Operator::End).then_some(value as u32))
}

/// The segments, which are in the order of their places. None if two of them overlap.
fn joined(segments: &[(u64, &[u8])]) -> Option<DataSection> {
    let mut section = DataSection::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    for (i, &(place, data)) in segments.iter().enumerate() {
        if place < end {
            return None;
        }
        if i > 0 && place - end <= GAP {
            bytes.resize((place - begin) as usize, 0);
        } else {
            if i > 0 {
                section.active(0, &ConstExpr::i32_const(begin as i32), bytes.drain(..));
            }
            begin = place;
        }
        bytes.extend_from_slice(data);
        end = place + data.len() as u64;
    }
    section.active(0, &ConstExpr::i32_const(begin as i32), bytes);
    Some(section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmtime::{Engine, Instance, Module, Store};

    /// A module with these segments behind a custom section and before another one.
    fn module(segments: &[(u32, Vec<u8>)], rest: &str) -> Vec<u8> {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let data: String =
            segments.iter().map(|(at, bytes)| format!("(data (i32.const {at}) \"{}\")", text(bytes))).collect();
        let text = format!(
            r#"(module (memory (export "memory") 2) (func (export "f") (result i32) (i32.const 7)) {data} {rest})"#
        );
        wat::parse_str(text).unwrap()
    }

    fn count(module: &[u8]) -> u32 {
        let sections = Parser::new(0).parse_all(module).map(Result::unwrap);
        sections.filter_map(|p| if let Payload::DataSection(s) = p { Some(s.count()) } else { None }).sum()
    }

    /// The memory of a new instance, or why there is none.
    fn memory(module: &[u8]) -> Result<Vec<u8>, String> {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, module).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).map_err(|e| format!("{e:#}"))?;
        Ok(instance.get_memory(&mut store, "memory").unwrap().data(&store).to_vec())
    }

    #[test]
    fn close_segments_become_one() {
        let far = GAP as u32 + 20;
        let at = |i: u32| (i * far, vec![i as u8 + 1; if i.is_multiple_of(2) { 20 } else { 19 }]);
        let segments: Vec<_> = (0..20).map(at).collect();
        let joined = join(&module(&segments, "")).unwrap().unwrap();
        // Behind every second one is a byte too much.
        assert_eq!(count(&joined), 10);
        assert_eq!(memory(&joined), memory(&module(&segments, "")));
    }

    #[test]
    fn what_could_make_a_difference_stays() {
        let many: Vec<_> = (0..20).map(|i| (i * 30, vec![1; 9])).collect();
        assert!(join(&module(&many, "")).unwrap().is_some());
        assert!(join(&module(&many[..MANY - 1], "")).unwrap().is_none(), "few");
        let with = |more: (u32, Vec<u8>)| [&many[..], &[more]].concat();
        assert!(join(&module(&with((8, vec![2; 3])), "")).unwrap().is_none(), "overlapping");
        assert!(join(&module(&with((30, vec![])), "")).unwrap().is_some(), "an empty one overlaps with nothing");
        let computed = "(import \"m\" \"g\" (global $g i32)) (data (global.get $g) \"x\")";
        let module_of = |rest: &str| {
            let data: String = many.iter().map(|(at, _)| format!("(data (i32.const {at}) \"123456789\")")).collect();
            wat::parse_str(format!("(module {rest} (memory 2) {data})")).unwrap()
        };
        assert!(join(&module_of(computed)).unwrap().is_none(), "computed");
        assert!(join(&module_of("(data $passive \"x\")")).unwrap().is_none(), "passive");
        let named = "(func (data.drop 3))";
        assert!(join(&module_of(named)).unwrap().is_none(), "named");
        assert!(join(b"\0asm\x01\0\0\0").unwrap().is_none());
    }

    #[test]
    fn a_segment_outside_is_refused_as_before() {
        let mut segments: Vec<_> = (0..20).map(|i| (i * 30, vec![1; 9])).collect();
        for last in [(131_070, vec![7; 2]), (131_070, vec![7; 3]), (u32::MAX - 5, vec![7; 3]), (131_072, vec![])] {
            segments.push(last);
            let module = module(&segments, "");
            let joined = join(&module).unwrap().unwrap();
            assert_eq!(memory(&joined).is_ok(), memory(&module).is_ok(), "{:?}", segments.last());
            segments.pop();
        }
    }

    #[test]
    fn all_other_bytes_stay_in_place() {
        let many: Vec<_> = (0..20).map(|i| (i * 30, vec![1; 9])).collect();
        let mut module = module(&many, "");
        // The size of the first section in more bytes than it needs, as LLVM's linker writes it.
        assert_eq!((module[8], module[9] < 0x80), (1, true));
        module.splice(9..10, [module[9] | 0x80, 0x80, 0x80, 0]);
        let joined = join(&module).unwrap().unwrap();
        let code = |module: &[u8]| {
            let mut sections = Parser::new(0).parse_all(module).map(Result::unwrap);
            sections
                .find_map(|p| if let Payload::CodeSectionStart { range, .. } = p { Some(range) } else { None })
                .unwrap()
        };
        assert_eq!(code(&joined), code(&module));
        assert_eq!(joined[..code(&module).end], module[..code(&module).end]);
        assert_eq!(memory(&joined), memory(&module));
    }

    proptest! {
        #[test]
        fn memories_are_the_same(segments in prop::collection::vec((0u32..3000, prop::collection::vec(any::<u8>(), 0..40)), MANY..60)) {
            let module = module(&segments, "");
            if let Some(joined) = join(&module).unwrap() {
                prop_assert!(count(&joined) <= count(&module));
                prop_assert_eq!(memory(&joined), memory(&module));
            }
        }

        #[test]
        fn memories_are_the_same_if_none_overlap(segments in prop::collection::vec((0u32..90, prop::collection::vec(any::<u8>(), 0..40)), MANY..60), turn in 0usize..60) {
            let mut at = 0;
            let mut placed: Vec<_> = segments.into_iter().map(|(gap, bytes)| {
                at += gap;
                let place = at;
                at += bytes.len() as u32;
                (place, bytes)
            }).collect();
            let turn = turn % placed.len();
            placed.rotate_left(turn);
            let module = module(&placed, "");
            let joined = join(&module).unwrap().unwrap();
            prop_assert_eq!(memory(&joined), memory(&module));
        }
    }
}
