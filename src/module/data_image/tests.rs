//! The memory is what Wasmtime makes of the same module.

use super::*;
use wasmtime::{Engine, Instance, Module, Store};

/// A module with so many pages of memory.
fn module(pages: u32, fields: &str) -> Vec<u8> {
    wat::parse_str(format!(r#"(module (memory (export "memory") {pages}) {fields})"#)).unwrap()
}

/// Bytes that differ from page to page.
fn text(length: usize, seed: usize) -> String {
    (0..length).map(|i| char::from(b'a' + ((i / 7 + i / 4096 + seed) % 26) as u8)).collect()
}

fn data(offset: usize, text: &str) -> String {
    format!(r#"(data (i32.const {offset}) "{text}")"#)
}

/// A guest's memory after its start. The error is Wasmtime's.
fn memory(module: &[u8], image: Option<&DataImage>) -> Result<Vec<u8>, String> {
    let engine = Engine::default();
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).map_err(|e| format!("{e:#}"))?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let bytes = memory.data(&store).to_vec();
    let Some(image) = image else { return Ok(bytes) };
    // The image comes first. What stays lies in it only if its offset is computed. Then it has no zeros here.
    let start = image.start as usize;
    let mut out = vec![0; bytes.len()];
    out[start..start + image.bytes.len()].copy_from_slice(&image.bytes);
    out.iter_mut().zip(bytes).filter(|(_, byte)| *byte != 0).for_each(|(place, byte)| *place = byte);
    Ok(out)
}

/// Takes the image, compares the memories and returns the image and the segments that stay.
fn taken(module: &[u8]) -> (DataImage, u32) {
    let (rest, image) = take(module).unwrap().unwrap();
    assert!(memory(module, None).unwrap() == memory(&rest, Some(&image)).unwrap());
    (image, segments(&rest))
}

fn segments(module: &[u8]) -> u32 {
    let count = |payload| match payload {
        Ok(Payload::DataSection(section)) => section.count(),
        _ => 0,
    };
    Parser::new(0).parse_all(module).map(count).sum()
}

const LONG: usize = LEAST as usize;

#[test]
fn overlapping_segments_are_applied_in_order() {
    let fields = [
        data(70_001, &text(LONG, 1)),
        data(69_000, &text(2_000, 2)),
        data(150_000, &text(4_097, 3)),
        data(149_999, "\\00\\00\\00"),
        // Up to the memory's end.
        data(3 * WASM_PAGE - 9, "123456789"),
    ]
    .concat();
    let (image, left) = taken(&module(3, &fields));
    assert_eq!((image.start, image.bytes.len(), left), (69_000, 3 * WASM_PAGE - 69_000, 0));
    assert_eq!(&image.bytes[149_999 - 69_000..][..3], [0; 3]);
}

#[test]
fn many_short_segments_count_for_more_than_their_bytes() {
    let fields = |count: usize| (0..count).map(|i| data(5 + 9 * i, "eight...")).collect::<String>();
    let enough = (LEAST / (8 + SEGMENT)) as usize + 1;
    assert_eq!(take(&module(9, &fields(enough - 1))).unwrap(), None);
    assert_eq!(taken(&module(9, &fields(enough))).1, 0);
}

#[test]
fn a_module_with_little_data_is_left_alone() {
    for fields in [
        String::new(),
        data(0, "abc"),
        data(3, &text(LONG - SEGMENT as usize - 1, 0)),
        format!(r#"(data "{}")"#, text(2 * LONG, 0)),
        // Twice half of it but far apart.
        data(0, &text(LONG / 2, 0)) + &data(LONG / 2 + LARGEST_GAP as usize + 1, &text(LONG / 2, 0)),
    ] {
        assert_eq!(take(&module(9, &fields)).unwrap(), None);
    }
    assert!(take(&module(9, &data(3, &text(LONG - SEGMENT as usize, 0)))).unwrap().is_some());
}

#[test]
fn what_is_far_away_stays() {
    let far = data(30 * WASM_PAGE, "far");
    let (image, left) = taken(&module(40, &(data(0, "near") + &data(5 * WASM_PAGE, &text(LONG, 4)) + &far)));
    assert_eq!((image.start as usize, image.bytes.len(), left), (5 * WASM_PAGE, LONG, 2));
}

#[test]
fn an_image_is_not_much_larger_than_its_segments() {
    // Each segment would be near enough to the next one.
    const SIZE: usize = 17_000;
    let fields: String = (0..99).map(|i| data(i * 79_000, &text(SIZE, i))).collect();
    let (image, left) = taken(&module(120, &fields));
    assert!((3..98).contains(&left), "{left}");
    assert!(image.bytes.len() as u64 <= SPARSEST * (99 - u64::from(left)) * SIZE as u64 + LARGEST_GAP);
}

#[test]
fn nothing_is_taken_from_behind_a_computed_offset() {
    // It overlaps with what comes before and with what comes behind.
    let computed = r#"(global $at i32 (i32.const 100000)) (data (global.get $at) "computed")"#;
    let before = data(99_990, &text(LONG, 5));
    let (image, left) = taken(&module(9, &format!("{before} {computed} {}", data(100_004, "behind"))));
    assert_eq!((image.start, left), (99_990, 2));
    assert_eq!(take(&module(9, &format!("{computed} {before}"))).unwrap(), None);
    let sum = computed.replace("(global.get $at)", "(offset (i32.add (global.get $at) (i32.const 1)))");
    assert_eq!(take(&module(9, &format!("{sum} {before}"))).unwrap(), None);
}

#[test]
fn a_module_that_cannot_start_is_left_alone() {
    for beyond in [data(2 * WASM_PAGE - 2, "abc"), data(2 * WASM_PAGE + 1, ""), data(u32::MAX as usize, "x")] {
        let module = module(2, &(data(0, &text(LONG - 500, 6)) + &data(1, &text(500, 7)) + &beyond));
        assert_eq!(take(&module).unwrap(), None);
        assert!(memory(&module, None).unwrap_err().contains("out of bounds"));
    }
    // At the end there is room for nothing.
    let end = data(2 * WASM_PAGE, "");
    assert_eq!(taken(&module(2, &(data(0, &text(LONG, 6)) + &end))).1, 1);
}

#[test]
fn indices_stay_where_instructions_have_them() {
    let code = r#"(func (export "run") (result i32)
        (memory.init 2 (i32.const 7) (i32.const 1) (i32.const 3))
        (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 0))
        (data.drop 1) (data.drop 2) (i32.load (i32.const 7)))
        (func (export "trap") (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 1)))"#;
    let fields = format!(r#"{code} {} {} (data "passive")"#, data(0, "front"), data(64, &text(LONG, 8)));
    let module = module(9, &fields);
    let (rest, image) = take(&module).unwrap().unwrap();
    assert_eq!((segments(&rest), image.start), (3, 0));
    // Everything in front of the data is as it was.
    let code = |module: &[u8]| {
        let codes = Parser::new(0).parse_all(module).filter_map(|payload| match payload.unwrap() {
            Payload::CodeSectionStart { range, .. } => Some(range),
            _ => None,
        });
        codes.last().unwrap()
    };
    assert_eq!(code(&module), code(&rest));
    assert_eq!(module[..code(&module).end], rest[..code(&rest).end]);
    let engine = Engine::default();
    let mut results = Vec::new();
    for module in [&module, &rest] {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, module).unwrap(), &[]).unwrap();
        let trap = instance.get_typed_func::<(), ()>(&mut store, "trap").unwrap().call(&mut store, ());
        let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
        let loaded = run.call(&mut store, ()).unwrap();
        results.push((
            loaded & 0xff_ffff,
            run.call(&mut store, ()).is_err(),
            format!("{}", trap.unwrap_err().root_cause()),
        ));
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0].0, i32::from_le_bytes(*b"ass\0"));
}

#[test]
fn sections_behind_the_data_stay() {
    use wasm_encoder::{CustomSection, Section as _};
    let mut module = module(9, &data(64, &text(LONG, 9)));
    CustomSection { name: "behind".into(), data: (&b"it"[..]).into() }.append_to(&mut module);
    let (rest, _) = take(&module).unwrap().unwrap();
    assert!(rest.ends_with(b"behindit"));
    assert!(rest.len() < 300);
}
