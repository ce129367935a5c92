//! What scripts share: a runtime for each combination of modes, its factories, and batches.

use super::callbacks;
use core::ptr::null_mut;
use std::cell::RefCell;
use wasm_engine_fuzz::abi::custom_engine::wasm_factory_create_custom;
use wasm_engine_fuzz::abi::factory::{wasm_factory, wasm_factory_config};
use wasm_engine_fuzz::abi::host_function::{wasm_host_function, wasm_runtime_register_function};
use wasm_engine_fuzz::abi::metrics::{wasm_runtime_get_metrics, wasm_runtime_metrics};
use wasm_engine_fuzz::abi::runtime::{wasm_runtime, wasm_runtime_config, wasm_runtime_create};
use wasm_engine_fuzz::abi::thread::{wasm_thread_config, wasm_thread_prepare};
use wasm_engine_fuzz::batch::builder::Builder;
use wasm_engine_fuzz::batch::compression::wasm_compression as Codec;
use wasm_engine_fuzz::batch::payload::Payload;
use wasm_engine_fuzz::calls::{compiled, expect_ok, slice, zeroed};
use wasm_engine_fuzz::system::memory::block::wasm_allocator;

/// A guest that does with each record what the first byte of its value says.
///
/// | bits | meaning |
/// | --- | --- |
/// | 0..3 | so many copies are written |
/// | 4 | the host function is called, which may wait |
/// | 5 | a line is logged |
/// | 0xEE | the guest traps |
const GUEST: &str = r#"(module
 (import "redpanda_transform" "check_abi_version_1" (func))
 (import "redpanda_transform" "read_batch_header"
  (func $header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
 (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
 (import "host" "wait" (func $wait (param i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_write" (func $log (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 2)
 (data (i32.const 200) "\d0\00\00\00\06\00\00\00GUEST\n")
 (func (export "_start") (local $size i32) (local $value i32) (local $left i32)
  (loop $batches
   (drop (call $header (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 24) (i32.const 32) (i32.const 40)
    (i32.const 48) (i32.const 56) (i32.const 64) (i32.const 72)))
   (block $end (loop $records
    (local.set $size
     (call $read (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 1024) (i32.const 60000)))
    (br_if $end (i32.lt_s (local.get $size) (i32.const 0)))
    (local.set $value (i32.load8_u (i32.const 1026)))
    (if (i32.eq (local.get $value) (i32.const 0xEE)) (then unreachable))
    (if (i32.and (local.get $value) (i32.const 0x10)) (then (drop (call $wait (local.get $value)))))
    (if (i32.and (local.get $value) (i32.const 0x20))
     (then (drop (call $log (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 300)))))
    (local.set $left (i32.and (local.get $value) (i32.const 7)))
    (block $written (loop $copies
     (br_if $written (i32.eqz (local.get $left)))
     (drop (call $write (i32.const 1024) (local.get $size)))
     (local.set $left (i32.sub (local.get $left) (i32.const 1)))
     (br $copies)))
    (br $records)))
   (br $batches))))"#;

/// The values of the batches.
pub const VALUES: [&[u8]; 8] =
    [&[0x02], &[0x11, 0x02], &[0x07, 0x17, 0x37, 0x27], &[0x01, 0xEE, 0x03], &[0xEE], &[0x37; 9], &[], &[0x05; 60]];

/// Bytes of each value. The first one counts.
const VALUE: usize = 60;

/// A batch and its values. The last one is none.
pub struct Batch {
    pub bytes: Vec<u8>,
    pub values: &'static [u8],
}

/// What a mode has.
pub struct Fixture {
    pub runtime: *mut wasm_runtime,
    /// Two of guests and one of a custom engine.
    pub factories: [*mut wasm_factory; 3],
    pub batches: Vec<Batch>,
}

/// Modes: four of memory, two of traps, and whether calls for records are calls.
const MODES: usize = 16;

thread_local!(static FIXTURES: RefCell<[Option<&'static Fixture>; MODES]> = const { RefCell::new([None; MODES]) });

/// The fixture of a mode, which is made once. They stay until the process ends.
pub fn of(mode: u8) -> Option<&'static Fixture> {
    let mode = usize::from(mode) % MODES;
    FIXTURES.with_borrow_mut(|all| {
        if all[mode].is_none() {
            all[mode] = Some(Box::leak(Box::new(Fixture::new(mode as u32))));
        }
        all[mode]
    })
}

impl Fixture {
    fn new(mode: u32) -> Self {
        let mut error = null_mut();
        let (mut runtime, mut factories) = (null_mut(), [null_mut(); 3]);
        // SAFETY: as the header has it. Texts and tables outlive the calls.
        unsafe {
            let mut config: wasm_runtime_config = zeroed();
            config.size = size_of::<wasm_runtime_config>();
            (config.memory_mode, config.trap_mode, config.host_record_calls) = (mode & 3, mode >> 2 & 1, mode >> 3);
            config.memory_limit = 1 << 20;
            config.output_buffer_limit = 1024;
            config.pool_engines = if mode & 3 == 3 { 8 } else { 0 };
            let allocator = wasm_allocator {
                size: size_of::<wasm_allocator>(),
                data: null_mut(),
                drop: None,
                allocate: Some(callbacks::allocate),
                release: Some(callbacks::release_memory),
            };
            if mode & 3 == 2 {
                (config.memory_allocator, config.stack_allocator) = (&allocator, &allocator);
            }
            config.core_dumps = mode >> 2 & 1;
            config.compile_threads = 1;
            (config.log_lines_per_second, config.log_burst_lines) = (1_000_000, 1_000_000);
            config.log.line = Some(callbacks::line);
            expect_ok(wasm_runtime_create(&config, &mut runtime, &mut error), error);

            let types = [0];
            let mut function: wasm_host_function = zeroed();
            function.size = size_of::<wasm_host_function>();
            (function.module, function.name) = (slice(b"host"), slice(b"wait"));
            (function.params, function.param_count) = (types.as_ptr(), 1);
            (function.results, function.result_count) = (types.as_ptr(), 1);
            function.may_wait = 1;
            function.call = Some(callbacks::function);
            expect_ok(wasm_runtime_register_function(runtime, &function, &mut error), error);

            let mut thread: wasm_thread_config = zeroed();
            thread.size = size_of::<wasm_thread_config>();
            thread.engines = if mode & 3 == 1 { 6 } else { 0 };
            expect_ok(wasm_thread_prepare(runtime, &thread, &mut error), error);

            let output = slice(b"out");
            let mut config: wasm_factory_config = zeroed();
            config.size = size_of::<wasm_factory_config>();
            (config.name, config.input_topic) = (slice(b"transform"), slice(b"in"));
            (config.output_topics, config.output_topic_count) = (&output, 1);
            let engine = callbacks::custom_engine();
            let made = wasm_factory_create_custom(runtime, &config, &engine, &mut factories[2], &mut error);
            expect_ok(made, error);
            for (factory, line) in factories.iter_mut().zip(["hello", "world"]) {
                let module = wat::parse_str(GUEST.replace("GUEST", line)).expect("the text is valid");
                config.module = slice(&module);
                *factory = compiled(runtime, &config);
            }
        }
        Self { runtime, factories, batches: batches() }
    }

    /// Nothing of a script is left.
    pub fn check_empty(&self) {
        let mut error = null_mut();
        // SAFETY: integers.
        let mut metrics: wasm_runtime_metrics = unsafe { zeroed() };
        metrics.size = size_of::<wasm_runtime_metrics>();
        // SAFETY: the runtime is there.
        let status = unsafe { wasm_runtime_get_metrics(self.runtime, &mut metrics, &mut error) };
        // SAFETY: as above.
        unsafe { expect_ok(status, error) };
        assert_eq!(metrics.engines, 0, "engines are left");
    }
}

fn batches() -> Vec<Batch> {
    let codecs = [Codec::None, Codec::Zstd, Codec::None, Codec::Lz4];
    let built = VALUES.iter().zip(codecs.iter().cycle()).map(|(values, codec)| {
        let mut builder = Builder::new(*codec, 100, None);
        for value in *values {
            let mut payload = Vec::new();
            Payload { key: None, value: Some(&[*value; VALUE]), headers: Vec::new() }.put(&mut payload);
            builder.add(None, 5, &payload).expect("it fits");
        }
        Batch { bytes: builder.finish().expect("it fits").to_vec(), values }
    });
    built.chain([Batch { bytes: vec![1, 2, 3], values: &[] }]).collect()
}
