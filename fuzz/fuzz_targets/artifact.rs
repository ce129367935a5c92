//! Artifacts of compiled code: any head whose checksum is right is read within a budget. Everything in it is then used
//! as the library does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use wasm_engine_fuzz::budget;
use wasm_engine_fuzz::module::artifact::{Artifact, Defect, FORMAT, MAGIC};
use wasm_engine_fuzz::module::inspect::Summary;

/// Bytes before the head.
const FIXED: usize = 56;

fuzz_target!(|bytes: &[u8]| {
    let _ = Artifact::read(bytes.to_vec());
    let Some((size, rest)) = bytes.split_first_chunk::<2>() else { return };
    let artifact = sealed(u16::from_le_bytes(*size), rest);
    let most = (1 << 16) + 64 * artifact.len();
    let read = budget::within(most, Duration::from_millis(20), || Artifact::read(artifact.clone()));
    let read = match read {
        Ok(read) => read,
        Err(defect) => {
            assert!(matches!(defect, Defect::Damaged(_)), "magic, format and checksum are right: {defect:?}");
            return;
        }
    };
    let written = Artifact::write(&read.head, read.code());
    let again = Artifact::read(written).expect("what is written can be read");
    assert_eq!((&again.head, again.code()), (&read.head, read.code()));
    for number in [0, 1, 7, u32::MAX - 1, u32::MAX] {
        let _ = read.head.wrappers.origin(number);
        for offset in [0, 1, 1000, u32::MAX] {
            let _ = read.head.lines.find(number, offset);
        }
    }
    let (summary, _) = Summary::read(&read.head.outline);
    let _ = summary.to_json();
});

/// An artifact of these bytes: head and code. The size of the head is as given.
fn sealed(head: u16, rest: &[u8]) -> Vec<u8> {
    let size = FIXED + rest.len();
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&u32::from(head).to_le_bytes());
    bytes.extend_from_slice(&(size as u64).to_le_bytes());
    let sum = Sha256::new().chain_update(&bytes).chain_update(rest).finalize();
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(rest);
    bytes
}
