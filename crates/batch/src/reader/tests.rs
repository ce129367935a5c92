use super::*;
use crate::builder::Builder;
use crate::chunk;
use crate::compression::wasm_compression;
use crate::entries::{MOST_SEGMENTS, PER_SEGMENT};
use crate::error::{Error, Kind, Result};
use crate::payload::Payload;

const LIMIT: usize = 64 << 20;
const CODECS: [wasm_compression; 5] = [
    wasm_compression::None,
    wasm_compression::Gzip,
    wasm_compression::Snappy,
    wasm_compression::Lz4,
    wasm_compression::Zstd,
];

/// A batch of records with these values. Offsets have gaps and times rise and fall.
fn packed(values: &[Vec<u8>], codec: wasm_compression, append_time: Option<i64>) -> Vec<u8> {
    let mut builder = Builder::new(codec, 1_000_000, append_time);
    for (i, value) in values.iter().enumerate() {
        let mut payload = Vec::new();
        Payload { value: Some(value), ..Payload::default() }.put(&mut payload);
        builder.add(Some(1_000_000 + 3 * i as i64), 50_000 + (i as i64 * 7919) % 1_000, &payload).unwrap();
    }
    builder.finish().unwrap().to_vec()
}

/// A batch of records whose values are their indices.
fn batch(count: usize, codec: wasm_compression, append_time: Option<i64>) -> Vec<u8> {
    let values: Vec<_> = (0..count).map(|i| i.to_string().into_bytes()).collect();
    packed(&values, codec, append_time)
}

/// Checks a batch. Returns the number of steps.
fn check<'a>(records: &mut Records<'a>, bytes: &'a [u8], first: u32, limit: usize, crc: bool) -> Result<usize> {
    records.begin(bytes, first, limit, crc)?;
    let mut steps = 1;
    while !records.check()? {
        steps += 1;
    }
    Ok(steps)
}

/// Value, offset and time of the remaining records.
fn read(records: &mut Records<'_>) -> Vec<(Vec<u8>, i64, i64)> {
    let mut all = Vec::new();
    while let Some(record) = records.peek() {
        let value = Payload::parse(record.payload).unwrap().value.unwrap().to_vec();
        all.push((value.clone(), record.offset, record.timestamp));
        records.advance();
        let latest = records.latest().unwrap();
        assert_eq!(Payload::parse(latest.payload).unwrap().value.unwrap(), value);
    }
    assert_eq!(records.peek(), None, "the end is final");
    all
}

fn expected(values: &[Vec<u8>], append_time: Option<i64>) -> Vec<(Vec<u8>, i64, i64)> {
    let time = |i: usize| append_time.unwrap_or(50_000 + (i as i64 * 7919) % 1_000);
    values.iter().enumerate().map(|(i, value)| (value.clone(), 1_000_000 + 3 * i as i64, time(i))).collect()
}

#[test]
fn all_records_are_read_whatever_the_batch_size() {
    for codec in CODECS {
        for append_time in [None, Some(77)] {
            for count in [1, PER_SEGMENT - 1, PER_SEGMENT, PER_SEGMENT + 1, 2 * PER_SEGMENT, 20 * PER_SEGMENT + 5] {
                let values: Vec<_> = (0..count).map(|i| i.to_string().into_bytes()).collect();
                let bytes = packed(&values, codec, append_time);
                let expected = expected(&values, append_time);
                for first in [0, 1, count / 2, count - 1] {
                    let mut records = Records::default();
                    check(&mut records, &bytes, first as u32, LIMIT, true).unwrap();
                    assert_eq!(read(&mut records), expected[first..]);
                }
            }
        }
    }
}

/// Small enough for Miri, which has no Zstandard.
#[test]
fn a_few_records_are_read_from_each_codec() {
    let values: Vec<_> = (0..5).map(|i| vec![b'a' + i; 20]).collect();
    for codec in CODECS.into_iter().filter(|&codec| !cfg!(miri) || codec != wasm_compression::Zstd) {
        let bytes = packed(&values, codec, None);
        let mut records = Records::default();
        check(&mut records, &bytes, 0, LIMIT, true).unwrap();
        assert_eq!(read(&mut records), expected(&values, None));
    }
}

#[test]
fn records_of_all_sizes_are_whole_in_memory() {
    let sizes = [0, 1, 70, 8_000, 40_000, chunk::SIZE - 20, chunk::SIZE, 3 * chunk::SIZE + 7, 5_000_000, 3, 100_000, 9];
    for codec in CODECS {
        for turned in 0..sizes.len() {
            let mut sizes = sizes;
            sizes.rotate_left(turned);
            let values: Vec<_> = sizes.iter().enumerate().map(|(i, &n)| vec![i as u8 | (n as u8) << 4; n]).collect();
            let bytes = packed(&values, codec, None);
            let mut records = Records::default();
            for first in [0, 5] {
                check(&mut records, &bytes, first, LIMIT, true).unwrap();
                assert!(read(&mut records) == expected(&values, None)[first as usize..], "{codec:?}");
                let wanted = values.iter().map(Vec::len).max().unwrap();
                assert!((wanted..wanted + 20).contains(&records.largest_payload));
            }
        }
    }
}

