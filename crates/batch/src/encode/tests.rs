#![allow(unsafe_code)] // records as C has them
use super::*;
use crate::entries::{MOST_SEGMENTS, PER_SEGMENT};
use crate::input::{wasm_field, wasm_header, wasm_payload, wasm_record};
use crate::payload::{Field, Payload};
use proptest::prelude::*;

const LIMIT: usize = 256 << 20;

type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>, i64, i64, u8);

/// Records and what they point to.
struct World<'a> {
    payloads: Vec<Payload<'a>>,
    #[allow(dead_code)] // pointed to
    headers: Vec<Vec<wasm_header>>,
    records: Vec<wasm_record>,
}

fn field(field: Field<'_>) -> wasm_field {
    wasm_field::of(field)
}

fn world<'a>(all: impl IntoIterator<Item = (Payload<'a>, i64, i64, u8)>) -> World<'a> {
    let (mut payloads, mut headers, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for (payload, offset, timestamp, attributes) in all {
        let own: Vec<_> =
            payload.headers.iter().map(|(k, v)| wasm_header { key: field(Some(k)), value: field(*v) }).collect();
        let raw = wasm_payload {
            key: field(payload.key),
            value: field(payload.value),
            headers: own.as_ptr(),
            header_count: own.len(),
        };
        records.push(wasm_record { payload: raw, offset, timestamp, attributes });
        headers.push(own);
        payloads.push(payload);
    }
    World { payloads, headers, records }
}

fn owned(all: &[Owned]) -> World<'_> {
    world(all.iter().map(|(key, value, headers, offset, timestamp, attributes)| {
        let headers = headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
        (Payload { key: key.as_deref(), value: value.as_deref(), headers }, *offset, *timestamp, *attributes)
    }))
}

/// Encodes the records and returns the number of steps.
fn begin<'a>(reader: &mut Records<'a>, records: &'a [wasm_record], first: u32, limit: usize) -> Result<usize> {
    // SAFETY: what the records point to lives as long as the world that they come from; what does not is refused.
    let lent = unsafe { LentRecords::new(records) };
    reader.begin_records(lent, first, limit)?;
    let mut steps = 1;
    while !reader.check()? {
        steps += 1;
    }
    Ok(steps)
}

fn refusal(records: &[wasm_record], limit: usize) -> Error {
    let mut reader = Records::default();
    let refused = begin(&mut reader, records, 0, limit).unwrap_err();
    assert!(reader.peek().is_none(), "nothing is there after an error");
    refused
}

/// What is read from `first` on is what was given.
fn compare(world: &World<'_>, first: usize) -> usize {
    let mut reader = Records::default();
    let steps = begin(&mut reader, &world.records, first as u32, LIMIT).unwrap();
    let mut largest = 0;
    for (record, payload) in world.records.iter().zip(&world.payloads).skip(first) {
        let mut encoded = Vec::new();
        payload.put(&mut encoded);
        largest = largest.max(encoded.len());
        let read = reader.peek().unwrap();
        assert!(read.payload == encoded, "{payload:?}");
        assert_eq!(
            (read.offset, read.timestamp, read.attributes),
            (record.offset, record.timestamp, record.attributes)
        );
        reader.advance();
        assert_eq!(reader.latest().unwrap().offset, record.offset);
    }
    assert_eq!(reader.peek(), None);
    assert_eq!(reader.largest_payload, largest);
    reader.end();
    while !reader.free_some() {}
    assert_eq!(reader.entries.left_here(), 0);
    steps
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_given(all: Vec<Owned>, first in 0usize..4) {
        let world = owned(&all);
        compare(&world, first.min(world.records.len().saturating_sub(1)));
    }

    #[test]
    fn fields_of_all_sizes(sizes in proptest::collection::vec((0usize..300, prop_oneof![0usize..300, 8000usize..8500, 0usize..100_000]), 1..40)) {
        let bytes: Vec<u8> = (0..100_000).map(|i| (i * 31 + i / 251) as u8).collect();
        let world = world(sizes.iter().enumerate().map(|(i, &(key, value))| {
            let payload = Payload { key: Some(&bytes[i..i + key]), value: Some(&bytes[..value]), headers: vec![] };
            (payload, -(i as i64), i as i64, 0)
        }));
        compare(&world, 0);
    }
}

