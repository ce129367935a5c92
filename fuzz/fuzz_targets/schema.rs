//! Schemas as guests encode them: any bytes are read within a budget, and what is read can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use wasm_engine_fuzz::budget;
use wasm_engine_fuzz::host::schema::{Schema, Unread};

fuzz_target!(|bytes: &[u8]| {
    // A reference takes three bytes at least and has 56 in memory.
    let most = 1024 + 32 * bytes.len();
    match budget::within(most, Duration::from_millis(10), || Schema::parse(bytes)) {
        Ok(schema) => {
            let encoded = schema.encoded().expect("there is memory");
            assert!(encoded.len() <= bytes.len(), "varints may be padded, so that it only becomes shorter");
            assert_eq!(Schema::parse(&encoded).as_ref(), Ok(&schema));
            let longer = [&encoded[..], &[0]].concat();
            assert_eq!(Schema::parse(&longer), Err(Unread::Malformed));
        }
        Err(unread) => assert_eq!(unread, Unread::Malformed, "no memory was refused"),
    }
});
