//! The codecs of Kafka. Decompression is in `decompress`.

use crate::chunk::{self, Chunk};
use crate::decompress::XERIAL_MAGIC;
use crate::error::{Error, Kind, Result};
use crate::fallible;
use std::io::{self, Write as _};

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
    #[inline]
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].into_iter().find(|&c| c as u32 == code)
    }
}

/// The block size of xerial's library.
const XERIAL_BLOCK: usize = 32 << 10;

/// Appends the compressed `data` to `out`.
pub fn compress(codec: wasm_compression, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut out = Growing { out, refused: 0 };
    let written = match codec {
        wasm_compression::None => out.write_all(data),
        wasm_compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::default());
            encoder.write_all(data).and_then(|()| encoder.finish().map(drop))
        }
        wasm_compression::Snappy => snappy(data, &mut out),
        wasm_compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut out);
            encoder.write_all(data).and_then(|()| encoder.finish().map(drop).map_err(io::Error::other))
        }
        wasm_compression::Zstd => zstd::stream::copy_encode(data, &mut out, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    match (written, out.refused) {
        (Ok(()), _) => Ok(()),
        (Err(_), refused @ 1..) => Err(chunk::refused(refused)),
        (Err(e), 0) => Err(Error::new(Kind::Internal, format!("the batch cannot be compressed: {e}"))),
    }
}

fn snappy(data: &[u8], out: &mut Growing<'_>) -> io::Result<()> {
    out.write_all(XERIAL_MAGIC)?;
    out.write_all(&[0, 0, 0, 1, 0, 0, 0, 1])?;
    let mut encoder = snap::raw::Encoder::new();
    // A block becomes at most a sixth larger.
    let mut block = Chunk::take().map_err(io::Error::other)?;
    for piece in data.chunks(XERIAL_BLOCK) {
        let size = encoder.compress(piece, block.bytes_mut()).map_err(io::Error::other)?;
        out.write_all(&(size as u32).to_be_bytes())?;
        out.write_all(&block.bytes()[..size])?;
    }
    Ok(())
}

/// A vector to which as much is appended as the allocator permits.
struct Growing<'a> {
    out: &'a mut Vec<u8>,
    /// Bytes that the allocator refused.
    refused: usize,
}

impl io::Write for Growing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if fallible::reserve(self.out, bytes.len()).is_err() {
            self.refused = self.out.len() + bytes.len();
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
