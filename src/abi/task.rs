//! Tasks: the library polls futures on an event loop that the host lends. The host then needs no polling and no wakers
//! of its own.

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

/// An event loop of the host that runs tasks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_executor {
    /// `sizeof(wasm_executor)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once on any thread when the task is gone or when `wasm_future_spawn` fails. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes ownership of a task. Must have `wasm_task_run` called with it once, later, on the future's thread. Called
    /// on any thread: the one that spawns or runs the task, the one that settles or releases a promise or the one that
    /// stops or releases the engine, which is busy then. Must not throw and must not run the task itself.
    pub schedule: Option<unsafe extern "C" fn(data: *mut c_void, task: *mut wasm_task)>,
}

/// What is called when a task has completed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_completion {
    /// `sizeof(wasm_completion)`.
    pub size: usize,
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`. Called once on any thread: after `complete` or instead of it or when `wasm_future_spawn` fails.
    /// May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Called at most once by `wasm_task_run`. Receives the operation's status. Receives its error, owned, or NULL with
    /// `WASM_STATUS_OK`. Receives the future, owned, for `wasm_future_take_factory`. The host releases it then or
    /// later. With a status below 20 other than `WASM_STATUS_OK` the operation has not completed: see `wasm_task_run`.
    /// Must not throw.
    pub complete: Option<
        unsafe extern "C" fn(data: *mut c_void, status: wasm_status, error: *mut wasm_error, future: *mut wasm_future),
    >,
}

/// A future that an executor polls. Owned by the executor between `schedule` and `wasm_task_run`.
pub struct wasm_task {
    state: TaskState,
    /// Accessed only between `begin` and the end of a poll.
    future: Cell<*mut wasm_future>,
    // In this order: the completion is dropped before its loop.
    completion: Owned<wasm_completion>,
    executor: Owned<wasm_executor>,
}

// SAFETY: the state is atomic. `future` is accessed only by the thread that `TaskState` lets poll and never by two. The
// header says that the executor and the drops are called on any thread.
unsafe impl Send for wasm_task {}
// SAFETY: as above.
unsafe impl Sync for wasm_task {}

host_data!(wasm_executor, wasm_completion);

/// Has `executor` poll the future until the operation completes and then calls `completion`. With `WASM_STATUS_OK`
/// takes the future over. Takes `executor` and `completion` over in any case. To be called on any thread that may use
/// the future.
///
/// To cancel, stop or release the engine. The task then completes with `WASM_STATUS_CANCELLED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_spawn(
    future: *mut wasm_future,
    executor: *const wasm_executor,
    completion: *const wasm_completion,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so. All zeros is valid for both.
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

/// Passes one reference of a task to its executor.
fn schedule(task: Arc<wasm_task>) {
    if let Some(callback) = task.executor.schedule {
        // The loop may run and finish the task before the callback has returned. The callback still uses the executor's
        // data.
        let alive = task.clone();
        // SAFETY: the host passed function and data together. `alive` keeps both until after the call.
        unsafe { callback(alive.executor.data, Arc::into_raw(task).cast_mut()) }
    }
}

/// Polls the task's future once. Then the task completes or it is scheduled again or it waits for its waker. Takes the
/// task over with `WASM_STATUS_OK`. With `WASM_STATUS_WRONG_THREAD`, `…_INVALID_STATE` or `…_BUSY` nothing happens and
/// the task must still be run. `…_BUSY` means that the call comes from one of the callbacks of the task's own engine.
///
/// On a thread that cannot run guests the task completes with `WASM_STATUS_SIGNALS_BLOCKED` or
/// `WASM_STATUS_THREAD_NOT_PREPARED` although its operation has not completed. The future can be spawned again or
/// released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_run(task: *mut wasm_task, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        let borrowed = scope.handle(task, "task")?;
        if !borrowed.state.begin() {
            return Err(Error::new(wasm_status::InvalidState, "the task was not scheduled, or runs already"));
        }
        // SAFETY: the future belongs to this call between `begin` and the end of the poll.
        let here = scope.handle(borrowed.future.get(), "future").and_then(|future| future.check_thread());
        if let Err(e) = here {
            borrowed.state.again();
            return Err(e);
        }
        let mut state = wasm_poll::Ready;
        let mut details = core::ptr::null_mut();
        let future = borrowed.future.get();
        // SAFETY: the executor's reference keeps the task alive. This is another one for the waker.
        unsafe { Arc::increment_strong_count(task.cast_const()) };
        let waker = wasm_waker { data: task.cast(), wake: Some(wake_task), drop: Some(drop_waker) };
        // SAFETY: the task owns the future and the thread was checked. The other arguments are on this stack.
        let status = unsafe { wasm_future_poll(future, &raw const waker, &raw mut state, &raw mut details) };
        if status == wasm_status::Busy {
            borrowed.state.again();
            return super::error::take(status, details);
        }
        // SAFETY: the executor owns one reference and gives it back here.
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
                    // SAFETY: the host passed function and data together. It takes over error and future.
                    unsafe { complete(task.completion.data, status, details, future) }
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

/// Releases a scheduled task without running it because the loop ends. The operation is cancelled and `complete` is not
/// called. To be called on the future's thread. On another thread `WASM_STATUS_WRONG_THREAD`. `…_INVALID_STATE` if the
/// task is not scheduled. `…_BUSY` from one of the callbacks of its engine. Nothing happens in these cases. NULL does
/// nothing.
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
        // SAFETY: the executor owns one reference and gives it back here.
        drop(unsafe { Arc::from_raw(task.cast_const()) });
        Ok(())
    })
}
