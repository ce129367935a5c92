//! CRC-32C by every kernel of `crates/batch/src/crc32c` that the processor has, beside the crate `crc-fast`.
//!
//!     cargo run --release -p wasm-engine-batch --example crc32c [-- --json] [BYTES ...]
//!
//! By turns, in the thread's processor time, and the median of the rounds. `chosen` is what the library takes for this
//! length, and the ratio is that to the crate.
#![allow(clippy::unwrap_used, missing_docs, unsafe_code)]

use std::hint::black_box;
use wasm_engine_batch::crc32c::{self, Kernel};

/// A checksum of data.
type Way = Box<dyn Fn(&[u8]) -> u32>;

const LENGTHS: [usize; 14] =
    [16, 32, 61, 115, 200, 400, 768, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20];
const ROUNDS: usize = 101;
const BYTES_PER_ROUND: usize = 1 << 20;
/// Short inputs are called so often.
const MOST_CALLS: usize = 4000;

/// Nanoseconds of this thread.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds per call.
fn time(calls: usize, data: &[u8], way: &dyn Fn(&[u8]) -> u32) -> f64 {
    let start = now();
    for _ in 0..calls {
        black_box(way(black_box(data)));
    }
    (now() - start) as f64 / calls as f64
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let given: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();

    let mut ways: Vec<(&str, Way)> = vec![("crate", Box::new(crc_fast::crc32_iscsi))];
    for kernel in Kernel::all().skip(1) {
        ways.push((kernel.name(), Box::new(move |data| !kernel.update(!0, data))));
    }
    ways.push(("chosen", Box::new(crc32c::checksum)));
    if !json {
        print!("{:<10}", "GB/s");
        ways.iter().for_each(|(name, _)| print!(" {name:>8}"));
        println!(" {:>8}", "ratio");
    }
    for &length in if given.is_empty() { &LENGTHS[..] } else { &given } {
        // An address as a batch has it: the CRC begins at its 22nd byte.
        let batch: Vec<u8> = (0..length + 21).map(|i| (i * 31 + i / 7) as u8).collect();
        let data = &batch[21..];
        let calls = (BYTES_PER_ROUND / length.max(1)).clamp(1, MOST_CALLS);
        let mut times = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for ((_, way), times) in ways.iter().zip(&mut times) {
                assert_eq!(way(data), crc_fast::crc32_iscsi(data));
                times.push(time(calls, data, way));
            }
        }
        let medians: Vec<f64> = times
            .iter_mut()
            .map(|times| {
                times.sort_by(f64::total_cmp);
                times[ROUNDS / 2]
            })
            .collect();
        if json {
            for ((name, _), ns) in ways.iter().zip(&medians) {
                println!("{{\"crc32c\": \"{name}\", \"bytes\": {length}, \"ns\": {ns:.2}}}");
            }
        } else {
            print!("{length:<10}");
            medians.iter().for_each(|ns| print!(" {:>8.1}", length as f64 / ns));
            println!(" {:>8.2}", medians[0] / medians[medians.len() - 1]);
        }
    }
}
