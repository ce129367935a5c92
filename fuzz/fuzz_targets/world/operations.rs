//! The operations of a script, each with what the header says of it.

use super::objects::{self, Object};
use super::{Engine, Future, Kind, World, call, callbacks, fixture, next as byte, tasks, with};
use core::ptr::{null, null_mut};
use std::rc::Rc;
use std::thread;
use wasm_engine_fuzz::abi::bytes::wasm_bytes_release;
use wasm_engine_fuzz::abi::engine::{
    wasm_engine, wasm_engine_config, wasm_engine_create, wasm_engine_get_memory_size, wasm_engine_get_state,
    wasm_engine_release, wasm_engine_replace, wasm_engine_start, wasm_engine_stop, wasm_engine_transform,
    wasm_engine_transform_and_poll, wasm_transform_args,
};
use wasm_engine_fuzz::abi::error::wasm_error_release;
use wasm_engine_fuzz::abi::future::{wasm_future, wasm_future_poll, wasm_future_release};
use wasm_engine_fuzz::abi::metrics::wasm_runtime_metrics_text;
use wasm_engine_fuzz::abi::policy::{
    wasm_engine_get_last_error, wasm_engine_get_stats, wasm_engine_policy, wasm_engine_set_policy, wasm_engine_stats,
};
use wasm_engine_fuzz::abi::profile::{wasm_engine_finish_profile, wasm_engine_start_profile};
use wasm_engine_fuzz::abi::promise::{
    wasm_promise_reject, wasm_promise_release, wasm_promise_resolve, wasm_promise_resolve_values,
};
use wasm_engine_fuzz::base::state::{wasm_engine_state as State, wasm_poll as Poll};
use wasm_engine_fuzz::base::status::wasm_status as Status;
use wasm_engine_fuzz::calls::{slice, zeroed};
use wasm_engine_fuzz::host::call::wasm_promise;
use wasm_engine_fuzz::host::value::wasm_value;

/// Engines that a script has at a time.
const ENGINES: usize = 4;

// SAFETY of all operations: handles are the host's until they are released. Arguments live as long as the header wants.

/// The next operation of the script.
pub fn next() {
    let scheduled = callbacks::take_scheduled();
    with(|world| {
        world.tasks.extend(scheduled);
        world.operations += 1;
    });
    let operation = byte();
    let flag = operation & 0x80 != 0;
    match operation % 32 {
        0 | 1 => create(operation & 0x40 != 0),
        2 | 3 => start(),
        4..=6 => transform(flag),
        7..=12 => poll(flag),
        13 => release_future(),
        14 => stop(),
        15 => release_engine(),
        16..=19 => settle(),
        20 => set_policy(),
        21 => replace(),
        22 => tasks::spawn(flag),
        23..=25 => tasks::run(),
        26 => tasks::release(),
        27 => tasks::abort(),
        28 => read(),
        29 => on_another_thread(),
        _ => transform_and_poll(flag),
    }
}

/// One of the host's handles, chosen by the script.
pub fn pick<T>(of: impl FnOnce(&mut World) -> &mut Vec<T>) -> Option<usize> {
    let choice = usize::from(byte());
    with(|world| {
        let count = of(world).len();
        (count > 0).then(|| choice % count)
    })
}

fn pick_engine() -> Option<*mut wasm_engine> {
    let index = pick(|world| &mut world.engines)?;
    Some(with(|world| world.engines[index].handle))
}

/// The call comes from one of the engine's own callbacks.
fn is_inside(engine: *mut wasm_engine) -> bool {
    !engine.is_null() && with(|world| world.inside.contains(&engine))
}

/// The call came from a callback. Those that drop host data do not tell their engine.
pub fn expect_busy(status: Status) {
    assert_eq!(status, Status::Busy);
    assert!(with(|world| !world.inside.is_empty()), "BUSY outside of callbacks");
}

/// Changes an engine in the list, if it is still there.
fn change(engine: *mut wasm_engine, what: impl FnOnce(&mut Engine)) {
    with(|world| world.engines.iter_mut().find(|one| one.handle == engine).map(what));
}

fn create(shared: bool) {
    if with(|world| world.engines.len()) >= ENGINES {
        return;
    }
    let which = usize::from(byte()) % 3;
    let config = wasm_engine_config { size: size_of::<wasm_engine_config>(), shared: shared.into() };
    let mut handle = null_mut();
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_engine_create(fixture().factories[which], &config, &mut handle, error) });
    assert_eq!(status == Status::Ok, !handle.is_null(), "out-parameters are written on success only");
    if status == Status::Ok {
        with(|world| world.engines.push(Engine { handle, shared, plain: which < 2 }));
    }
}

