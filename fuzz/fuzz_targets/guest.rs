//! Host calls of a guest with any arguments, in two runtimes: one calls the library for each record, the other has the code
//! for that compiled into the guest. Both give the same output, the same status, and the same record at which the guest
//! failed.
//!
//! The input is up to four scripts of `script_guest`, with a zero between them. Each is a record.
#![no_main]

use core::ptr::{null, null_mut};
use libfuzzer_sys::fuzz_target;
use wasm_engine_fuzz::abi::engine::{
    wasm_engine_create, wasm_engine_release, wasm_engine_start, wasm_engine_transform, wasm_transform_args,
};
use wasm_engine_fuzz::abi::error::{wasm_error, wasm_error_message, wasm_error_release};
use wasm_engine_fuzz::abi::factory::{wasm_factory, wasm_factory_config};
use wasm_engine_fuzz::abi::future::{wasm_future, wasm_future_poll, wasm_future_release};
use wasm_engine_fuzz::abi::runtime::{wasm_runtime_config, wasm_runtime_create};
use wasm_engine_fuzz::abi::schema_registry::{wasm_runtime_set_schema_registry, wasm_schema_registry_in_memory};
use wasm_engine_fuzz::abi::thread::wasm_thread_prepare;
use wasm_engine_fuzz::base::state::wasm_poll as Poll;
use wasm_engine_fuzz::base::status::wasm_status as Status;
use wasm_engine_fuzz::batch::builder::Builder;
use wasm_engine_fuzz::batch::compression::wasm_compression as Codec;
use wasm_engine_fuzz::batch::payload::Payload;
use wasm_engine_fuzz::calls::{compiled, expect_ok, slice, zeroed};
use wasm_engine_fuzz::host::call::wasm_call;
use wasm_engine_fuzz::host::sink::{wasm_output_record, wasm_output_sink};
use wasm_engine_fuzz::script_guest;

/// An output record: topic, index, ordinal and payload.
type Output = (u32, u32, u32, Vec<u8>);

thread_local!(static FACTORIES: [*mut wasm_factory; 2] = [factory(0), factory(1)]);

fuzz_target!(|bytes: &[u8]| {
    let mut builder = Builder::new(Codec::None, 7, None);
    for script in bytes.split(|&byte| byte == 0).take(4) {
        // Two bytes of length, as the guest expects.
        let script = &script[..script.len().min(script_guest::LONGEST)];
        let value = [script, &[0; 64][..64_usize.saturating_sub(script.len())]].concat();
        let mut payload = Vec::new();
        Payload { value: Some(&value), ..Payload::default() }.put(&mut payload);
        builder.add(None, 1_000, &payload).expect("it fits");
    }
    let batch = builder.finish().expect("it fits");
    let [compiled_in, called] = FACTORIES.with(|factories| factories.map(|factory| transform(factory, batch)));
    assert_eq!(compiled_in, called);
});

/// A factory whose guest does or does not have the code for records compiled in.
fn factory(host_record_calls: u32) -> *mut wasm_factory {
    let (mut runtime, mut error) = (null_mut(), null_mut());
    // SAFETY: as the header has it.
    unsafe {
        let mut config: wasm_runtime_config = zeroed();
        config.size = size_of::<wasm_runtime_config>();
        config.host_record_calls = host_record_calls;
        config.memory_limit = 1 << 20;
        config.output_buffer_limit = 4096;
        config.replay_seed = 1;
        expect_ok(wasm_runtime_create(&config, &mut runtime, &mut error), error);
        let mut registry = zeroed();
        expect_ok(wasm_schema_registry_in_memory(&mut registry, &mut error), error);
        expect_ok(wasm_runtime_set_schema_registry(runtime, &registry, &mut error), error);
        expect_ok(wasm_thread_prepare(runtime, null(), &mut error), error);
        let module = wat::parse_str(script_guest::text()).expect("the text is valid");
        let outputs = [slice(b"first"), slice(b"second")];
        let mut config: wasm_factory_config = zeroed();
        config.size = size_of::<wasm_factory_config>();
        (config.module, config.name, config.input_topic) = (slice(&module), slice(b"script"), slice(b"in"));
        (config.output_topics, config.output_topic_count) = (outputs.as_ptr(), outputs.len());
        compiled(runtime, &config)
    }
}

/// What a new guest makes of a batch: output, status and message.
fn transform(factory: *mut wasm_factory, batch: &[u8]) -> (Vec<Output>, Status, String) {
    let (mut engine, mut future, mut error) = (null_mut(), null_mut(), null_mut());
    let mut output = Vec::<Output>::new();
    // SAFETY: as the header has it. Batch and output outlive the engine.
    unsafe {
        expect_ok(wasm_engine_create(factory, null(), &mut engine, &mut error), error);
        expect_ok(wasm_engine_start(engine, &mut future, &mut error), error);
        let started = complete(future);
        assert_eq!(started.0, Status::Ok, "{}", started.1);
        let sink = wasm_output_sink {
            size: size_of::<wasm_output_sink>(),
            data: (&raw mut output).cast(),
            drop: None,
            records: Some(records),
            parsed: None,
        };
        let args = wasm_transform_args {
            size: size_of::<wasm_transform_args>(),
            batch: slice(batch),
            sink: &sink,
            first_record: 0,
        };
        expect_ok(wasm_engine_transform(engine, &args, &mut future, &mut error), error);
        let (status, message) = complete(future);
        assert!(
            status == Status::Ok || (50..70).contains(&(status as u32)),
            "a guest's fault is its own: {status:?}: {message}"
        );
        assert_eq!(wasm_engine_release(engine, &mut error), Status::Ok);
        (output, status, message)
    }
}

unsafe extern "C" fn records(
    data: *mut core::ffi::c_void,
    records: *const wasm_output_record,
    count: usize,
    _: *mut wasm_call,
) -> u32 {
    // SAFETY: the block is lent, and the data is the list above.
    unsafe {
        let output = &mut *data.cast::<Vec<Output>>();
        for record in core::slice::from_raw_parts(records, count) {
            let payload = core::slice::from_raw_parts(record.payload, record.payload_size as usize);
            assert!(Payload::parse(payload).is_some(), "output is well-formed");
            output.push((record.topic, record.input_index, record.ordinal, payload.to_vec()));
        }
    }
    0
}

/// Polls a future until its end.
unsafe fn complete(future: *mut wasm_future) -> (Status, String) {
    let (mut state, mut error) = (Poll::Yielded, null_mut::<wasm_error>());
    // SAFETY: as the header has it.
    unsafe {
        let status = loop {
            let status = wasm_future_poll(future, null(), &mut state, &mut error);
            if status != Status::Ok || state == Poll::Ready {
                break status;
            }
        };
        let mut message = String::new();
        if !error.is_null() {
            message = core::ffi::CStr::from_ptr(wasm_error_message(error)).to_string_lossy().into_owned();
            wasm_error_release(error);
        }
        let mut error = null_mut();
        assert_eq!(wasm_future_release(future, &mut error), Status::Ok);
        (status, message)
    }
}