#[test]
fn the_header_is_made_of_the_records() {
    let plain = |offset, timestamp| (Payload::default(), offset, timestamp, 0);
    let header = |all: &[(i64, i64)]| {
        let world = world(all.iter().map(|&(offset, timestamp)| plain(offset, timestamp)));
        let mut reader = Records::default();
        begin(&mut reader, &world.records, 0, LIMIT).unwrap();
        let header = reader.header;
        assert_eq!((header.attributes, header.partition_leader_epoch, header.base_sequence), (0, -1, -1));
        assert_eq!((header.producer_id, header.producer_epoch), (-1, -1));
        (header.base_offset, header.last_offset_delta, header.base_timestamp, header.max_timestamp, header.record_count)
    };
    assert_eq!(header(&[]), (0, 0, 0, 0, 0));
    assert_eq!(header(&[(7, -5)]), (7, 0, -5, -5, 1));
    assert_eq!(header(&[(7, 5), (9, 3), (8, 6)]), (7, 1, 5, 6, 3));
    assert_eq!(header(&[(7, 5), (3, 4)]), (7, 0, 5, 5, 2));
    assert_eq!(header(&[(i64::MIN, 0), (i64::MAX, -1)]), (i64::MIN, i32::MAX, 0, 0, 2));
}

#[test]
fn more_records_than_entries_are_found_again() {
    let count = MOST_SEGMENTS * PER_SEGMENT + 5000;
    let texts: Vec<_> = (0..count).map(|i| i.to_string()).collect();
    let large = vec![7; chunk::SIZE + 1];
    let world = world(texts.iter().enumerate().map(|(i, text)| {
        // Among those of which no entry is kept is a large one and one that fills a chunk exactly.
        let value = match i {
            135_000 => &large[..],
            135_100 => &large[..chunk::SIZE - LEAD - 6],
            _ => text.as_bytes(),
        };
        (Payload { key: None, value: Some(value), headers: vec![] }, i as i64, -(i as i64), 1)
    }));
    assert!(compare(&world, 0) > MOST_SEGMENTS);
    compare(&world, count - 3);
}

#[test]
fn records_larger_than_a_chunk_are_copied_in_steps() {
    let bytes: Vec<u8> = (0..3 << 20).map(|i| (i % 253) as u8).collect();
    for size in [chunk::SIZE - 5, chunk::SIZE - 4, chunk::SIZE, chunk::SIZE + 1, 3 << 20] {
        let payload = |size: usize| Payload { key: Some(b"k"), value: Some(&bytes[..size]), headers: vec![] };
        let world = world([3, size, 100, size, size].map(|size| (payload(size), 1, 2, 3)));
        let steps = compare(&world, 0);
        assert!(steps >= 3 * (size / chunk::SIZE), "{size}: {steps}");
    }
}

#[test]
fn many_headers_are_counted_and_copied_in_steps() {
    for count in [FEW_HEADERS, FEW_HEADERS + 1, 3 * FIELDS_PIECE] {
        let payload = || Payload { key: None, value: None, headers: vec![(&b"key"[..], Some(&b"value"[..])); count] };
        let world = world([(payload(), 0, 0, 0), (Payload::default(), 1, 1, 1), (payload(), 2, 2, 2)]);
        let steps = compare(&world, 0);
        assert!(steps > 2 * 2 * (count / FIELDS_PIECE), "{count}: {steps}");
    }
}

/// Small enough for Miri, which refuses a read by an address that was taken before the last write.
#[test]
fn what_one_step_wrote_is_read_after_others_wrote_to_its_chunk() {
    let small = || Payload { key: Some(b"key"), value: Some(b"value"), ..Payload::default() };
    let large = || Payload { headers: vec![(&b"h"[..], Some(&b"v"[..])); FEW_HEADERS + 1], ..small() };
    let all = world([small(), large(), small(), small(), large(), small()].map(|payload| (payload, 0, 0, 0)));
    assert!(compare(&all, 0) > 4, "several steps");
}