/// Begins an operation on an engine: a future exactly with OK, and BUSY from the engine's own callbacks.
fn begin(
    engine: *mut wasm_engine,
    kind: Kind,
    sink: Option<Rc<Object>>,
    export: impl FnOnce(*mut *mut wasm_future, *mut *mut wasm_engine_fuzz::abi::error::wasm_error) -> Status,
) -> Status {
    let was_inside = is_inside(engine);
    let mut handle = null_mut();
    let status = call(|error| export(&raw mut handle, error));
    assert_eq!(status == Status::Ok, !handle.is_null(), "out-parameters are written on success only");
    assert!(!was_inside || status == Status::Busy, "{status:?} from one of the engine's own callbacks");
    if status == Status::Ok {
        with(|world| world.futures.push(Future { handle, engine, kind, done: false, sink }));
    } else {
        // A replacement makes an engine, which a custom factory may refuse.
        let refused = kind == Kind::Replace && status == Status::CustomEngineFailed;
        assert!((status as u32) < 20 || may_begin_with(status) || refused, "{status:?}");
    }
    status
}

/// What a call that begins an operation may return beside what says that it had no effect.
fn may_begin_with(status: Status) -> bool {
    (status as u32) >= 70 || matches!(status, Status::PoolExhausted | Status::OutOfMemory)
}

fn start() {
    let Some(engine) = pick_engine() else { return };
    // SAFETY: as above.
    begin(engine, Kind::Start, None, |future, error| unsafe { wasm_engine_start(engine, future, error) });
}

fn stop() {
    let Some(engine) = pick_engine() else { return };
    // SAFETY: as above.
    begin(engine, Kind::Stop, None, |future, error| unsafe { wasm_engine_stop(engine, future, error) });
}

fn replace() {
    let Some(engine) = pick_engine() else { return };
    let factory = fixture().factories[usize::from(byte()) % 3];
    // SAFETY: as above.
    let replaced = begin(engine, Kind::Replace, None, |future, error| unsafe {
        wasm_engine_replace(engine, factory, future, error)
    });
    if replaced == Status::Ok {
        change(engine, |one| one.plain = false);
    }
}

/// The arguments of a transform and its sink.
fn input(later: bool) -> (wasm_transform_args, Rc<Object>) {
    let batches = &fixture().batches;
    let batch = &batches[usize::from(byte()) % batches.len()];
    let first = u32::from(later);
    let sink = objects::sink(batch.values, first);
    let args = wasm_transform_args {
        size: size_of::<wasm_transform_args>(),
        batch: slice(&batch.bytes),
        sink: null(),
        first_record: first,
    };
    (args, sink)
}

fn transform(later: bool) {
    let Some(engine) = pick_engine() else { return };
    let (mut args, object) = input(later);
    let sink = callbacks::sink(&object);
    args.sink = &raw const sink;
    // SAFETY: as above. Batches live as long as the process.
    begin(engine, Kind::Transform, Some(object), |future, error| unsafe {
        wasm_engine_transform(engine, &args, future, error)
    });
}

fn transform_and_poll(later: bool) {
    let Some(engine) = pick_engine() else { return };
    let was_inside = is_inside(engine);
    let (mut args, object) = input(later);
    let sink = callbacks::sink(&object);
    args.sink = &raw const sink;
    let waker = callbacks::waker();
    let (mut handle, mut state) = (null_mut(), Poll::Yielded);
    let before = with(|world| world.operations);
    // SAFETY: as above.
    let status =
        call(|error| unsafe { wasm_engine_transform_and_poll(engine, &args, &waker, &mut state, &mut handle, error) });
    assert!(!was_inside || status == Status::Busy, "{status:?} from one of the engine's own callbacks");
    if status != Status::Ok {
        assert!(handle.is_null(), "there is no future after an error");
        return;
    }
    assert_eq!(handle.is_null(), state == Poll::Ready, "there is a future exactly if the operation goes on");
    if handle.is_null() {
        check_ready(engine, Kind::Transform, Some(&object), before);
    } else {
        let future = Future { handle, engine, kind: Kind::Transform, done: false, sink: Some(object) };
        with(|world| world.futures.push(future));
    }
}

