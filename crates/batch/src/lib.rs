//! Kafka record batches of magic 2: read in place, validated before a guest sees them and written.
//!
//! The format is that of Kafka's `DefaultRecordBatch` and of KIP-98. A big-endian header of 61 bytes comes first. The
//! records follow. Their integers are zigzag varints. Compression applies to all records as one piece.
#![allow(non_camel_case_types)] // types that C sees have their C names
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod builder;
mod check;
pub mod chunk;
pub mod compression;
pub mod crc32c;
pub mod cursor;
mod decompress;
mod encode;
pub mod entries;
pub mod error;
pub mod fallible;
pub mod header;
pub mod input;
pub mod payload;
pub mod reader;
mod record;
pub mod varint;

/// Frees the memory that this thread keeps for the next batch: 1 MiB of chunks, 4 MiB of entries and the context
/// of a codec.
pub fn release_kept() {
    chunk::release_kept();
    entries::release_kept();
    decompress::release_kept();
}
