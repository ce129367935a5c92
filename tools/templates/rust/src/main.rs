//! Writes each record with its value in capitals. Records without a value are dropped.

mod transform;

use transform::{on_record_written, BorrowedRecord, RecordWriter, WriteError, WriteEvent};

fn main() {
    on_record_written(on_record);
}

fn on_record(event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    match event.record.value() {
        None | Some([]) => Ok(()),
        Some(value) => {
            let capitals = value.to_ascii_uppercase();
            writer.write(BorrowedRecord::new_with_headers(
                event.record.key(),
                Some(&capitals),
                event.record.headers().to_vec(),
            ))
        }
    }
}
