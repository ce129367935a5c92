//! `wasm_task_*` and `wasm_future_spawn`: the library polls on a loop that the host lends.

use super::error::wasm_error;
use super::future::{wasm_future, wasm_future_poll, wasm_future_release};
use super::{boundary, first_size, sized};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::host::owned::{Owned, host_data};
use crate::host::waker::wasm_waker;
use crate::promise::task::TaskState;
use core::cell::Cell;
use core::ffi::c_void;
use std::sync::Arc;

/// A loop of the host's that runs tasks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_executor {
    /// `sizeof(wasm_executor)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`, once, when the task is gone, on any thread; also if `wasm_future_spawn` fails. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes a task, which it owns from then on, and has `wasm_task_run` called with it once, later, on the thread to which
    /// the future belongs. Called on any thread: the one that spawns, runs, settles or releases a promise, or stops or
    /// releases the engine, which is busy then. Must not throw, and must not run the task itself.
    pub schedule: Option<unsafe extern "C" fn(data: *mut c_void, task: *mut wasm_task)>,
}

/// What is called when a task is over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_completion {
    /// `sizeof(wasm_completion)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`, once, after `complete` or instead of it, on any thread; also if `wasm_future_spawn` fails. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Called at most once, by `wasm_task_run`: with the operation's status; its error, owned, NULL with
    /// `WASM_STATUS_OK`; and the future, owned, for `wasm_future_take_factory` and to be released, also later. With a status
    /// below 20 the operation is not over: see `wasm_task_run`. Must not throw.
    pub complete: Option<
        unsafe extern "C" fn(data: *mut c_void, status: wasm_status, error: *mut wasm_error, future: *mut wasm_future),
    >,
}

/// A future that an executor polls.
pub struct wasm_task {
    state: TaskState,
    /// Touched only between `begin` and the end of a poll, and when the last reference goes.
    future: Cell<*mut wasm_future>,
    // In this order: a completion is told before its loop is given up.
    completion: Owned<wasm_completion>,
    executor: Owned<wasm_executor>,
}

// SAFETY: the state is atomic; `future` is touched by whoever `TaskState` lets poll, and never by two; the header says that
// the executor and the drops are called on any thread.
unsafe impl Send for wasm_task {}
// SAFETY: as above.
unsafe impl Sync for wasm_task {}

host_data!(wasm_executor, wasm_completion);

/// Has `executor` poll the future until it is over, and then calls `completion`. Takes the future over, with
/// `WASM_STATUS_OK`; `executor` and `completion` in any case.
///
/// To cancel, stop or release the engine: the task then completes with `WASM_STATUS_CANCELLED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_spawn(
    future: *mut wasm_future,
    executor: *const wasm_executor,
    completion: *const wasm_completion,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so; and all zeros is valid for both.
        let (executor, completion) = unsafe {
            (
                sized(executor, first_size!(wasm_executor, schedule), "executor"),
                sized(completion, first_size!(wasm_completion, complete), "completion"),
            )
        };
        const NOTHING: wasm_executor =
            wasm_executor { size: 0, data: core::ptr::null_mut(), drop: None, schedule: None };
        const NOBODY: wasm_completion =
            wasm_completion { size: 0, data: core::ptr::null_mut(), drop: None, complete: None };
        // From here on what could be read of them is owned.
        let task = Arc::new(wasm_task {
            state: TaskState::scheduled(),
            future: Cell::new(future),
            // SAFETY: the header says that the host gives the data up.
            executor: unsafe { Owned::new(*executor.as_ref().unwrap_or(&NOTHING)) },
            // SAFETY: as above.
            completion: unsafe { Owned::new(*completion.as_ref().unwrap_or(&NOBODY)) },
        });
        executor?;
        completion?;
        scope.handle(future, "future")?.check_in_progress()?;
        if task.executor.schedule.is_none() || task.completion.complete.is_none() {
            return Err(Error::new(
                wasm_status::NullArgument,
                "the executor's callback schedule or the completion's callback complete is NULL",
            ));
        }
        schedule(task);
        Ok(())
    })
}

/// Hands one reference of a task to its executor.
fn schedule(task: Arc<wasm_task>) {
    if let Some(callback) = task.executor.schedule {
        // Its loop may run and finish the task before the callback has returned, which still uses the executor's data.
        let alive = task.clone();
        // SAFETY: the host gave function and data together; `alive` keeps both until after the call.
        unsafe { callback(alive.executor.data, Arc::into_raw(task).cast_mut()) }
    }
}

