//! Makes inputs that fuzzing can begin with: `seeds TARGET DIRECTORY [GUEST…]`. They need not be in git.
//!
//! Modules that are named as guests become seeds of `validate`, and their line sections seeds of `lines`, as far as they
//! are small enough.

use std::fs;
use std::iter::repeat_with;
use std::path::Path;
use wasm_engine_fuzz::batch::builder::Builder;
use wasm_engine_fuzz::batch::compression::{compress, wasm_compression as Codec};
use wasm_engine_fuzz::batch::payload::Payload;
use wasm_engine_fuzz::host::schema::{Reference, Schema, wasm_schema_type};
use wasm_engine_fuzz::module::artifact::{Artifact, Head};
use wasm_engine_fuzz::module::data_image::DataImage;
use wasm_engine_fuzz::module::lines::Lines;
use wasm_engine_fuzz::module::suspend_points::Wrappers;
use wasm_engine_fuzz::sdk;
use wasmparser::{Parser, Payload as Section};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: seeds TARGET DIRECTORY [GUEST…]";
    let (target, directory) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let guests = arguments.map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let seeds = match target.as_str() {
        "artifact" => vec![artifact()],
        "batch" => batches()?,
        "demangle" => NAMES.iter().map(|name| name.as_bytes().to_vec()).collect(),
        "lines" => guests.iter().filter_map(|guest| lines(guest)).collect(),
        "payload" => payloads(),
        "schema" => vec![schema()?],
        "validate" | "rewrite" => modules(guests),
        _ => Vec::new(),
    };
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&directory).join(format!("seed-{number}")), seed)?;
    }
    println!("{} seeds", seeds.len());
    Ok(())
}

const NAMES: [&str; 8] = [
    "_ZN5guest3fooEi",
    "_ZZN5hello5worldEvENKUlvE_clEv",
    "_ZNSt3__213__tree_removeB8ne190000IPNS_16__tree_node_baseIPvEEEEvT_S5_",
    "_RNvCs1234_7mycrate3foo",
    "_RNvMs_NtCs1234_4core3fmtNtB4_9Formatter3pad",
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE",
    "_Z1fISt6vectorISt6vectorIiEEEvT_DpT0_",
    "main.(*T[...]).Close\n",
];

fn payloads() -> Vec<Vec<u8>> {
    let long = [b'v'; 300];
    let many: Vec<_> = (0..70).map(|_| (&b"k"[..], Some(&b"v"[..]))).collect();
    let payloads = [
        Payload { key: Some(b"key"), value: Some(b"value"), headers: Vec::new() },
        Payload { key: None, value: None, headers: vec![(b"a", None), (b"", Some(b"b"))] },
        Payload { key: Some(b""), value: Some(&long), headers: many },
    ];
    payloads
        .iter()
        .map(|payload| {
            let mut bytes = Vec::new();
            payload.put(&mut bytes);
            bytes
        })
        .collect()
}

/// Each codec in each form that `batch` has.
fn batches() -> Result<Vec<Vec<u8>>, Error> {
    let mut seeds = Vec::new();
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = Builder::new(codec, 5, None);
        let mut plain = Builder::new(Codec::None, 0, None);
        for (number, payload) in payloads().iter().enumerate() {
            builder.add(None, number as i64, payload)?;
            plain.add(None, number as i64, payload)?;
        }
        let records = plain.finish()?[61..].to_vec();
        let batch = builder.finish()?;
        let mode = codec as u8;
        let mut compressed = Vec::new();
        compress(codec, &records, &mut compressed)?;
        seeds.push([&[mode][..], batch].concat());
        seeds.push([&[mode | 1 << 3, 0, 3][..], &records].concat());
        seeds.push([&[mode | 2 << 3, 0, 3][..], &compressed].concat());
        seeds.push([&[mode | 3 << 3, 0, 80, 0][..], &records[..60], &[0xF1; 20]].concat());
        seeds.push([&[mode | 0x60][..], batch].concat());
    }
    Ok(seeds)
}

fn schema() -> Result<Vec<u8>, Error> {
    let reference = Reference { name: "name".into(), subject: "subject".into(), version: 3 };
    let references = vec![reference.clone(), reference];
    Ok(Schema { ty: wasm_schema_type::Protobuf, definition: "syntax".into(), references }.encoded()?)
}

fn artifact() -> Vec<u8> {
    let head = Head {
        wasmtime: "48.0.2".into(),
        waits: vec![0, 1, 2],
        wrappers: Wrappers { first: 5, imports: vec![(1, "a.b".into())], bulk_operations: vec![8, 17] },
        lines: Lines::from_bytes(&[
            1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'f', 0, 2, 3,
        ]),
        image: Some(DataImage { start: 64, bytes: [4, 5, 6].into() }),
        outline: sdk::module(),
        ..Head::default()
    };
    let bytes = Artifact::write(&head, b"code");
    [&bytes[12..14], &bytes[56..]].concat()
}

fn modules(guests: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    // Random choices for wasm-smith: few, so that they are changed as a whole.
    let choices = (1..40_u32).map(|seed| {
        let mut state = seed.wrapping_mul(0x9E37_79B9);
        let next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        repeat_with(next).take(200 + 100 * seed as usize).collect()
    });
    guests.into_iter().filter(|guest| guest.len() <= 64 << 10).chain([sdk::module()]).chain(choices).collect()
}

fn lines(guest: &[u8]) -> Option<Vec<u8>> {
    let (mut line, mut strings) = (None, Vec::new());
    for section in Parser::new(0).parse_all(guest).map_while(Result::ok) {
        let Section::CustomSection(section) = section else { continue };
        match section.name() {
            ".debug_line" => line = Some(section.data()),
            ".debug_line_str" | ".debug_str" => strings.extend(section.data().iter().take(2000)),
            _ => {}
        }
    }
    let line = line?;
    let size = u16::try_from(line.len().min(8000)).ok()?;
    Some([&size.to_le_bytes()[..], &line[..usize::from(size)], &strings].concat())
}