/// The bytes behind the last record would be taken for more records.
#[test]
fn a_first_record_behind_the_last_one_leaves_none_to_be_read() {
    for codec in CODECS {
        let batch = batch(4, codec, None);
        for first in [3, 4, 5, 241, i32::MAX as u32, 1 << 31, u32::MAX] {
            let mut records = Records::default();
            check(&mut records, &batch, first, LIMIT, true).unwrap();
            assert_eq!(read(&mut records).len(), 4_usize.saturating_sub(first as usize), "{codec:?}, {first}");
        }
    }
}

#[test]
fn a_small_batch_is_checked_in_one_step_and_a_large_one_in_many() {
    let steps = |bytes: &[u8]| check(&mut Records::default(), bytes, 0, LIMIT, true).unwrap();
    assert_eq!(steps(&batch(1, wasm_compression::None, None)), 1);
    assert_eq!(steps(&batch(1_000, wasm_compression::None, None)), 1);
    let large = batch(100_000, wasm_compression::None, None);
    assert!(steps(&large) >= 100_000 / PER_SEGMENT + large.len() / (256 << 10), "CRC and records are divided");
    let one = packed(&[vec![0; 8 << 20]], wasm_compression::None, None);
    assert!(steps(&one) >= 8 << 20 >> 18, "so is the CRC of one record");
    for codec in &CODECS[1..] {
        let compressed = packed(&[vec![0; 8 << 20]], *codec, None);
        assert!(steps(&compressed) >= 8 << 20 >> 16, "{codec:?}: decompression is divided");
    }
    let mut payload = vec![1, 1];
    crate::varint::put(&mut payload, 1_000_000);
    payload.resize(payload.len() + 2_000_000, 0);
    let mut builder = Builder::new(wasm_compression::None, 0, None);
    builder.add(None, 0, &payload).unwrap();
    let headers = builder.finish().unwrap();
    assert!(steps(headers) > 300, "the headers of one record are divided");
}

#[test]
fn a_large_record_takes_steps_by_its_size() {
    let steps = |size: usize, codec| {
        let bytes = packed(&[vec![7; size]], codec, None);
        check(&mut Records::default(), &bytes, 0, LIMIT, true).unwrap()
    };
    for codec in &CODECS[1..] {
        let (small, large) = (steps(2 << 20, *codec), steps(16 << 20, *codec));
        assert!(large <= 10 * small, "{codec:?}: {small} and {large}");
    }
}

#[test]
fn a_batch_leaves_no_records_to_the_next() {
    let large = batch(PER_SEGMENT + 10, wasm_compression::None, None);
    let compressed = batch(20_000, wasm_compression::Gzip, None);
    let small = batch(2, wasm_compression::None, Some(5));
    let mut broken = batch(PER_SEGMENT + 20, wasm_compression::None, None);
    *broken.last_mut().unwrap() = 9;
    let mut broken_first_record = small.clone();
    broken_first_record[SIZE] = 1;
    let mut records = Records::default();
    for (bytes, expected) in [
        (&large, PER_SEGMENT + 10),
        (&broken, 0),
        (&small, 2),
        (&broken_first_record, 0),
        (&compressed, 20_000),
        (&broken, 0),
        (&small, 2),
        (&compressed, 20_000),
        (&large, PER_SEGMENT + 10),
    ] {
        match check(&mut records, bytes, 0, LIMIT, false) {
            Ok(_) => assert_eq!(read(&mut records).len(), expected),
            Err(_) => assert_eq!(expected, 0),
        }
        for _ in 0..2 {
            assert_eq!(records.peek(), None, "no records are left after a batch was read or refused");
            records.end();
        }
    }
    records.begin(&compressed, 0, LIMIT, true).unwrap();
    assert!(!records.check().unwrap());
    records.end();
    assert_eq!(records.peek(), None, "nor after a check that was given up");
    while !records.free_some() {}
    assert_eq!(records.regions.count(), 0);
}

#[test]
fn the_memory_of_a_large_batch_is_given_back_in_steps() {
    let bytes = packed(&[vec![0; 40_000_000], vec![1; 10]], wasm_compression::Zstd, None);
    let many = packed(&vec![vec![0; 1000]; 20_000], wasm_compression::Zstd, None);
    let mut records = Records::default();
    for bytes in [&bytes, &many] {
        check(&mut records, bytes, 0, LIMIT, true).unwrap();
        let regions = records.regions.count();
        records.end();
        assert_eq!(records.peek(), None);
        let mut steps = 1;
        while !records.free_some() {
            steps += 1;
        }
        assert!(steps >= regions / FREED_AT_ONCE, "{steps} steps for {regions} regions");
        assert!(records.free_some());
    }
    // A batch that follows at once frees it too.
    check(&mut records, &many, 0, LIMIT, true).unwrap();
    records.end();
    let small = batch(3, wasm_compression::None, None);
    check(&mut records, &small, 0, LIMIT, true).unwrap();
    assert_eq!(read(&mut records).len(), 3);
}

