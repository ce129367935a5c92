//! Decompression in steps. A step takes some ten microseconds whatever the data says, so that a caller can do something
//! else between two of them. What is decompressed lies in [`Regions`]: memory follows what has come and not what a
//! frame announces.

mod gzip;
mod lz4;
mod regions;
mod snappy;
mod zstd;

pub use regions::{FREED_AT_ONCE, Regions};
pub use snappy::XERIAL_MAGIC;
pub use zstd::release_kept;

use crate::chunk;
use crate::compression::wasm_compression;
use crate::error::{Error, Kind, Result};

/// Compressed bytes that a step reads at most if it writes nothing. Data can be all empty blocks and tables.
const STEP_INPUT: usize = 4 << 10;

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to come.
    More,
    /// The last region is full. The next step needs room.
    Full,
    /// All data is decompressed.
    End,
}

/// The state of a codec. One at a time, on the heap.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Decoder {
    /// gzip
    Gzip(gzip::Gzip),
    /// Snappy
    Snappy(snappy::Snappy),
    /// LZ4
    Lz4(lz4::Lz4),
    /// Zstandard
    Zstd(zstd::Zstd),
}

impl Decoder {
    /// At the front of `data`. None for data that is not compressed.
    pub fn new(codec: wasm_compression, data: &[u8]) -> Result<Option<Self>> {
        Ok(Some(match codec {
            wasm_compression::None => return Ok(None),
            wasm_compression::Gzip => Self::Gzip(gzip::Gzip::new()?),
            wasm_compression::Snappy => Self::Snappy(snappy::Snappy::new(data)),
            wasm_compression::Lz4 => Self::Lz4(lz4::Lz4::new()),
            wasm_compression::Zstd => Self::Zstd(zstd::Zstd::new(data)?),
        }))
    }

    /// Bytes that may still come at most.
    pub fn most_left(&self, data: &[u8]) -> usize {
        // Bytes that one compressed byte stands for, at most, and what is decompressed already.
        let (at, ratio, ready) = match self {
            Self::Gzip(gzip) => (gzip.at(), 1032, chunk::SIZE),
            Self::Snappy(snappy) => (snappy.at(), 64, chunk::SIZE),
            Self::Lz4(lz4) => (lz4.at(), 255, 4 << 20),
            Self::Zstd(zstd) => (zstd.at(), 128 << 10, 128 << 20),
        };
        data.len().saturating_sub(at).saturating_mul(ratio).saturating_add(ready)
    }

    /// Takes a step. `data` is the same in each.
    pub fn step(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        match self {
            Self::Gzip(gzip) => gzip.step(data, out),
            Self::Snappy(snappy) => snappy.step(data, out),
            Self::Lz4(lz4) => lz4.step(data, out),
            Self::Zstd(zstd) => zstd.step(data, out),
        }
    }
}

#[cold]
fn broken(codec: &str, why: impl core::fmt::Display) -> Error {
    Error::new(Kind::Decompress, format!("the batch's {codec} data cannot be decompressed: {why}"))
}

/// The bytes from `at` on, at most `count`.
fn part(data: &[u8], at: usize, count: usize) -> &[u8] {
    let rest = data.get(at..).unwrap_or_default();
    &rest[..rest.len().min(count)]
}

/// A little-endian integer at `at` if it is there.
fn le32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
