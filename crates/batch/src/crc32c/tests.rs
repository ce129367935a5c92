//! Each kernel by itself, beside a reference of one bit at a time and the crate.

use super::*;
use proptest::prelude::*;

/// The state after data.
type Update = Box<dyn Fn(u32, &[u8]) -> u32>;

/// The state after a byte, by the definition.
fn byte_by_bits(state: u32, byte: u8) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    (0..8).fold(state ^ u32::from(byte), |state, _| state >> 1 ^ if state & 1 == 1 { POLYNOMIAL } else { 0 })
}

fn by_bits(state: u32, data: &[u8]) -> u32 {
    data.iter().fold(state, |state, byte| byte_by_bits(state, *byte))
}

/// Every way that this processor has: each kernel as it is chosen by length, and each file for all lengths.
fn ways() -> Vec<(String, Update)> {
    let mut ways: Vec<(String, Update)> = Vec::new();
    for kernel in Kernel::all() {
        ways.push((format!("kernel {}", kernel.name()), Box::new(move |state, data| kernel.update(state, data))));
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        let alone: Option<Update> = match kernel.name() {
            // SAFETY: the kernel exists, so the processor has what its file needs.
            "sse42" => Some(Box::new(|state, data| unsafe { sse42::update(state, data) })),
            // SAFETY: as above.
            "avx512" => Some(Box::new(|state, data| unsafe { avx512::update(state, data) })),
            // SAFETY: as above.
            "gfni" => Some(Box::new(|state, data| unsafe { gfni::update(state, data) })),
            _ => None,
        };
        #[cfg(target_arch = "x86_64")]
        ways.extend(alone.map(|update| (format!("{} alone", kernel.name()), update)));
    }
    ways
}

/// Bytes without a pattern.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn what_is_best_is_the_last_of_all() {
    assert_eq!(Some(Kernel::best()), Kernel::all().last());
    assert_eq!(Some("crc-fast"), Kernel::all().next().map(Kernel::name));
}

#[test]
fn vectors_of_rfc_3720() {
    let command = [
        0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
        0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    ];
    let ascending: Vec<u8> = (0..32).collect();
    let descending: Vec<u8> = (0..32).rev().collect();
    let vectors: [(&[u8], u32); 7] = [
        (&[], 0),
        (b"123456789", 0xE306_9283),
        (&[0; 32], 0x8A91_36AA),
        (&[0xFF; 32], 0x62A8_AB43),
        (&ascending, 0x46DD_794E),
        (&descending, 0x113F_DB5C),
        (&command, 0xD996_3A56),
    ];
    for (data, crc) in vectors {
        assert_eq!(checksum(data), crc);
        assert_eq!(!by_bits(!0, data), crc);
        for (name, update) in ways() {
            assert_eq!(!update(!0, data), crc, "{name}, {} bytes", data.len());
        }
    }
}

#[test]
fn every_length_at_every_alignment() {
    const LONGEST: usize = 4096;
    let data = noise(1, LONGEST + 64);
    let ways = ways();
    // Without optimization each vector is a dozen calls.
    let step = if cfg!(debug_assertions) { 13 } else { 1 };
    for at in (0..64).step_by(step) {
        for start in [!0, 0, 0x1234_5678 << (at % 4)] {
            let mut want = start;
            for len in 0..=LONGEST {
                let piece = &data[at..at + len];
                for (name, update) in &ways {
                    assert_eq!(update(start, piece), want, "{name}, {len} bytes at {at}, state {start:x}");
                }
                want = byte_by_bits(want, data[at + len.min(LONGEST - 1)]);
            }
        }
    }
}