#[test]
fn a_batch_changed_while_it_is_read_gives_wrong_records_only() {
    let remembered = MOST_SEGMENTS * PER_SEGMENT;
    let bytes = batch(remembered + 10, wasm_compression::None, None);
    let mut other = bytes.clone();
    other[SIZE..].fill(0xFF);
    let mut records = Records::default();
    check(&mut records, &bytes, 0, LIMIT, true).unwrap();
    // As if the host had written to the batch after the check.
    records.batch = &other;
    assert_eq!(read(&mut records).len(), remembered, "what was remembered is not looked for again");
}

#[test]
fn records_behind_those_that_are_remembered_are_found_again() {
    for codec in CODECS {
        for more in [0, 1, PER_SEGMENT, 2 * PER_SEGMENT + 5] {
            let count = MOST_SEGMENTS * PER_SEGMENT + more;
            let values: Vec<_> = (0..count).map(|i| i.to_string().into_bytes()).collect();
            let bytes = packed(&values, codec, None);
            let expected = expected(&values, None);
            for first in [0, 3, count - 2] {
                let mut records = Records::default();
                check(&mut records, &bytes, first as u32, LIMIT, true).unwrap();
                assert_eq!(records.left, more.saturating_sub(first));
                assert!(read(&mut records) == expected[first..], "{codec:?}, {more} more, from {first}");
            }
        }
    }
}

#[test]
fn a_thread_keeps_the_entries_of_one_batch() {
    crate::release_kept();
    let bytes = batch(3 * PER_SEGMENT, wasm_compression::None, None);
    let mut several: Vec<_> = (0..50).map(|_| Records::default()).collect();
    for records in &mut several {
        check(records, &bytes, 0, LIMIT, true).unwrap();
    }
    for records in &mut several {
        assert_eq!(read(records).len(), 3 * PER_SEGMENT);
        records.end();
        records.entries.trim();
        assert!(records.entries.is_empty(), "an engine without a batch has none");
    }
    assert_eq!(crate::entries::kept(), MOST_SEGMENTS);
    crate::release_kept();
    assert_eq!(crate::entries::kept(), 0);
}

/// The same records, compressed with another codec.
fn recompressed(batch: &[u8], codec: wasm_compression) -> Vec<u8> {
    let mut header = wasm_batch_header::parse(batch).unwrap();
    header.attributes |= codec as i16;
    let mut out = vec![0; SIZE];
    crate::compression::compress(codec, &batch[SIZE..], &mut out).unwrap();
    header.seal(&mut out);
    out
}

#[test]
fn compressed_records_are_refused_as_others_are() {
    let good = batch(30_000, wasm_compression::None, None);
    let header = wasm_batch_header::parse(&good).unwrap();
    let mut cases = Vec::new();
    for at in [SIZE, SIZE + 1, SIZE + 6, good.len() / 2, good.len() - 1] {
        for byte in [1, 9, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] = byte;
            cases.push(bad);
        }
    }
    cases.push(good[..good.len() - 1].to_vec());
    cases.push([&good[..], &[0]].concat());
    cases.push(good[..SIZE].to_vec());
    // The last record says that it has a gigabyte.
    let mut claims = good.clone();
    claims.extend([0x80, 0x80, 0x80, 0x80, 0x08, 0, 0, 0]);
    cases.push(claims);
    for mut case in cases {
        let mut sealed = header;
        sealed.seal(&mut case);
        let refused = |bytes: &[u8]| check(&mut Records::default(), bytes, 0, LIMIT, true).map(drop);
        let wanted = refused(&case);
        for codec in &CODECS[1..] {
            let got = refused(&recompressed(&case, *codec));
            let kind = |result: &Result<()>| result.as_ref().err().map(|e| e.kind);
            // A record may be larger than a batch may become.
            if kind(&got) != Some(Kind::TooLarge) {
                assert_eq!(got, wanted, "{codec:?}");
            }
            assert_eq!(got.is_ok(), wanted.is_ok());
        }
    }
}

#[test]
fn a_record_that_claims_more_than_can_come_is_refused_before_its_memory_is_reserved() {
    let mut bytes = batch(1, wasm_compression::None, None);
    bytes.truncate(SIZE);
    crate::varint::put(&mut bytes, 2 << 30);
    bytes.extend([0; 70_000]);
    let mut header = wasm_batch_header::parse(&batch(1, wasm_compression::None, None)).unwrap();
    header.seal(&mut bytes);
    let compressed = recompressed(&bytes, wasm_compression::Zstd);
    let error: Error = check(&mut Records::default(), &compressed, 0, LIMIT, true).unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge);
}

#[test]
fn no_records_need_no_bytes() {
    for codec in CODECS {
        let mut header = wasm_batch_header::parse(&batch(1, codec, None)).unwrap();
        header.record_count = 0;
        let mut empty = vec![0; SIZE];
        header.seal(&mut empty);
        let mut records = Records::default();
        check(&mut records, &empty, 0, LIMIT, true).unwrap();
        assert_eq!(records.peek(), None);
        header.record_count = 1;
        header.seal(&mut empty);
        assert!(check(&mut Records::default(), &empty, 0, LIMIT, true).is_err());
    }
}