fn poll(with_waker: bool) {
    let Some(index) = pick(|world| &mut world.futures) else { return };
    let (handle, engine, kind, done, sink, before) = with(|world| {
        let one = &world.futures[index];
        (one.handle, one.engine, one.kind, one.done, one.sink.clone(), world.operations)
    });
    let was_inside = is_inside(engine);
    let waker = with_waker.then(callbacks::waker);
    let mut state = Poll::Yielded;
    // SAFETY: as above.
    let status = call(|error| unsafe {
        wasm_future_poll(handle, waker.as_ref().map_or(null(), |waker| &raw const *waker), &mut state, error)
    });
    // A stop is complete when it has been begun: polling its future leaves the engine alone.
    if was_inside && kind != Kind::Stop {
        let expected = matches!(status, Status::Busy | Status::InvalidState);
        assert!(expected, "{status:?} of {kind:?} from a callback of its engine");
        return;
    }
    assert!(!done || status == Status::InvalidState, "{status:?} of a future that was ready or has failed");
    let had_no_effect = (1..20).contains(&(status as u32));
    if status == Status::Ok && state != Poll::Ready || had_no_effect {
        return;
    }
    with(|world| {
        if let Some(one) = world.futures.iter_mut().find(|one| one.handle == handle) {
            one.done = true;
        }
    });
    if status == Status::Ok {
        check_ready(engine, kind, sink.as_ref(), before);
    } else {
        check_failed(engine, kind, status, before);
    }
}

/// What is known of an engine: its state and whether it is plain. Nothing if it was released, if others use its guest or
/// if callbacks have called the library since `before`.
fn known(engine: *mut wasm_engine, before: u32) -> Option<(State, bool)> {
    let plain = with(|world| {
        let one = world.engines.iter().find(|one| one.handle == engine)?;
        (!one.shared && world.operations == before).then_some(one.plain)
    })?;
    let mut state = State::Stopped;
    // SAFETY: as above.
    assert_eq!(call(|error| unsafe { wasm_engine_get_state(engine, &mut state, error) }), Status::Ok);
    Some((state, plain))
}

fn check_ready(engine: *mut wasm_engine, kind: Kind, sink: Option<&Rc<Object>>, before: u32) {
    let Some((state, true)) = known(engine, before) else { return };
    // A stop may have been followed by a start.
    if matches!(kind, Kind::Start | Kind::Transform) {
        assert_eq!(state, State::Idle);
    }
    if let Some(sink) = sink {
        sink.check_complete();
    }
}

fn check_failed(engine: *mut wasm_engine, kind: Kind, status: Status, before: u32) {
    let Some((state, plain)) = known(engine, before) else { return };
    let refused = (70..90).contains(&(status as u32));
    // A stop may have come before, and a start after it.
    if plain && kind == Kind::Transform && status != Status::Cancelled {
        assert_eq!(state, if refused { State::Idle } else { State::Stopped }, "after {status:?}");
    }
}

fn release_future() {
    let Some(index) = pick(|world| &mut world.futures) else { return };
    let future = with(|world| world.futures.swap_remove(index));
    let was_inside = is_inside(future.engine);
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_future_release(future.handle, error) });
    if status == Status::Ok {
        assert!(!was_inside || future.done || future.kind != Kind::Transform, "a future of an engine that is busy");
    } else {
        expect_busy(status);
        with(|world| world.futures.push(future));
    }
}

fn release_engine() {
    let Some(index) = pick(|world| &mut world.engines) else { return };
    let engine = with(|world| world.engines.swap_remove(index));
    let was_inside = is_inside(engine.handle);
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_engine_release(engine.handle, error) });
    if was_inside {
        assert_eq!(status, Status::Busy);
    }
    if status == Status::Ok {
        // Its futures stay. Another engine may get its address.
        with(|world| {
            for future in world.futures.iter_mut().filter(|future| future.engine == engine.handle) {
                future.engine = null_mut();
            }
        });
    } else {
        expect_busy(status);
        with(|world| world.engines.push(engine));
    }
}

/// Settles a promise, on another thread or here, and releases it.
fn settle() {
    let Some(index) = pick(|world| &mut world.promises) else { return };
    let promise = with(|world| world.promises.swap_remove(index)).expose_provenance();
    let how = byte();
    let settle = move || {
        let promise = core::ptr::with_exposed_provenance_mut::<wasm_promise>(promise);
        let value = wasm_value { i64: 0 };
        let once = || {
            // SAFETY: as above.
            call(|error| unsafe {
                match how % 4 {
                    0 | 1 => wasm_promise_resolve_values(promise, &value, 1, error),
                    2 => wasm_promise_reject(promise, slice(b"no"), error),
                    _ => Status::Ok,
                }
            })
        };
        let mut status = once();
        if status == Status::InvalidArgument {
            // It is not a host function's.
            // SAFETY: as above.
            status = call(|error| unsafe { wasm_promise_resolve(promise, error) });
        }
        assert_eq!(status, Status::Ok);
        if how & 0x20 != 0 && how % 4 == 2 {
            assert_eq!(once(), Status::PromiseSettled);
        }
        // SAFETY: as above.
        unsafe { wasm_promise_release(promise) };
    };
    if how & 0x40 != 0 { thread::spawn(settle).join().expect("no panic") } else { settle() }
}