#[test]
fn memory_is_bounded_by_the_limit() {
    let value = vec![7; 1000];
    let world = world((0..100).map(|i| (Payload { key: None, value: Some(&value), headers: vec![] }, i, 0, 0)));
    let mut encoded = Vec::new();
    world.payloads[0].put(&mut encoded);
    let all = 100 * encoded.len();
    let mut reader = Records::default();
    begin(&mut reader, &world.records, 0, all).unwrap();
    let refused = refusal(&world.records, all - 1);
    assert_eq!(refused.kind, Kind::TooLarge);
    assert!(refused.message.starts_with("record 99 takes 1004 bytes"), "{refused}");
    begin(&mut reader, &world.records, 99, encoded.len()).unwrap();
}

#[test]
fn what_cannot_be_is_refused_with_its_index() {
    let null = core::ptr::null();
    let fine = world([(Payload::default(), 0, 0, 0)]).records[0];
    let header_key = |key| wasm_header { key, value: field(None) };
    let headers = [header_key(field(Some(b"k"))), header_key(field(None))];
    let negative = [header_key(wasm_field { data: null, size: -9 })];
    let unreadable = [wasm_header { key: field(Some(b"")), value: wasm_field { data: null, size: 4 } }];
    let with = |change: &dyn Fn(&mut wasm_payload)| {
        let mut record = fine;
        change(&mut record.payload);
        record
    };
    let far = core::ptr::without_provenance::<wasm_header>(8);
    let cases = [
        (with(&|p| p.key = wasm_field { data: null, size: 3 }), "its key is NULL but its size is 3"),
        (with(&|p| p.value = wasm_field { data: null, size: 1 << 40 }), "its value is NULL but its size"),
        (with(&|p| p.value.size = -2), "its value has size -2"),
        (with(&|p| p.key.size = i64::MIN), "its key has size -9223372036854775808"),
        (with(&|p| (p.headers, p.header_count) = (null.cast(), 1)), "1 headers at 0x0 cannot be in memory"),
        (with(&|p| (p.headers, p.header_count) = (far, usize::MAX / 8)), "headers at 0x8 cannot be in memory"),
        (with(&|p| (p.headers, p.header_count) = (far.wrapping_byte_add(1), 1)), "1 headers at 0x9 cannot be"),
        (with(&|p| (p.headers, p.header_count) = (headers.as_ptr(), 2)), "the key of header 1 must not be null"),
        (with(&|p| (p.headers, p.header_count) = (negative.as_ptr(), 1)), "the key of header 0 has size -9"),
        (with(&|p| (p.headers, p.header_count) = (unreadable.as_ptr(), 1)), "the value of header 0 is NULL"),
    ];
    for (bad, wanted) in cases {
        let mut records = vec![fine; 5];
        records[3] = bad;
        let refused = refusal(&records, LIMIT);
        assert_eq!(refused.kind, Kind::Record, "{refused}");
        assert!(refused.message.starts_with("record 3 is invalid: "), "{refused}");
        assert!(refused.message.contains(wanted), "{refused}, not {wanted}");
        // Those before the first one are not looked at.
        begin(&mut Records::default(), &records, 4, LIMIT).unwrap();
    }
    // So many that they are looked at in steps, and more than there can be, which are not looked at.
    let some = vec![header_key(field(Some(b"k"))); FEW_HEADERS + 1];
    let mut many = some.clone();
    many[FEW_HEADERS].key = field(None);
    let record = with(&|p| (p.headers, p.header_count) = (many.as_ptr(), many.len()));
    let refused = refusal(&[fine, record], LIMIT);
    assert_eq!((refused.kind, refused.message.contains("the key of header 64 must not be null")), (Kind::Record, true));
    // What follows is not where it says.
    if cfg!(miri) {
        return;
    }
    let record = with(&|p| (p.headers, p.header_count) = (some.as_ptr(), 1 << 40));
    assert_eq!(refusal(&[fine, record], LIMIT).kind, Kind::TooLarge);
    let record = with(&|p| (p.key.data, p.key.size) = (some.as_ptr().cast(), i64::MAX));
    assert_eq!(refusal(&[fine, record], LIMIT).kind, Kind::TooLarge);
    let both = |p: &mut wasm_payload| {
        (p.key.data, p.key.size) = (some.as_ptr().cast(), i64::MAX);
        (p.value.data, p.value.size) = (some.as_ptr().cast(), i64::MAX);
    };
    assert_eq!(refusal(&[with(&both)], LIMIT).kind, Kind::TooLarge);
}
