//! Kafka record batches, magic 2: read in place, checked before a guest sees them, and written.
//!
//! The format is that of Kafka's `DefaultRecordBatch` and of KIP-98: a 61-byte big-endian header, then the records, whose
//! integers are zigzag varints, compressed as one piece if at all.
#![allow(non_camel_case_types)] // types that C sees have their C names
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod builder;
pub mod compression;
pub mod cursor;
pub mod error;
pub mod header;
pub mod payload;
pub mod reader;
pub mod varint;