fn set_policy() {
    let Some(engine) = pick_engine() else { return };
    let timer = callbacks::timer();
    // SAFETY: integers and pointers.
    let mut policy: wasm_engine_policy = unsafe { zeroed() };
    policy.size = size_of::<wasm_engine_policy>();
    policy.on_error = u32::from(byte()) % 3;
    (policy.backoff_min_ns, policy.backoff_max_ns) = (1, 5);
    policy.timer = &raw const timer;
    let thresholds = byte();
    if thresholds & 1 != 0 && policy.on_error != 0 {
        (policy.lost_max, policy.lost_window) = (u32::from(thresholds >> 1 & 3), 6);
    }
    if thresholds & 0x10 != 0 {
        (policy.restart_max, policy.restart_window_ns) = (2, 1 << 40);
        policy.open_ns = 5_000_000;
        policy.half_open_records = 2;
    }
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_engine_set_policy(engine, &policy, error) });
    match status {
        Status::Ok => change(engine, |one| one.plain = false),
        Status::Busy | Status::InvalidState => {}
        other => panic!("{other:?}"),
    }
}

/// A future of a task that has completed.
pub fn unknown_future(handle: *mut wasm_future, done: bool) -> Future {
    Future { handle, engine: null_mut(), kind: Kind::Replace, done, sink: None }
}

/// What only reads.
fn read() {
    let Some(engine) = pick_engine() else { return };
    // SAFETY: as above.
    unsafe {
        match byte() % 6 {
            0 => {
                let mut bytes = 0;
                assert_eq!(call(|error| wasm_engine_get_memory_size(engine, &mut bytes, error)), Status::Ok);
                assert!(bytes <= 1 << 20);
            }
            1 => {
                call(|error| wasm_engine_start_profile(engine, 1, error));
            }
            2 => {
                let mut json = null_mut();
                let status = call(|error| wasm_engine_finish_profile(engine, &mut json, error));
                assert_eq!(status == Status::Ok, !json.is_null());
                wasm_bytes_release(json);
            }
            3 => {
                let mut text = null_mut();
                let runtime = fixture().runtime;
                assert_eq!(call(|error| wasm_runtime_metrics_text(runtime, &mut text, error)), Status::Ok);
                wasm_bytes_release(text);
            }
            4 => {
                let mut last = null_mut();
                assert_eq!(call(|error| wasm_engine_get_last_error(engine, &mut last, error)), Status::Ok);
                wasm_error_release(last);
            }
            _ => {
                let mut stats: wasm_engine_stats = zeroed();
                stats.size = size_of::<wasm_engine_stats>();
                assert_eq!(call(|error| wasm_engine_get_stats(engine, &mut stats, error)), Status::Ok);
            }
        }
    }
}

/// An engine and its futures belong to their thread.
fn on_another_thread() {
    let engine = pick_engine().map(|engine| engine.expose_provenance());
    let future = pick(|world| &mut world.futures)
        .and_then(|index| with(|world| (!world.futures[index].engine.is_null()).then(|| world.futures[index].handle)))
        .map(|future| future.expose_provenance());
    let elsewhere = move || {
        // SAFETY: as above. What is of another thread is refused.
        unsafe {
            if let Some(engine) = engine {
                let engine = core::ptr::with_exposed_provenance_mut(engine);
                assert_eq!(call(|error| wasm_engine_release(engine, error)), Status::WrongThread);
            }
            if let Some(future) = future {
                let (future, mut state) = (core::ptr::with_exposed_provenance_mut(future), Poll::Ready);
                let status = call(|error| wasm_future_poll(future, null(), &mut state, error));
                assert_eq!(status, Status::WrongThread);
            }
        }
    };
    thread::spawn(elsewhere).join().expect("no panic");
}

pub fn release_futures() {
    while let Some(future) = with(|world| world.futures.pop()) {
        // SAFETY: as above.
        assert_eq!(call(|error| unsafe { wasm_future_release(future.handle, error) }), Status::Ok);
    }
}

pub fn release_engines() {
    while let Some(engine) = with(|world| world.engines.pop()) {
        // SAFETY: as above.
        assert_eq!(call(|error| unsafe { wasm_engine_release(engine.handle, error) }), Status::Ok);
    }
}

pub fn release_promises() {
    while let Some(promise) = with(|world| world.promises.pop()) {
        // SAFETY: as above.
        unsafe { wasm_promise_release(promise) };
    }
}
