//! Operations on tasks: futures that an executor of the host's drives.

use super::operations::{expect_busy, pick};
use super::{call, callbacks, with};
use core::ptr::null_mut;
use wasm_engine_fuzz::abi::task::{
    wasm_future_spawn, wasm_future_spawn_abortable, wasm_task_handle_abort, wasm_task_handle_release,
    wasm_task_release, wasm_task_run,
};
use wasm_engine_fuzz::base::status::wasm_status as Status;

// SAFETY of all operations: handles are the host's until they are released. Arguments live as long as the header wants.

pub fn spawn(abortable: bool) {
    let Some(index) = pick(|world| &mut world.futures) else { return };
    let future = with(|world| world.futures.swap_remove(index));
    let (executor, completion) = (callbacks::executor(), callbacks::completion());
    let mut handle = null_mut();
    // SAFETY: as above.
    let status = call(|error| unsafe {
        if abortable {
            wasm_future_spawn_abortable(future.handle, &executor, &completion, &mut handle, error)
        } else {
            wasm_future_spawn(future.handle, &executor, &completion, error)
        }
    });
    assert_eq!(!handle.is_null(), abortable && status == Status::Ok);
    if status != Status::Ok {
        with(|world| world.futures.push(future));
    }
    if !handle.is_null() {
        with(|world| world.handles.push(handle));
    }
}

pub fn run() {
    let Some(index) = pick(|world| &mut world.tasks) else { return };
    let task = with(|world| world.tasks.swap_remove(index));
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_task_run(task, error) });
    if status != Status::Ok {
        expect_busy(status);
        with(|world| world.tasks.push(task));
    }
}

pub fn release() {
    let Some(index) = pick(|world| &mut world.tasks) else { return };
    let task = with(|world| world.tasks.swap_remove(index));
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_task_release(task, error) });
    if status != Status::Ok {
        expect_busy(status);
        with(|world| world.tasks.push(task));
    }
}

pub fn abort() {
    let Some(index) = pick(|world| &mut world.handles) else { return };
    let handle = with(|world| world.handles.swap_remove(index));
    // SAFETY: as above.
    let status = call(|error| unsafe { wasm_task_handle_abort(handle, error) });
    assert!(matches!(status, Status::Ok | Status::InvalidState | Status::Busy), "{status:?}");
    // SAFETY: as above.
    unsafe { wasm_task_handle_release(handle) };
}

/// All that are left.
pub fn release_all() {
    while let Some(handle) = with(|world| world.handles.pop()) {
        // SAFETY: as above.
        unsafe { wasm_task_handle_release(handle) };
    }
    loop {
        let scheduled = callbacks::take_scheduled();
        with(|world| world.tasks.extend(scheduled));
        let Some(task) = with(|world| world.tasks.pop()) else { return };
        // SAFETY: as above.
        assert_eq!(call(|error| unsafe { wasm_task_release(task, error) }), Status::Ok);
    }
}
