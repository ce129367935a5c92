//! CRC-32C, the checksum of Kafka's batches.
//!
//! | file | processors | lengths |
//! | --- | --- | --- |
//! | `sse42` | x86-64 with SSE4.2 | below 96 bytes, and up to 256 without AVX-512 |
//! | `avx512` | x86-64 with AVX-512 and VPCLMULQDQ | from 96 bytes to 1 KiB |
//! | `gfni` | the same of AMD with GFNI | from 768 bytes on |
//! | the crate `crc-fast` | all | all others |
//!
//! `kernel` chooses at run time. `make bench-crc` compares them.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod polynomial;
#[cfg(target_arch = "x86_64")]
mod sse42;
#[cfg(test)]
mod tests;

pub use kernel::Kernel;

/// The checksum of `data`.
#[inline]
pub fn checksum(data: &[u8]) -> u32 {
    !Kernel::best().update(!0, data)
}

/// A checksum whose data comes in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    state: u32,
}

impl Digest {
    /// The checksum of no data.
    #[inline]
    pub const fn new() -> Self {
        Self { state: !0 }
    }

    /// Appends data.
    #[inline]
    pub fn update(&mut self, data: &[u8]) {
        self.state = Kernel::best().update(self.state, data);
    }

    /// The checksum of all data so far.
    #[inline]
    pub const fn finish(&self) -> u32 {
        !self.state
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}
