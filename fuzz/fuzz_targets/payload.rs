//! A record's payload from any bytes: all ways to check and read it agree, and what is read can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_engine_fuzz::batch::input::{LentRecords, wasm_field, wasm_header, wasm_payload, wasm_record};
use wasm_engine_fuzz::batch::payload::{Parts, Payload, Validity, is_valid, malformed_part, validity};
use wasm_engine_fuzz::batch::reader::Records;

fuzz_target!(|bytes: &[u8]| {
    let valid = is_valid(bytes);
    match validity(bytes) {
        Validity::Valid => assert!(valid),
        Validity::Invalid => assert!(!valid),
        Validity::Unknown(mut check) => {
            let answer = loop {
                if let Some(answer) = check.step(bytes) {
                    break answer;
                }
            };
            assert_eq!(answer, valid);
        }
    }
    let parsed = Payload::parse(bytes);
    assert_eq!(parsed.is_some(), valid);
    let Some(payload) = parsed else {
        assert!(!malformed_part(bytes).is_empty());
        // Headers that were not checked end early and never lie outside.
        if let Some(parts) = Parts::checked(bytes) {
            let most = parts.headers.left();
            assert!(parts.headers.count() <= most);
        }
        return;
    };
    let mut written = Vec::new();
    payload.put(&mut written);
    assert!(written.len() <= payload.encoded_size());
    assert!(written.len() <= bytes.len(), "varints may be padded, so that it only becomes shorter");
    assert!(is_valid(&written));
    assert_eq!(Payload::parse(&written).as_ref(), Some(&payload));
    lent(&payload, &written);
});

/// The same payload from the fields of a record that has no batch.
fn lent(payload: &Payload<'_>, written: &[u8]) {
    let headers: Vec<_> = payload
        .headers
        .iter()
        .map(|(key, value)| wasm_header { key: wasm_field::of(Some(key)), value: wasm_field::of(*value) })
        .collect();
    let fields = wasm_payload {
        key: wasm_field::of(payload.key),
        value: wasm_field::of(payload.value),
        headers: headers.as_ptr(),
        header_count: headers.len(),
    };
    let records = [
        wasm_record { payload: fields, offset: 5, timestamp: -1, attributes: 0 },
        wasm_record { payload: fields, offset: 6, timestamp: 1, attributes: 0 },
    ];
    // SAFETY: the fields and the headers outlive the records.
    let lent = unsafe { LentRecords::new(&records) };
    let mut reader = Records::default();
    reader.begin_records(lent, 0, 64 << 20).expect("there is room");
    while !reader.check().expect("the records are valid") {}
    for record in &records {
        let read = reader.peek().expect("there are two");
        assert_eq!((read.payload, read.offset, read.timestamp), (written, record.offset, record.timestamp));
        reader.advance();
    }
    assert!(reader.peek().is_none());
    assert_eq!(reader.largest_payload, written.len());
}
