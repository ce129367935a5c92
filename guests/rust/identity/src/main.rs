//! Copies every record to the output.

use redpanda_transform_sdk::{on_record_written, RecordWriter, WriteError, WriteEvent};

fn main() {
    on_record_written(identity);
}

fn identity(event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    writer.write(event.record)
}
