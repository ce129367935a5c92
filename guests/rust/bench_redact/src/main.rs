//! The redaction of `make bench`: the text of "email" becomes ***.

#[path = "../../bench_work.rs"]
mod work;

use redpanda_transform_sdk::{
    on_record_written, BorrowedRecord, RecordWriter, WriteError, WriteEvent,
};

fn main() {
    on_record_written(redact);
}

fn redact(event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    let record = event.record;
    let value = record.value().unwrap_or_default();
    let Some(email) = work::field(value, b"email") else {
        return writer.write(record);
    };
    let mut masked = Vec::with_capacity(value.len() + 3);
    masked.extend_from_slice(&value[..email.start]);
    masked.extend_from_slice(b"***");
    masked.extend_from_slice(&value[email.end..]);
    let headers = record.headers().to_vec();
    writer.write(BorrowedRecord::new_with_headers(record.key(), Some(&masked), headers))
}
