//! Calls of the C interface in any order, also from within callbacks and from other threads, in all modes of memory and
//! traps: `world` plays the host and knows what the header promises.
#![no_main]

#[path = "world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| world::run(script));
