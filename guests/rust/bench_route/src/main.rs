//! The routing of `make bench`: records whose "region" is "eu" go to the topic "eu", all others to the first.

#[path = "../../bench_work.rs"]
mod work;

use redpanda_transform_sdk::{
    on_record_written, RecordWriter, WriteError, WriteEvent, WriteOptions,
};

fn main() {
    on_record_written(route);
}

fn route(event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    if work::is(event.record.value().unwrap_or_default(), b"region", b"eu") {
        writer.write_with_options(event.record, WriteOptions::to_topic("eu"))
    } else {
        writer.write(event.record)
    }
}
