//! The filter of `make bench`: keeps the records whose "level" is "error".

#[path = "../../bench_work.rs"]
mod work;

use redpanda_transform_sdk::{on_record_written, RecordWriter, WriteError, WriteEvent};

fn main() {
    on_record_written(filter);
}

fn filter(event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    if work::is(event.record.value().unwrap_or_default(), b"level", b"error") {
        writer.write(event.record)?;
    }
    Ok(())
}