/// Polls the task's future once, and either completes the task, or has it scheduled again, or leaves it until it is woken.
/// Takes the task over with `WASM_STATUS_OK`; with `WASM_STATUS_WRONG_THREAD`, `…_INVALID_STATE`, or `…_BUSY` when this is a
/// callback of the engine that the task would poll, nothing happens, and it is still to be run.
///
/// On a thread that cannot run guests the task completes with `WASM_STATUS_SIGNALS_BLOCKED` or
/// `WASM_STATUS_THREAD_NOT_PREPARED`, though its operation is not over: the future can be spawned again, or released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_run(task: *mut wasm_task, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        let borrowed = scope.handle(task, "task")?;
        if !borrowed.state.begin() {
            return Err(Error::new(wasm_status::InvalidState, "the task was not scheduled, or runs already"));
        }
        // SAFETY: between `begin` and the end of the poll the future is this call's.
        let here = scope.handle(borrowed.future.get(), "future").and_then(|future| future.check_thread());
        if let Err(e) = here {
            borrowed.state.again();
            return Err(e);
        }
        let mut state = wasm_poll::Ready;
        let mut story = core::ptr::null_mut();
        let future = borrowed.future.get();
        // SAFETY: the executor's reference keeps the task alive; this is another one, for the waker.
        unsafe { Arc::increment_strong_count(task.cast_const()) };
        let waker = wasm_waker { data: task.cast(), wake: Some(wake_task), drop: Some(drop_waker) };
        // SAFETY: the task owns the future, and the thread was checked; the other arguments are on this stack.
        let status = unsafe { wasm_future_poll(future, &raw const waker, &raw mut state, &raw mut story) };
        if status == wasm_status::Busy {
            borrowed.state.again();
            return super::error::take(status, story);
        }
        // SAFETY: the executor owns one reference, and gives it back here.
        let task = unsafe { Arc::from_raw(task.cast_const()) };
        match (status, state) {
            (wasm_status::Ok, wasm_poll::Pending) => {
                if task.state.pend() {
                    schedule(task);
                }
            }
            (wasm_status::Ok, wasm_poll::Yielded) => {
                task.state.again();
                schedule(task);
            }
            _ => {
                task.state.finish();
                task.future.set(core::ptr::null_mut());
                if let Some(complete) = task.completion.complete {
                    // SAFETY: the host gave function and data together; error and future are handed over.
                    unsafe { complete(task.completion.data, status, story, future) }
                }
            }
        }
        Ok(())
    })
}

unsafe extern "C" fn wake_task(data: *mut c_void) {
    // SAFETY: the data of the waker is one reference of the task.
    let task = unsafe { Arc::from_raw(data.cast_const().cast::<wasm_task>()) };
    if task.state.wake() {
        schedule(task);
    }
}

unsafe extern "C" fn drop_waker(data: *mut c_void) {
    // SAFETY: as above.
    let task = unsafe { Arc::from_raw(data.cast_const().cast::<wasm_task>()) };
    if task.state.abandon() {
        schedule(task);
    }
}

/// Gives a scheduled task back without running it: the loop is going down. The operation is cancelled, `complete` is not
/// called. To be called on the future's thread; elsewhere `WASM_STATUS_WRONG_THREAD`, with a task that is not scheduled
/// `…_INVALID_STATE`, from a callback of its engine `…_BUSY`, and nothing happens. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_release(task: *mut wasm_task, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        if task.is_null() {
            return Ok(());
        }
        let borrowed = scope.handle(task, "task")?;
        if !borrowed.state.begin() {
            return Err(Error::new(wasm_status::InvalidState, "the task was not scheduled, or runs already"));
        }
        let released: Result<()> = (|| {
            let future = borrowed.future.get();
            scope.handle(future, "future")?.check_thread()?;
            let mut error = core::ptr::null_mut();
            // SAFETY: the task owns the future, and this is its thread.
            let status = unsafe { wasm_future_release(future, &raw mut error) };
            super::error::take(status, error)
        })();
        if let Err(e) = released {
            borrowed.state.again();
            return Err(e);
        }
        borrowed.state.finish();
        borrowed.future.set(core::ptr::null_mut());
        // SAFETY: the executor owns one reference, and gives it back here.
        drop(unsafe { Arc::from_raw(task.cast_const()) });
        Ok(())
    })
}
