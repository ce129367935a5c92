//! Output records taken apart for sinks that want them so.
#![allow(unsafe_code)]

use super::sink::wasm_output_record;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::batch::fallible;
use crate::batch::input::{wasm_field, wasm_header, wasm_payload};
use crate::batch::payload::{Headers, Parts};
use core::cell::Cell;

/// Records for which a thread keeps memory, and as many headers: 0.5 MiB.
const MOST_KEPT: usize = 4096;

/// Headers that a step takes apart: some twenty microseconds.
const HEADERS_PIECE: usize = 2048;

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
    stage: Stage,
}

/// How far a block is taken apart.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// Nothing is.
    #[default]
    New,
    /// Keys and values are. Headers come next.
    Headers(Place),
    /// All of it is.
    Whole,
}

/// The header that comes next.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Index of its record.
    record: usize,
    /// Headers of that record that are taken apart.
    headers: usize,
    /// Where the next one is in the payload if that is not the first one.
    at: usize,
}

impl ParsedBlock {
    /// An empty one.
    pub fn take() -> Box<Self> {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Takes some of a block apart: all keys and values, of which a block has few enough for a step, and then headers
    /// piece by piece. True when all is done. The same records must come until then. Nothing is allocated once the
    /// thread has had a block like this.
    pub fn step(&mut self, records: &[wasm_output_record]) -> Result<bool> {
        let place = match self.stage {
            Stage::Whole => return Ok(true),
            Stage::Headers(place) => place,
            Stage::New => {
                let headers = self.take_fields(records)?;
                fallible::reserve_exact(&mut self.headers, headers).map_err(|_| refused())?;
                Place::default()
            }
        };
        self.stage = match self.take_headers(records, place)? {
            None => Stage::Whole,
            Some(place) => Stage::Headers(place),
        };
        Ok(matches!(self.stage, Stage::Whole))
    }

    /// Takes keys and values apart. Returns how many headers there are.
    fn take_fields(&mut self, records: &[wasm_output_record]) -> Result<usize> {
        self.records.clear();
        self.headers.clear();
        fallible::reserve(&mut self.records, records.len()).map_err(|_| refused())?;
        let mut sum = 0;
        for record in records {
            let parts = Parts::checked(payload(record)).ok_or_else(malformed)?;
            let (key, value) = (wasm_field::of(parts.key), wasm_field::of(parts.value));
            let header_count = parts.headers.left();
            sum += header_count;
            // Where the headers are is known when they come.
            let payload = wasm_payload { key, value, headers: core::ptr::null(), header_count };
            self.records.push(wasm_parsed_record { payload, record: *record });
        }
        Ok(sum)
    }

    /// Takes the next headers apart, for which there is room. Returns where the others are.
    fn take_headers(&mut self, records: &[wasm_output_record], mut place: Place) -> Result<Option<Place>> {
        let mut budget = HEADERS_PIECE;
        while let (Some(record), Some(parsed)) = (records.get(place.record), self.records.get_mut(place.record)) {
            let left = parsed.payload.header_count - place.headers;
            if left > 0 {
                let bytes = payload(record);
                let mut headers = match place.headers {
                    0 => {
                        parsed.payload.headers = self.headers.as_ptr().wrapping_add(self.headers.len());
                        Parts::checked(bytes).ok_or_else(malformed)?.headers
                    }
                    _ => Headers::at(bytes, place.at, left),
                };
                let before = self.headers.len();
                let count = left.min(budget).min(self.headers.capacity() - before);
                self.headers.extend(
                    headers.by_ref().take(count).map(|(key, value)| wasm_header {
                        key: wasm_field::of(Some(key)),
                        value: wasm_field::of(value),
                    }),
                );
                if self.headers.len() - before != count || count == 0 {
                    return Err(malformed());
                }
                budget -= count;
                place = Place { headers: place.headers + count, at: headers.position(bytes), ..place };
                if count < left {
                    return Ok(Some(place));
                }
            }
            place = Place { record: place.record + 1, ..Place::default() };
            if budget == 0 {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// The records once they are taken apart.
    pub fn records(&self) -> &[wasm_parsed_record] {
        match self.stage {
            Stage::Whole => &self.records,
            _ => &[],
        }
    }

    /// The host does not read it any more. None if it has more memory than is kept.
    pub fn reuse(mut self: Box<Self>) -> Option<Box<Self>> {
        if self.records.capacity() > MOST_KEPT || self.headers.capacity() > MOST_KEPT {
            return None;
        }
        self.stage = Stage::New;
        Some(self)
    }

    /// Keeps the memory for the thread's next sink.
    pub fn give_back(self: Box<Self>) {
        if let Some(block) = self.reuse() {
            let _ = SPARE.try_with(|spare| spare.set(Some(block)));
        }
    }
}

fn payload(record: &wasm_output_record) -> &[u8] {
    // SAFETY: the library filled the block. Its payloads live as long as the block.
    unsafe { core::slice::from_raw_parts(record.payload, record.payload_size as usize) }
}

#[cold]
fn malformed() -> Error {
    // The library filled it. No status that says that the call had no effect: the operation ends.
    Error::new(Status::Internal, "an output record is not key, value and headers")
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
        let encoded = encoded(&payloads);
        let records: Vec<_> = encoded.iter().map(|payload| raw(payload)).collect();
        let mut block = ParsedBlock::take();
        for _ in 0..2 {
            assert!(block.step(&records).unwrap(), "few headers take one step");
            for (parsed, payload) in block.records().iter().zip(&payloads) {
                assert_same(parsed, payload);
                assert_eq!((parsed.record.topic, parsed.record.input_offset), (3, -7));
            }
            block = block.reuse().unwrap();
        }
        block.give_back();
        assert!(SPARE.take().is_some_and(|spare| spare.headers.capacity() >= 302), "memory is kept");
        assert!(ParsedBlock::take().step(&[raw(&[0, 0, 2])]).is_err());
    }

    fn encoded(payloads: &[Payload<'_>]) -> Vec<Vec<u8>> {
        let encode = |payload: &Payload<'_>| {
            let mut out = Vec::new();
            payload.put(&mut out);
            out
        };
        payloads.iter().map(encode).collect()
    }

    fn assert_same(parsed: &wasm_parsed_record, payload: &Payload<'_>) {
        assert_eq!(bytes(parsed.payload.key).as_deref(), payload.key);
        assert_eq!(bytes(parsed.payload.value).as_deref(), payload.value);
        assert_eq!(parsed.payload.header_count, payload.headers.len());
        for (i, (key, value)) in payload.headers.iter().enumerate() {
            // SAFETY: `i` is below the count.
            let header = unsafe { *parsed.payload.headers.add(i) };
            assert_eq!((bytes(header.key).as_deref(), bytes(header.value).as_deref()), (Some(*key), *value));
        }
    }

    #[test]
    fn many_headers_take_steps_and_their_memory_is_not_kept() {
        let with = |count: usize| Payload {
            key: Some(b"k"),
            value: None,
            headers: (0..count)
                .map(|i| if i % 3 == 0 { (&b"a"[..], None) } else { (&b""[..], Some(&b"xy"[..])) })
                .collect(),
        };
        // A step ends within records, between them, and with the last one.
        for counts in [
            vec![HEADERS_PIECE],
            vec![HEADERS_PIECE + 1],
            vec![0, 3 * HEADERS_PIECE, 0],
            vec![1, HEADERS_PIECE - 1, 1, 0, 2 * HEADERS_PIECE, 5, HEADERS_PIECE - 5],
            vec![3; 1500],
        ] {
            let payloads: Vec<_> = counts.iter().map(|&count| with(count)).collect();
            let encoded = encoded(&payloads);
            let records: Vec<_> = encoded.iter().map(|payload| raw(payload)).collect();
            let mut block = Box::<ParsedBlock>::default();
            let sum: usize = counts.iter().sum();
            let mut steps = 1;
            while !block.step(&records).unwrap() {
                assert!(block.records().is_empty(), "nobody reads a half of it");
                assert!(block.headers.len() <= steps * HEADERS_PIECE);
                steps += 1;
            }
            assert!(steps >= sum.div_ceil(HEADERS_PIECE) && steps <= sum / HEADERS_PIECE + 1, "{steps} for {sum}");
            assert_eq!(block.headers.capacity(), sum, "no more than there are");
            assert_eq!(block.records().len(), payloads.len());
            for (parsed, payload) in block.records().iter().zip(&payloads) {
                assert_same(parsed, payload);
            }
            assert_eq!(block.reuse().is_some(), sum <= MOST_KEPT);
        }
    }
}
