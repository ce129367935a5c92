//! Dead letters: records on which a guest failed, with the story in headers.

use crate::base::error::{Error, RecordAt, Result};
use crate::base::status::wasm_status as Status;
use crate::batch::header;
use crate::batch::payload::Payload;
use crate::batch::reader::Records;
use crate::compile::factory::Compiled;
use crate::host::sink::wasm_output_record;

/// Characters of an error's message that a dead letter carries.
const LONGEST_STORY: usize = 1024;

/// A record on its way to the dead letters.
///
/// The host may read it for as long as this lives, also after it has moved, so all of it is on the heap.
pub struct Letter {
    /// The record as output, which points into `payload`.
    block: Vec<wasm_output_record>,
    /// Key, value and headers.
    #[allow(dead_code)] // it is read by way of `block`
    payload: Vec<u8>,
}

impl Letter {
    /// The record at `at`, of a batch that was transformed until `error`.
    pub fn new(compiled: &Compiled, batch: &[u8], at: RecordAt, error: &Error) -> Result<Self> {
        // The engine's own copy of the records went with the guest.
        let mut scratch = Vec::new();
        let mut records = Records::default();
        let decompressed = records.check(batch, compiled.shared.config.max_batch_size, false, &mut scratch)?;
        records.begin(if decompressed { &scratch } else { &batch[header::SIZE..] });
        records.skip(at.index);
        let missing = || Error::new(Status::Internal, "the record that failed is not in its batch");
        let record = records.peek().ok_or_else(missing)?;
        let transform = &compiled.transform;
        let payload = with_story(record.payload, &transform.name, at.offset, error).ok_or_else(missing)?;
        let output = wasm_output_record {
            payload: payload.as_ptr(),
            payload_size: payload.len() as u32,
            topic: transform.output_topics.len() as u32,
            input_offset: at.offset,
            input_timestamp: record.timestamp,
        };
        Ok(Self { block: vec![output], payload })
    }

    /// What the host gets.
    pub fn block(&self) -> &[wasm_output_record] {
        &self.block
    }
}

fn with_story(payload: &[u8], transform: &str, offset: i64, error: &Error) -> Option<Vec<u8>> {
    let offset = offset.to_string();
    let story: String = error.message.chars().take(LONGEST_STORY).collect();
    let mut letter = Payload::parse(payload)?;
    letter.headers.extend([
        (&b"wasm-transform"[..], Some(transform.as_bytes())),
        (b"wasm-offset", Some(offset.as_bytes())),
        (b"wasm-error", Some(error.status.name().to_bytes())),
        (b"wasm-error-message", Some(story.as_bytes())),
    ]);
    let mut out = Vec::with_capacity(payload.len() + transform.len() + story.len() + 256);
    letter.put(&mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_kept_and_the_story_follows_cut_between_characters() {
        let before =
            Payload { key: None, value: Some(b"v"), headers: vec![(b"h", None), (b"wasm-offset", Some(b"mine"))] };
        let mut payload = Vec::new();
        before.put(&mut payload);
        let error = Error::new(Status::GuestTrap, "\u{e9}".repeat(LONGEST_STORY + 1));
        let letter = with_story(&payload, "t", -7, &error).unwrap();
        let after = Payload::parse(&letter).unwrap();
        assert_eq!((after.key, after.value), (before.key, before.value));
        assert_eq!(after.headers[..2], before.headers);
        let story = "\u{e9}".repeat(LONGEST_STORY);
        let added: [(&[u8], _); 4] = [
            (b"wasm-transform", Some(&b"t"[..])),
            (b"wasm-offset", Some(b"-7")),
            (b"wasm-error", Some(b"guest-trap")),
            (b"wasm-error-message", Some(story.as_bytes())),
        ];
        assert_eq!(after.headers[2..], added);
    }
}
