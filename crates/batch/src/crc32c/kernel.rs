//! What the processor has and which kernel is for what.

#[cfg(target_arch = "x86_64")]
use super::{avx512, gfni, sse42};
use core::sync::atomic::{AtomicU8, Ordering};
use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

/// A way to compute checksums. There is a value only if the processor has what the way needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kernel(Kind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Kind {
    Portable,
    Sse42,
    Avx512,
    Gfni,
}

/// The best one last.
const KINDS: [Kind; 4] = [Kind::Portable, Kind::Sse42, Kind::Avx512, Kind::Gfni];

/// The index of the best kind in `KINDS`, or `UNKNOWN` until that is asked for.
static BEST: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = u8::MAX;

impl Kernel {
    /// The best kernel. After the first call this is a load and a comparison.
    #[inline]
    pub fn best() -> Self {
        // The value depends on the processor only. Threads may find it at the same time.
        match KINDS.get(usize::from(BEST.load(Ordering::Relaxed))) {
            Some(kind) => Self(*kind),
            None => Self::find(),
        }
    }

    #[cold]
    fn find() -> Self {
        let best = Self::all().last().unwrap_or(Self(Kind::Portable));
        BEST.store(best.0 as u8, Ordering::Relaxed);
        best
    }

    /// What this processor has, the best one last.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().filter(|kind| kind.is_there()).map(Self)
    }

    /// The kernel's name: that of its file, or of the crate.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "crc-fast",
            Kind::Sse42 => "sse42",
            Kind::Avx512 => "avx512",
            Kind::Gfni => "gfni",
        }
    }

    /// The state after `data`. A checksum is the complement of a state and begins with the complement of 0.
    #[inline]
    pub fn update(self, state: u32, data: &[u8]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        match (self.0, data.len()) {
            (Kind::Portable, _) | (Kind::Sse42, LONG_FOR_SSE42..) | (Kind::Avx512, LONG_FOR_AVX512..) => {}
            // SAFETY: each kind but the portable one needs SSE4.2, and this value says that the processor has it.
            (Kind::Sse42, _) | (_, ..LEAST_FOR_AVX512) => return unsafe { sse42::update(state, data) },
            // SAFETY: this value says that the processor has what the function needs.
            (Kind::Gfni, gfni::LEAST..) => return unsafe { gfni::update(state, data) },
            // SAFETY: this value says that the processor has what the function needs. `Gfni` needs the same and more.
            (Kind::Avx512 | Kind::Gfni, _) => return unsafe { avx512::update(state, data) },
        }
        portable(state, data)
    }
}

/// From so many bytes on the crate is faster than `sse42`.
#[cfg(target_arch = "x86_64")]
const LONG_FOR_SSE42: usize = 257;

/// From so many bytes on `avx512` has a result sooner than `sse42`.
#[cfg(target_arch = "x86_64")]
const LEAST_FOR_AVX512: usize = 96;

/// From so many bytes on the crate is as fast as `avx512`.
#[cfg(target_arch = "x86_64")]
const LONG_FOR_AVX512: usize = 1025;

impl Kind {
    #[cfg(target_arch = "x86_64")]
    fn is_there(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::Sse42 => has!("sse4.2"),
            Self::Avx512 => {
                Self::Sse42.is_there()
                    && has!("pclmulqdq")
                    && has!("vpclmulqdq")
                    && has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512vl")
            }
            // Measured on AMD's only, which begin two matrix products in a cycle and half a carry-less one. Where it is
            // one of each, the crate's way has the higher bound.
            Self::Gfni => Self::Avx512.is_there() && has!("gfni") && is_amd(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_there(self) -> bool {
        self == Self::Portable
    }
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = core::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

/// The crate's way. The state in which a checksum begins has a shorter one.
#[inline]
fn portable(state: u32, data: &[u8]) -> u32 {
    if state == !0 { !crc32_iscsi(data) } else { portable_on(state, data) }
}

/// As `portable`, in the middle of a message.
#[inline(never)]
fn portable_on(state: u32, data: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(state));
    digest.update(data);
    digest.get_state() as u32
}