#[test]
fn random_lengths_up_to_a_mebibyte() {
    let data = noise(2, 1 << 20);
    for (i, random) in noise(3, 120).chunks_exact(3).enumerate() {
        let len = (usize::from(random[0]) << 12 | usize::from(random[1]) << 4) >> (random[2] % 9);
        let piece = &data[i..i + len];
        let want = by_bits(!0, piece);
        assert_eq!(!want, crc_fast::crc32_iscsi(piece));
        for (name, update) in ways() {
            assert_eq!(update(!0, piece), want, "{name}, {len} bytes");
        }
    }
    let want = by_bits(!0, &data);
    for (name, update) in ways() {
        assert_eq!(update(!0, &data), want, "{name}, all");
    }
}

#[test]
fn pieces_are_the_same_as_all_at_once_wherever_they_end() {
    let data = noise(4, 2100);
    let want = checksum(&data);
    for end in 0..=data.len() {
        let (front, back) = data.split_at(end);
        let mut digest = Digest::new();
        digest.update(front);
        assert_eq!(digest.finish(), checksum(front));
        digest.update(back);
        assert_eq!(digest.finish(), want, "split at {end}");
        for (name, update) in ways() {
            assert_eq!(!update(update(!0, front), back), want, "{name}, split at {end}");
        }
    }
}

#[test]
fn kernels_can_take_turns() {
    let data = noise(5, 3000);
    let want = by_bits(!0, &data);
    for (first, one) in ways() {
        for (second, other) in ways() {
            assert_eq!(other(one(!0, &data[..1111]), &data[1111..]), want, "{first}, then {second}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn powers_of_x() {
    use super::polynomial::{PERIOD, power};
    assert_eq!((power(0), power(1), power(31)), (1 << 31, 1 << 30, 1));
    assert_eq!(power(PERIOD), power(0));
    // Zeros behind the polynomial 1, and behind the power that they lead back to 1.
    assert_eq!(power(8 * 100 + 32), by_bits(0, &[&[0x80][..], &[0; 100]].concat()));
    assert_eq!(by_bits(power(-800), &[0; 100]), power(0));
}

proptest! {
    #[test]
    fn any_data_in_any_pieces(
        seed: u64, len in 0usize..20_000, start: u32, ends in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let data = noise(seed, len);
        let mut ends: Vec<usize> = ends.iter().map(|end| end.index(len + 1)).collect();
        ends.push(len);
        ends.sort_unstable();
        let want = by_bits(start, &data);
        for (name, update) in ways() {
            let mut from = 0;
            let mut state = start;
            for &end in &ends {
                state = update(state, &data[from..end]);
                from = end;
            }
            prop_assert_eq!(state, want, "{}", name);
        }
    }
}

/// Pages between two that nobody may read.
#[cfg(unix)]
#[allow(unsafe_code)]
struct Fenced {
    base: *mut u8,
    page: usize,
    pages: usize,
}

#[cfg(unix)]
#[allow(unsafe_code)]
impl Fenced {
    fn new(pages: usize) -> Self {
        // SAFETY: a new mapping, of which the pages between the first and the last are made accessible.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(core::ptr::null_mut(), (pages + 2) * page, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let base = base.cast::<u8>();
            assert_eq!(libc::mprotect(base.add(page).cast(), pages * page, libc::PROT_READ | libc::PROT_WRITE), 0);
            Self { base, page, pages }
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: these pages are accessible, and nobody else has them as long as `self` is borrowed.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(self.page), self.pages * self.page) }
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, and no borrow of it is left.
        unsafe { libc::munmap(self.base.cast(), (self.pages + 2) * self.page) };
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_read_before_or_behind_the_data() {
    let mut fenced = Fenced::new(4);
    let bytes = fenced.bytes();
    let len = bytes.len();
    bytes.copy_from_slice(&noise(6, len));
    for (name, update) in ways() {
        for size in 0..=len {
            let (front, back) = (&bytes[..size], &bytes[len - size..]);
            // The crate itself is beyond doubt, and as fast as the kernels.
            assert_eq!(!update(!0, front), crc_fast::crc32_iscsi(front), "{name}, {size} bytes in front");
            assert_eq!(!update(!0, back), crc_fast::crc32_iscsi(back), "{name}, {size} bytes at the end");
        }
    }
}
