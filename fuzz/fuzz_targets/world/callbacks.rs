//! The host's callbacks. Each answers as the script says, and may call the library first.

use super::objects::{self, Object};
use super::{Returned, World, call, is_over, next, operations, with};
use core::ffi::c_void;
use core::ptr::null_mut;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Mutex;
use wasm_engine_fuzz::abi::custom_engine::{wasm_input_record, wasm_work_next, wasm_work_write};
use wasm_engine_fuzz::abi::error::wasm_error;
use wasm_engine_fuzz::abi::future::wasm_future;
use wasm_engine_fuzz::abi::host_function::{wasm_call_engine, wasm_call_memory, wasm_call_promise};
use wasm_engine_fuzz::abi::runtime::wasm_log_line;
use wasm_engine_fuzz::abi::task::{wasm_completion, wasm_executor, wasm_task};
use wasm_engine_fuzz::base::status::wasm_status as Status;
use wasm_engine_fuzz::calls::zeroed;
use wasm_engine_fuzz::guest::custom::{wasm_custom_engine, wasm_work};
use wasm_engine_fuzz::host::call::{wasm_call, wasm_callback_result as Answer};
use wasm_engine_fuzz::host::sink::{wasm_output_record, wasm_output_sink};
use wasm_engine_fuzz::host::slice::wasm_slice;
use wasm_engine_fuzz::host::timer::wasm_timer;
use wasm_engine_fuzz::host::value::wasm_value;
use wasm_engine_fuzz::host::waker::wasm_waker;

// SAFETY of all callbacks: the library calls them as the header says. `data` is of an object of the script.

/// Calls the library from within a callback, of the engine of `call` if it has one.
fn nested(call: *const wasm_call) {
    if is_over() {
        return;
    }
    // SAFETY: the call is lent.
    let engine = if call.is_null() { null_mut() } else { unsafe { wasm_call_engine(call) } };
    let enter = |world: &mut World| {
        let deeper = world.depth < super::DEPTH;
        if deeper {
            world.depth += 1;
            world.inside.push(engine);
        }
        deeper
    };
    if with(enter) {
        operations::next();
        with(|world| {
            world.depth -= 1;
            world.inside.pop();
        });
    }
}

/// Done, pending with a promise, failed or, with `any`, a number that is no answer.
fn answer(lent: *mut wasm_call, any: bool) -> u32 {
    let choice = next();
    if choice & 0x40 != 0 {
        nested(lent);
    }
    match choice % 8 {
        3 | 4 => {
            let mut promise = null_mut();
            // SAFETY: the call is lent.
            let status = call(|error| unsafe { wasm_call_promise(lent, &mut promise, error) });
            if status == Status::Ok {
                with(|world| world.promises.push(promise));
            }
            if choice & 0x20 != 0 {
                nested(lent);
            }
            Answer::Pending as u32
        }
        5 if choice & 0x80 != 0 => Answer::Failed as u32,
        6 if choice & 0x80 != 0 && any => u32::from(choice),
        _ => Answer::Done as u32,
    }
}

pub unsafe extern "C" fn function(
    _: *mut c_void,
    lent: *mut wasm_call,
    _: *const wasm_value,
    results: *mut wasm_value,
) -> u32 {
    let (address, size) = (u32::from(next()) << 10, u32::from(next()) << 9);
    let mut bytes = null_mut::<u8>();
    // SAFETY: the call is lent, and room for one result. What is lent of the memory can be written.
    unsafe {
        *results = wasm_value { i32: 7 };
        let status = call(|error| wasm_call_memory(lent, address, size, &mut bytes, error));
        assert_eq!(status == Status::Ok, address + size <= 2 << 16, "{address} + {size}");
        // Not over the record, which lies at the beginning.
        if status == Status::Ok && address >= 1 << 16 {
            bytes.write_bytes(1, size as usize);
        }
    }
    answer(lent, true)
}

unsafe extern "C" fn records(
    data: *mut c_void,
    records: *const wasm_output_record,
    count: usize,
    lent: *mut wasm_call,
) -> u32 {
    // SAFETY: the block is lent.
    unsafe { Object::of(data).receive(core::slice::from_raw_parts(records, count)) };
    answer(lent, true)
}

/// `drop` of most tables.
unsafe extern "C" fn end(data: *mut c_void) {
    // SAFETY: as above.
    unsafe { Object::of(data) }.end();
}

/// `drop` of what is dropped on the engine's thread: calls the library.
unsafe extern "C" fn end_and_call(data: *mut c_void) {
    // SAFETY: as above.
    unsafe { Object::of(data) }.end();
    if next() & 7 == 1 {
        nested(null_mut());
    }
}

pub fn sink(object: &Rc<Object>) -> wasm_output_sink {
    wasm_output_sink {
        size: size_of::<wasm_output_sink>(),
        data: object.data(),
        drop: Some(end_and_call),
        records: Some(records),
        parsed: None,
    }
}

pub fn waker() -> wasm_waker {
    // One of the two is called: both end it.
    wasm_waker { data: objects::make("waker").data(), wake: Some(end), drop: Some(end) }
}

pub fn timer() -> wasm_timer {
    wasm_timer {
        size: size_of::<wasm_timer>(),
        data: objects::make("timer").data(),
        drop: Some(end),
        now: Some(now),
        sleep: Some(sleep),
    }
}

