//! Output records taken apart for sinks that want them so.
#![allow(unsafe_code)]

use super::sink::wasm_output_record;
use crate::base::error::{Error, Result};
use crate::batch::fallible;
use crate::batch::input::{wasm_field, wasm_header, wasm_payload};
use crate::batch::payload::Parts;
use core::cell::Cell;

/// Records for which a thread keeps memory, and as many headers: 0.5 MiB.
const MOST_KEPT: usize = 4096;

thread_local! {
    static SPARE: Cell<Option<Box<ParsedBlock>>> = const { Cell::new(None) };
}

/// Frees the memory that this thread keeps.
pub fn release_kept() {
    let _ = SPARE.try_with(Cell::take);
}

/// One output record taken apart.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct wasm_parsed_record {
    /// Key, value and headers. They point into the payload of `record`.
    pub payload: wasm_payload,
    /// The record as the callback `records` would get it.
    pub record: wasm_output_record,
}

/// A block of output taken apart. The host may read it while it waits for a promise. So it stays in place until the
/// next block comes or the sink is dropped.
#[derive(Debug, Default)]
pub struct ParsedBlock {
    records: Vec<wasm_parsed_record>,
    headers: Vec<wasm_header>,
}

impl ParsedBlock {
    /// An empty one.
    pub fn take() -> Box<Self> {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Takes the records apart. Nothing is allocated once the thread has had a block like this.
    pub fn parse(&mut self, records: &[wasm_output_record]) -> Result<&[wasm_parsed_record]> {
        self.records.clear();
        self.headers.clear();
        fallible::reserve(&mut self.records, records.len()).map_err(|_| refused())?;
        for record in records {
            // SAFETY: the library filled the block. Its payloads live as long as the block.
            let payload = unsafe { core::slice::from_raw_parts(record.payload, record.payload_size as usize) };
            let malformed = || Error::invalid("an output record is not key, value and headers");
            let parts = Parts::checked(payload).ok_or_else(malformed)?;
            let before = self.headers.len();
            let header_count = parts.headers.left();
            if header_count > 0 {
                fallible::reserve(&mut self.headers, header_count).map_err(|_| refused())?;
                let parsed = parts
                    .headers
                    .map(|(key, value)| wasm_header { key: wasm_field::of(Some(key)), value: wasm_field::of(value) });
                self.headers.extend(parsed);
            }
            if self.headers.len() - before != header_count {
                return Err(malformed());
            }
            // Where the headers are is known when all have come.
            let headers = core::ptr::null();
            let (key, value) = (wasm_field::of(parts.key), wasm_field::of(parts.value));
            let payload = wasm_payload { key, value, headers, header_count };
            self.records.push(wasm_parsed_record { payload, record: *record });
        }
        if !self.headers.is_empty() {
            let mut rest = &self.headers[..];
            for record in &mut self.records {
                let (own, others) = rest.split_at(record.payload.header_count);
                (record.payload.headers, rest) = (own.as_ptr(), others);
            }
        }
        Ok(&self.records)
    }

    /// Keeps the memory for the thread's next sink.
    pub fn give_back(mut self: Box<Self>) {
        if self.records.capacity() <= MOST_KEPT && self.headers.capacity() <= MOST_KEPT {
            self.records.clear();
            self.headers.clear();
            let _ = SPARE.try_with(|spare| spare.set(Some(self)));
        }
    }
}

#[cold]
fn refused() -> Error {
    let mut error = Error::out_of_memory();
    error.message = "the allocator refused memory to take output records apart; try again later".into();
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::payload::Payload;

    fn raw(payload: &[u8]) -> wasm_output_record {
        wasm_output_record {
            payload: payload.as_ptr(),
            payload_size: payload.len() as u32,
            topic: 3,
            input_offset: -7,
            input_timestamp: 9,
            input_index: 1,
            ordinal: 2,
        }
    }

    fn bytes(field: wasm_field) -> Option<Vec<u8>> {
        // SAFETY: fields of a block that lives.
        (field.size >= 0).then(|| unsafe { core::slice::from_raw_parts(field.data, field.size as usize) }.to_vec())
    }

    #[test]
    fn fields_and_headers_are_those_that_were_encoded() {
        let many: Vec<_> = (0..300).map(|_| (&b"k"[..], None)).collect();
        let payloads = [
            Payload { key: None, value: Some(b"v"), headers: vec![] },
            Payload { key: Some(b""), value: None, headers: vec![(b"a", Some(b"b")), (b"", None)] },
            Payload { key: Some(b"key"), value: Some(b""), headers: many },
        ];
        let encoded: Vec<_> = payloads
            .iter()
            .map(|payload| {
                let mut out = Vec::new();
                payload.put(&mut out);
                out
            })
            .collect();
        let records: Vec<_> = encoded.iter().map(|payload| raw(payload)).collect();
        let mut block = ParsedBlock::take();
        for _ in 0..2 {
            for (parsed, payload) in block.parse(&records).unwrap().iter().zip(&payloads) {
                assert_eq!(bytes(parsed.payload.key).as_deref(), payload.key);
                assert_eq!(bytes(parsed.payload.value).as_deref(), payload.value);
                assert_eq!(parsed.payload.header_count, payload.headers.len());
                assert_eq!((parsed.record.topic, parsed.record.input_offset), (3, -7));
                for (i, (key, value)) in payload.headers.iter().enumerate() {
                    // SAFETY: `i` is below the count.
                    let header = unsafe { *parsed.payload.headers.add(i) };
                    assert_eq!((bytes(header.key).as_deref(), bytes(header.value).as_deref()), (Some(*key), *value));
                }
            }
        }
        block.give_back();
        assert!(SPARE.take().is_some_and(|spare| spare.headers.capacity() >= 302), "memory is kept");
        assert!(ParsedBlock::take().parse(&[raw(&[0, 0, 2])]).is_err());
    }
}
