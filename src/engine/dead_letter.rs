//! Dead letters: records at which a guest failed, with the error in headers.

use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::batch::cursor::Cursor;
use crate::batch::{fallible, varint};
use crate::guest::batch::Batch;
use crate::host::sink::{wasm_output_batch, wasm_output_record};

/// What a dead letter has beside the record's own headers: names and values.
type Details<'a> = [(&'static str, &'a [u8]); 5];

/// Characters of an error's message that a dead letter carries.
const LONGEST_MESSAGE: usize = 1024;

/// A record on its way to the dead letters.
///
/// The host may read it as long as this lives. It may also move meanwhile. So all of it is on the heap.
pub struct DeadLetter {
    /// The record as output, which points into `payload`.
    block: Vec<wasm_output_record>,
    /// The batch that it comes from.
    batch: Box<wasm_output_batch>,
    /// Key, value and headers.
    #[allow(dead_code)] // read through `block`
    payload: Vec<u8>,
}

impl DeadLetter {
    /// The current record of `batch`, at which a guest failed with `error`.
    pub fn new(transform: &Description, batch: &Batch, error: &Error) -> Result<Self> {
        let missing = || Error::new(Status::Internal, "the record that failed is not in its batch");
        let record = batch.current().ok_or_else(missing)?;
        let payload = with_details(record.payload, &transform.name, record.offset, error)?.ok_or_else(missing)?;
        let output = wasm_output_record {
            payload: payload.as_ptr(),
            payload_size: payload.len() as u32,
            topic: transform.output_topics.len() as u32,
            input_offset: record.offset,
            input_timestamp: record.timestamp,
            input_index: batch.position.index(),
            ordinal: batch.position.ordinal(),
        };
        let batch = Box::new(wasm_output_batch { batch: batch.index().unwrap_or(0), record_count: 1 });
        Ok(Self { block: vec![output], batch, payload })
    }

    /// What the host gets.
    pub fn block(&self) -> &[wasm_output_record] {
        &self.block
    }

    /// The batch of the block.
    pub fn batches(&self) -> &[wasm_output_batch] {
        core::slice::from_ref(&*self.batch)
    }
}

/// The payload with further headers. What is there is copied as it is. None if it is no payload.
fn with_details(payload: &[u8], transform: &str, offset: i64, error: &Error) -> Result<Option<Vec<u8>>> {
    let offset = offset.to_string();
    let message: String = error.message.chars().take(LONGEST_MESSAGE).collect();
    let stderr = error.guest.as_ref().map_or("", |guest| &guest.stderr);
    let all: Details<'_> = [
        ("wasm-transform", transform.as_bytes()),
        ("wasm-offset", offset.as_bytes()),
        ("wasm-error", error.status.name().to_bytes()),
        ("wasm-error-message", message.as_bytes()),
        ("wasm-stderr", stderr.as_bytes()),
    ];
    // A guest that wrote nothing has no such header.
    let added = if stderr.is_empty() { &all[..4] } else { &all[..] };
    let Some((front, count, headers)) = taken_apart(payload) else { return Ok(None) };
    // Varints of the count and of ten lengths.
    let names: usize = added.iter().map(|(name, value)| name.len() + value.len()).sum();
    let mut out = fallible::vec(payload.len() + names + 11 * 10)?;
    out.extend_from_slice(front);
    varint::put(&mut out, (count + added.len()) as i64);
    out.extend_from_slice(headers);
    for &(name, value) in added {
        for bytes in [name.as_bytes(), value] {
            varint::put(&mut out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
    Ok(Some(out))
}

/// Key and value, the number of headers, and the headers.
fn taken_apart(payload: &[u8]) -> Option<(&[u8], usize, &[u8])> {
    let mut cursor = Cursor::new(payload);
    for _ in 0..2 {
        let length = cursor.nullable()?.unwrap_or(0);
        cursor.skip(length)?;
    }
    let front = &payload[..payload.len() - cursor.left()];
    Some((front, cursor.length()?, cursor.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::GuestDetail;
    use crate::batch::payload::Payload;

    #[test]
    fn what_was_there_is_kept_and_the_error_follows_cut_between_characters() {
        let before =
            Payload { key: None, value: Some(b"v"), headers: vec![(b"h", None), (b"wasm-offset", Some(b"mine"))] };
        let mut payload = Vec::new();
        before.put(&mut payload);
        let error = Error::new(Status::GuestTrap, "\u{e9}".repeat(LONGEST_MESSAGE + 1));
        let letter = with_details(&payload, "t", -7, &error).unwrap().unwrap();
        let after = Payload::parse(&letter).unwrap();
        assert_eq!((after.key, after.value), (before.key, before.value));
        assert_eq!(after.headers[..2], before.headers);
        let message = "\u{e9}".repeat(LONGEST_MESSAGE);
        let added: [(&[u8], _); 4] = [
            (b"wasm-transform", Some(&b"t"[..])),
            (b"wasm-offset", Some(b"-7")),
            (b"wasm-error", Some(b"guest-trap")),
            (b"wasm-error-message", Some(message.as_bytes())),
        ];
        assert_eq!(after.headers[2..], added);

        let detail = GuestDetail { stderr: "boom".into(), ..GuestDetail::default() };
        let error = Error { guest: Some(Box::new(detail)), ..error };
        let letter = with_details(&payload, "t", -7, &error).unwrap().unwrap();
        let after = Payload::parse(&letter).unwrap();
        assert_eq!(after.headers[2..6], added);
        assert_eq!(after.headers[6..], [(&b"wasm-stderr"[..], Some(&b"boom"[..]))]);
    }
}
