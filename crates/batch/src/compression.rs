//! The codecs of Kafka. The size of the output is bounded.

use crate::error::{Error, Kind, Result};
use std::io::{Read, Write};

/// How the records of a batch are compressed. The numbers are Kafka's.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_compression {
    /// Not at all.
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy in the framing of xerial's Java library. Raw blocks are read too.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard frames.
    Zstd = 4,
}

impl wasm_compression {
    /// The codec of a code from a batch header or from C.
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].into_iter().find(|&c| c as u32 == code)
    }
}

/// xerial's magic. The version and the lowest compatible version follow (both big-endian).
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;
/// The block size of xerial's library.
const XERIAL_BLOCK: usize = 32 << 10;

fn broken(codec: &str, why: impl core::fmt::Display) -> Error {
    Error::new(Kind::Decompress, format!("the batch's {codec} data cannot be decompressed: {why}"))
}

fn too_large(limit: usize) -> Error {
    Error::new(Kind::TooLarge, format!("the batch decompresses to more than max_batch_size ({limit} bytes)"))
}

/// Replaces the content of `out` by the decompressed `data`. At most `limit` bytes.
pub fn decompress(codec: wasm_compression, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    match codec {
        wasm_compression::None => {
            out.extend_from_slice(data);
            Ok(())
        }
        wasm_compression::Gzip => read_all("gzip", flate2::read::MultiGzDecoder::new(data), limit, out),
        wasm_compression::Snappy => snappy(data, limit, out),
        wasm_compression::Lz4 => read_all("lz4", lz4_flex::frame::FrameDecoder::new(data), limit, out),
        wasm_compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(|e| broken("zstd", e))?;
            read_all("zstd", decoder, limit, out)
        }
    }
}

fn read_all(codec: &str, reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<()> {
    reader.take(limit as u64 + 1).read_to_end(out).map_err(|e| broken(codec, e))?;
    if out.len() > limit {
        return Err(too_large(limit));
    }
    Ok(())
}

fn snappy(data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
    let Some(mut rest) = data.strip_prefix(XERIAL_MAGIC).and_then(|_| data.get(XERIAL_HEADER..)) else {
        return snappy_block(data, limit, out);
    };
    while !rest.is_empty() {
        let (size, tail) =
            rest.split_first_chunk::<4>().ok_or_else(|| broken("snappy", "a block length is cut off"))?;
        let size = u32::from_be_bytes(*size) as usize;
        let (block, tail) = tail.split_at_checked(size).ok_or_else(|| broken("snappy", "a block is cut off"))?;
        snappy_block(block, limit, out)?;
        rest = tail;
    }
    Ok(())
}

fn snappy_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
    let size = snap::raw::decompress_len(block).map_err(|e| broken("snappy", e))?;
    let start = out.len();
    if size > limit - start {
        return Err(too_large(limit));
    }
    // A block cannot grow by more than a factor of about 64. A larger claim must not cost memory.
    if size > 128 * block.len() + 128 {
        return Err(broken("snappy", "a block claims more bytes than it can hold"));
    }
    out.resize(start + size, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|e| broken("snappy", e))?;
    Ok(())
}

/// Appends the compressed `data` to `out`.
pub fn compress(codec: wasm_compression, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let written = match codec {
        wasm_compression::None => {
            out.extend_from_slice(data);
            Ok(())
        }
        wasm_compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(data).and_then(|()| encoder.finish().map(drop))
        }
        wasm_compression::Snappy => {
            out.extend_from_slice(XERIAL_MAGIC);
            out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
            let mut encoder = snap::raw::Encoder::new();
            data.chunks(XERIAL_BLOCK).try_for_each(|chunk| {
                let block = encoder.compress_vec(chunk).map_err(std::io::Error::other)?;
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
                Ok(())
            })
        }
        wasm_compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
            encoder.write_all(data).and_then(|()| encoder.finish().map(drop).map_err(std::io::Error::other))
        }
        wasm_compression::Zstd => zstd::stream::copy_encode(data, out, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    written.map_err(|e| Error::new(Kind::Internal, format!("the batch cannot be compressed: {e}")))
}
