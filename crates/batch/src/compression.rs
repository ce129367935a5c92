//! The codecs of Kafka. Decompression is in `decompress`.

use crate::decompress::XERIAL_MAGIC;
use crate::error::{Error, Kind, Result};
use std::io::Write as _;

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

/// The block size of xerial's library.
const XERIAL_BLOCK: usize = 32 << 10;

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