unsafe extern "C" fn now(data: *mut c_void) -> u64 {
    thread_local!(static TIME: Cell<u64> = const { Cell::new(0) });
    // SAFETY: as above.
    unsafe { Object::of(data) }.used();
    TIME.set(TIME.get() + 1_000_000);
    TIME.get()
}

unsafe extern "C" fn sleep(data: *mut c_void, _: u64, lent: *mut wasm_call) -> u32 {
    // SAFETY: as above.
    unsafe { Object::of(data) }.used();
    answer(lent, true)
}

/// Tasks that other threads or wakers have handed over.
static SCHEDULED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Takes what was scheduled.
pub fn take_scheduled() -> Vec<*mut wasm_task> {
    let taken = core::mem::take(&mut *SCHEDULED.lock().expect("no panic"));
    taken.into_iter().map(core::ptr::with_exposed_provenance_mut).collect()
}

unsafe extern "C" fn schedule(data: *mut c_void, task: *mut wasm_task) {
    // SAFETY: as above.
    unsafe { Object::of(data) }.used();
    SCHEDULED.lock().expect("no panic").push(task.expose_provenance());
}

unsafe extern "C" fn complete(data: *mut c_void, status: Status, error: *mut wasm_error, future: *mut wasm_future) {
    // SAFETY: as above.
    unsafe { Object::of(data) }.used();
    Returned { status, error }.status();
    with(|world| {
        let done = (status as u32) == 0 || (status as u32) >= 20;
        world.futures.push(operations::unknown_future(future, done));
    });
    if next() & 1 == 1 {
        nested(null_mut());
    }
}

pub fn executor() -> wasm_executor {
    wasm_executor {
        size: size_of::<wasm_executor>(),
        data: objects::make("executor").data(),
        drop: Some(end),
        schedule: Some(schedule),
    }
}

pub fn completion() -> wasm_completion {
    wasm_completion {
        size: size_of::<wasm_completion>(),
        data: objects::make("completion").data(),
        drop: Some(end),
        complete: Some(complete),
    }
}

pub unsafe extern "C" fn line(_: *mut c_void, line: *const wasm_log_line) {
    // SAFETY: the line is lent.
    let text = unsafe { core::slice::from_raw_parts((*line).text.data, (*line).text.size) };
    assert!(core::str::from_utf8(text).is_ok());
}

/// The host's allocator, which has whole pages.
pub unsafe extern "C" fn allocate(_: *mut c_void, bytes: usize, alignment: usize) -> *mut c_void {
    assert!(alignment <= 4096);
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let memory = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
    if memory == libc::MAP_FAILED { null_mut() } else { memory }
}

pub unsafe extern "C" fn release_memory(_: *mut c_void, memory: *mut c_void, bytes: usize, _used: usize) {
    // SAFETY: what was mapped above.
    assert_eq!(unsafe { libc::munmap(memory, bytes) }, 0);
}

/// A custom engine whose every step is the script's.
pub fn custom_engine() -> wasm_custom_engine {
    wasm_custom_engine {
        size: size_of::<wasm_custom_engine>(),
        data: null_mut(),
        drop: None,
        create: Some(create),
        start: Some(start),
        transform: Some(transform),
        stop: Some(stop),
        release: Some(release),
        memory_size: None,
    }
}

unsafe extern "C" fn create(_: *mut c_void, data: *mut *mut c_void, _: *mut wasm_call) -> u32 {
    if next() % 7 == 6 {
        return Answer::Failed as u32;
    }
    // SAFETY: the library gives room for it.
    unsafe { *data = objects::make("custom engine").data() };
    Answer::Done as u32
}

/// As other callbacks, or *again*.
fn step(lent: *mut wasm_call) -> u32 {
    if next() % 5 == 4 { Answer::Again as u32 } else { answer(lent, true) }
}

unsafe extern "C" fn start(data: *mut c_void, lent: *mut wasm_call) -> u32 {
    // SAFETY: as above.
    unsafe { Object::of(data) }.used();
    step(lent)
}

unsafe extern "C" fn transform(
    data: *mut c_void,
    _: wasm_slice,
    _: u32,
    work: *mut wasm_work,
    lent: *mut wasm_call,
) -> u32 {
    // SAFETY: as above. The work is lent.
    unsafe {
        Object::of(data).used();
        for _ in 0..next() % 6 {
            let mut record: wasm_input_record = zeroed();
            call(|error| wasm_work_next(work, &mut record, error));
            if record.payload.is_null() {
                return Answer::Done as u32;
            }
            let payload = wasm_slice { data: record.payload, size: record.payload_size as usize };
            for _ in 0..next() % 3 {
                if call(|error| wasm_work_write(work, payload, 0, error)) == Status::OutputFull {
                    return Answer::Again as u32;
                }
            }
        }
    }
    step(lent)
}

unsafe extern "C" fn stop(data: *mut c_void) {
    // SAFETY: as above.
    unsafe { Object::of(data) }.used();
    if next() & 7 == 1 {
        nested(null_mut());
    }
}

unsafe extern "C" fn release(data: *mut c_void) {
    // SAFETY: as above.
    unsafe { Object::of(data) }.end();
}
