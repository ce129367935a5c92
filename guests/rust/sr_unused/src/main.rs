//! Copies every record and imports the schema registry without using it, as many transforms do.
//!
//! Only a record with the value `sr` makes it look up schema 1, and write what came of that as text.

use redpanda_transform_sdk::{
    on_record_written, BorrowedRecord, RecordWriter, WriteError, WriteEvent,
};
use redpanda_transform_sdk_sr::{SchemaId, SchemaRegistryClient};

fn main() {
    let registry = SchemaRegistryClient::new();
    on_record_written(move |event, writer| copy(&registry, event, writer));
}

fn copy(
    registry: &SchemaRegistryClient,
    event: WriteEvent,
    writer: &mut RecordWriter,
) -> Result<(), WriteError> {
    if event.record.value() != Some(b"sr") {
        return writer.write(event.record);
    }
    let found = match registry.lookup_schema_by_id(SchemaId(1)) {
        Ok(schema) => format!("schema 1: {schema:?}"),
        Err(error) => format!("schema 1: error: {error}"),
    };
    writer.write(BorrowedRecord::new(
        event.record.key(),
        Some(found.as_bytes()),
    ))
}
