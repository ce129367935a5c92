//! Tasks: the library polls futures on an event loop that the host lends. The host then needs no polling and no wakers
//! of its own.

use super::error::wasm_error;
use super::future::{wasm_future, wasm_future_poll, wasm_future_release};
use super::{Out, boundary, first_size, sized};
use crate::base::error::{Error, Result};
use crate::base::state::wasm_poll;
use crate::base::status::wasm_status;
use crate::base::thread_mark::ThreadMark;
use crate::host::owned::{Owned, host_data};
use crate::host::slice::CallScope;
use crate::host::waker::wasm_waker;
use crate::promise::task::{Abort, Begun, Next, TaskState};
use core::cell::{Cell, UnsafeCell};
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
    /// Frees `data`. Called once when the task has ended or when spawning fails: on the thread that runs, releases or
    /// aborts the task, after the completion's `drop` and never while `schedule` runs. May be NULL.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Takes ownership of a task. Must have `wasm_task_run` called with it once, later, on the future's thread. Called
    /// on any thread: the one that spawns or runs the task, the one that settles or releases a promise or the one that
    /// stops or releases the engine, which is busy then. Must not throw and must not run the task itself. May release
    /// the task with `wasm_task_release` because the loop is gone: `drop` is called when this has returned. The end of
    /// a task waits until this has returned on every other thread. So do not run or abort a task with a lock that it
    /// takes.
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
    /// Frees `data`. Called once after `complete` or instead of it or when spawning fails: on the thread that runs,
    /// releases or aborts the task. May be NULL. Running, releasing or aborting a task that another thread aborts waits
    /// for this call. So do not do that with a lock that it takes.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// Called at most once by `wasm_task_run` when no `schedule` of the task runs any more. Receives the operation's
    /// status. Receives its error, owned, or NULL with `WASM_STATUS_OK`. Receives the future, owned, for
    /// `wasm_future_take_factory`. The host releases it then or later. With a status below 20 other than
    /// `WASM_STATUS_OK` the operation has not completed: see `wasm_task_run`. Must not throw.
    pub complete: Option<
        unsafe extern "C" fn(data: *mut c_void, status: wasm_status, error: *mut wasm_error, future: *mut wasm_future),
    >,
}

/// A future that an executor polls. Owned by the executor between `schedule` and `wasm_task_run`.
pub struct wasm_task {
    state: TaskState,
    /// The only thread that may use the future. None for a compilation.
    thread: Option<ThreadMark>,
    /// Accessed only by whom the state lets: between `begin` and the end of a poll or after an abort.
    future: Cell<*mut wasm_future>,
    /// Taken at the task's end because wakers and handles keep the task longer.
    // In this order: the completion is dropped before its loop.
    completion: UnsafeCell<Option<Owned<wasm_completion>>>,
    executor: UnsafeCell<Option<Owned<wasm_executor>>>,
}

// SAFETY: the state is atomic. It lets one thread at a time access `future` and `completion`. Threads share `executor`
// for counted calls and one of them takes it: behind the last call or in it. A future that has a thread is used there
// only: the exports check that. The header says on which threads the callbacks and drops of the two tables are called.
unsafe impl Send for wasm_task {}
// SAFETY: as above.
unsafe impl Sync for wasm_task {}

/// A reference to a task by which it can be aborted. Owned by the host.
pub struct wasm_task_handle(
    /// The pointer is that of a task.
    (),
);

host_data!(wasm_executor, wasm_completion);

impl wasm_task {
    fn check_thread(&self) -> Result<()> {
        self.thread.map_or(Ok(()), ThreadMark::check)
    }

    /// Releases the future. Only for whom the state lets. Runs code of the host, which may release handles of the task.
    fn cancel(&self) -> Result<()> {
        let mut error = core::ptr::null_mut();
        // SAFETY: the task owns the future until it is released. The caller checked the thread. The state lets nobody
        // else use the future until the caller has told it the outcome.
        let status = unsafe { wasm_future_release(self.future.get(), &raw mut error) };
        super::error::take(status, error)?;
        self.future.set(core::ptr::null_mut());
        Ok(())
    }

    /// Drops the completion.
    fn drop_completion(&self) {
        // SAFETY: the caller ends the task. The state has one such thread and has the others wait for it.
        drop(unsafe { (*self.completion.get()).take() });
    }

    /// Drops the executor when nothing is in its `schedule`. For a thread whose calls are not counted.
    fn drop_executor(&self) {
        if inside::is(self) {
            // The calls of other threads may wait for the one that this thread is in.
            self.state.leave();
            return;
        }
        self.state.await_calls(0);
        self.take_executor();
    }

    /// Drops the executor.
    fn take_executor(&self) {
        // SAFETY: the task has ended. No call that uses the executor is left and none begins.
        drop(unsafe { (*self.executor.get()).take() });
    }

    /// Makes a call that the state counts.
    fn call(&self, callback: impl FnOnce()) {
        inside::call(self, || {
            callback();
            if self.state.called() {
                self.take_executor();
                // Nothing is left to this one.
                let _ = self.state.called();
            }
        });
    }

    /// Cancels a task that was aborted while this thread polled it.
    fn end_aborted(&self) {
        self.state.await_calls(0);
        // This thread has polled. So the engine was not busy and is not busy now.
        let _ = self.cancel();
        self.drop_completion();
        self.drop_executor();
    }
}

/// Cancels and drops a task that its executor gives back unpolled. If the future refuses, nothing happens.
///
/// # Safety
///
/// `task` is the executor's reference. The state lets the caller use the future.
unsafe fn cancel_unpolled(task: *mut wasm_task) -> Result<()> {
    // SAFETY: the caller says so. The reference is given back if the future refuses.
    let task = unsafe { Arc::from_raw(task.cast_const()) };
    if let Err(e) = task.cancel() {
        task.state.refuse();
        let _ = Arc::into_raw(task);
        return Err(e);
    }
    task.state.end();
    if !inside::is(&raw const *task) {
        task.state.await_calls(0);
    }
    task.drop_completion();
    task.drop_executor();
    Ok(())
}

/// The tasks whose callbacks this thread is in. A host with stacks of its own may leave them in any order.
mod inside {
    use super::wasm_task;
    use core::cell::Cell;

    /// One callback on the stack of this thread. They are linked so that there may be any number.
    struct Frame {
        task: *const wasm_task,
        below: Cell<*const Self>,
    }

    thread_local! {
        static TOP: Cell<*const Frame> = const { Cell::new(core::ptr::null()) };
    }

    impl Drop for Frame {
        fn drop(&mut self) {
            let (me, below) = (&raw const *self, self.below.get());
            if core::ptr::eq(TOP.get(), me) {
                TOP.set(below);
            } else if let Some(above) = frames().find(|f| core::ptr::eq(f.below.get(), me)) {
                above.below.set(below);
            }
        }
    }

    /// Runs a callback of `task`.
    pub fn call(task: *const wasm_task, callback: impl FnOnce()) {
        let frame = Frame { task, below: Cell::new(TOP.get()) };
        TOP.set(&raw const frame);
        callback();
    }

    /// Whether this thread is in a callback of `task`.
    pub fn is(task: *const wasm_task) -> bool {
        frames().any(|f| core::ptr::eq(f.task, task))
    }

    fn frames<'a>() -> impl Iterator<Item = &'a Frame> {
        // SAFETY: a frame is on the stack of the call that links it and unlinks itself before it goes. Only this thread
        // changes its list and it does not while it iterates.
        let frame = |pointer: *const Frame| unsafe { pointer.as_ref() };
        core::iter::successors(frame(TOP.get()), move |f| frame(f.below.get()))
    }
}

/// Has `executor` poll the future until the operation completes and then calls `completion`. With `WASM_STATUS_OK`
/// takes the future over. Takes `executor` and `completion` over in any case. To be called on any thread that may use
/// the future.
///
/// To cancel, stop or release the engine. The task then completes with `WASM_STATUS_CANCELLED`. A compilation has no
/// engine: use `wasm_future_spawn_abortable`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_spawn(
    future: *mut wasm_future,
    executor: *const wasm_executor,
    completion: *const wasm_completion,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let task = unsafe { owning(future, executor, completion) };
        task.and_then(|task| task.check(scope)).map(schedule)
    })
}

/// As `wasm_future_spawn` and returns a handle by which the task can be aborted. Release it with
/// `wasm_task_handle_release`. On another thread the task may have completed before this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_future_spawn_abortable(
    future: *mut wasm_future,
    executor: *const wasm_executor,
    completion: *const wasm_completion,
    handle: *mut *mut wasm_task_handle,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        // SAFETY: the header says so.
        let task = unsafe { owning(future, executor, completion) };
        let task = task.and_then(|task| task.check(scope))?;
        // Before the task can complete.
        Out::new(handle, "handle")?.set(Arc::into_raw(task.clone()).cast_mut().cast());
        schedule(task);
        Ok(())
    })
}

/// A task of what the host passed, which is not checked yet.
///
/// # Safety
///
/// The pointers are NULL or what the header says.
unsafe fn owning(
    future: *mut wasm_future,
    executor: *const wasm_executor,
    completion: *const wasm_completion,
) -> Result<Spawned> {
    // SAFETY: the caller says so. All zeros is valid for both.
    let (executor, completion) = unsafe {
        (
            sized(executor, first_size!(wasm_executor, schedule), "executor"),
            sized(completion, first_size!(wasm_completion, complete), "completion"),
        )
    };
    // SAFETY: the header says that the host gives the data up: what could be read is dropped also if the rest could
    // not.
    let (executor, completion) = unsafe { (executor.map(|e| Owned::new(e)), completion.map(|c| Owned::new(c))) };
    // The completion is dropped before its loop.
    let (completion, executor) = match (completion, executor) {
        (Ok(completion), Ok(executor)) => (completion, executor),
        (completion, Err(e)) => {
            drop(completion);
            return Err(e);
        }
        (Err(e), _) => return Err(e),
    };
    Ok(Spawned { completion, executor, future })
}

/// What makes a task.
struct Spawned {
    completion: Owned<wasm_completion>,
    executor: Owned<wasm_executor>,
    future: *mut wasm_future,
}

impl Spawned {
    fn check(self, scope: &CallScope) -> Result<Arc<wasm_task>> {
        let future = scope.handle(self.future, "future")?;
        future.check_in_progress()?;
        if self.executor.schedule.is_none() || self.completion.complete.is_none() {
            return Err(Error::new(
                wasm_status::NullArgument,
                "the executor's callback schedule or the completion's callback complete is NULL",
            ));
        }
        Ok(Arc::new(wasm_task {
            state: TaskState::scheduled(),
            thread: future.thread(),
            future: Cell::new(self.future),
            completion: UnsafeCell::new(Some(self.completion)),
            executor: UnsafeCell::new(Some(self.executor)),
        }))
    }
}

/// Passes one reference of a task to its executor. The task's state counts the call.
fn schedule(task: Arc<wasm_task>) {
    // The loop may run and finish the task before the callback has returned.
    let alive = task.clone();
    alive.call(|| {
        // SAFETY: the executor is dropped behind the counted calls. This is one.
        let table = unsafe { (*alive.executor.get()).as_deref().copied() };
        if let Some(wasm_executor { data, schedule: Some(callback), .. }) = table {
            // SAFETY: the host passed function and data together.
            unsafe { callback(data, Arc::into_raw(task).cast_mut()) }
        }
    });
}

/// Polls the task's future once. Then the task completes or it is scheduled again or it waits for its waker. Takes the
/// task over with `WASM_STATUS_OK`. With `WASM_STATUS_WRONG_THREAD`, `…_INVALID_STATE` or `…_BUSY` nothing happens and
/// the task must still be run. `…_BUSY` means that the call comes from one of the callbacks of the task's own engine.
/// A task that was aborted is not polled.
///
/// On a thread that cannot run guests the task completes with `WASM_STATUS_SIGNALS_BLOCKED` or
/// `WASM_STATUS_THREAD_NOT_PREPARED` although its operation has not completed. The future can be spawned again or
/// released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_run(task: *mut wasm_task, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        let borrowed = scope.handle(task, "task")?;
        borrowed.check_thread()?;
        match borrowed.state.begin() {
            Begun::Poll => {}
            Begun::Aborted => {
                // Whoever aborted it drops the completion.
                // SAFETY: the executor owns one reference and gives it back here.
                unsafe { Arc::from_raw(task.cast_const()) }.drop_executor();
                return Ok(());
            }
            // SAFETY: the task is the executor's. It was not polled.
            Begun::Cancel => return unsafe { cancel_unpolled(task) },
            Begun::Refused => return Err(not_scheduled()),
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
            borrowed.state.refuse();
            return super::error::take(status, details);
        }
        // SAFETY: the executor owns one reference and gives it back here.
        let task = unsafe { Arc::from_raw(task.cast_const()) };
        let next = match (status, state) {
            (wasm_status::Ok, wasm_poll::Pending) => task.state.pend(),
            (wasm_status::Ok, wasm_poll::Yielded) => task.state.yielded(),
            _ if task.state.finish() => {
                complete(&task, status, details);
                return Ok(());
            }
            _ => {
                let _ = super::error::take(status, details);
                Next::Aborted
            }
        };
        match next {
            Next::Wait => {}
            Next::Schedule => schedule(task),
            Next::Aborted => task.end_aborted(),
        }
        Ok(())
    })
}

/// Calls the completion of a task that has completed. The task's state counts the call.
fn complete(task: &Arc<wasm_task>, status: wasm_status, details: *mut wasm_error) {
    task.state.await_calls(1);
    let future = task.future.replace(core::ptr::null_mut());
    task.call(|| {
        // SAFETY: the completion is dropped by whom ends the task: this thread.
        if let Some(table) = unsafe { &*task.completion.get() }
            && let Some(complete) = table.complete
        {
            // SAFETY: the host passed function and data together. It takes over error and future.
            unsafe { complete(table.data, status, details, future) }
        }
        task.drop_completion();
        task.take_executor();
    });
}

#[cold]
fn not_scheduled() -> Error {
    Error::new(wasm_status::InvalidState, "the task was not scheduled, or runs already")
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
/// called. To be called on the future's thread or, for a compilation, on any thread. Also from within the task's own
/// `schedule`. On another thread `WASM_STATUS_WRONG_THREAD`. `…_INVALID_STATE` if the task is not scheduled. `…_BUSY`
/// from one of the callbacks of its engine. Nothing happens in these cases. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_release(task: *mut wasm_task, error: *mut *mut wasm_error) -> wasm_status {
    boundary(error, |scope| {
        if task.is_null() {
            return Ok(());
        }
        let borrowed = scope.handle(task, "task")?;
        borrowed.check_thread()?;
        match borrowed.state.begin() {
            // SAFETY: the task is the executor's. It was not polled.
            Begun::Poll | Begun::Cancel => unsafe { cancel_unpolled(task) },
            Begun::Aborted => {
                // Whoever aborted it drops the completion.
                // SAFETY: the executor owns one reference and gives it back here.
                unsafe { Arc::from_raw(task.cast_const()) }.drop_executor();
                Ok(())
            }
            Begun::Refused => Err(not_scheduled()),
        }
    })
}

/// Aborts a task because nobody wants its result or its loop goes. The operation is cancelled as by
/// `wasm_future_release` and `complete` is not called. After this has returned the library does not call the task's
/// executor: a `schedule` that another thread is in has returned. Only `drop` of the executor may still be called.
///
/// `completion.drop` and `executor.drop` are called before this returns, with two exceptions. If the executor has the
/// task, it must still run or release it. That does nothing but call `executor.drop`. If the task is being run, further
/// down the stack or on another thread, the operation is cancelled and both are called at the end of that run. All that
/// is called may release the handle.
///
/// To be called on the future's thread or, for a compilation, on any thread. `WASM_STATUS_INVALID_STATE` if the task
/// has completed or was aborted before. Its completion may be further down the stack but is not on another thread.
/// `…_WRONG_THREAD` on a thread to which the engine does not belong. `…_BUSY` from the task's own `schedule` or, if the
/// task is not being run, from a callback of its engine. The task goes on in these two cases.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_handle_abort(
    handle: *mut wasm_task_handle,
    error: *mut *mut wasm_error,
) -> wasm_status {
    boundary(error, |scope| {
        let pointer = handle.cast_const().cast::<wasm_task>();
        scope.handle(pointer, "handle")?.check_thread()?;
        // What is called below may release the handle.
        // SAFETY: the handle is one reference. This is another one.
        let task = unsafe {
            Arc::increment_strong_count(pointer);
            Arc::from_raw(pointer)
        };
        let is_inside = inside::is(&raw const *task);
        if is_inside && !task.state.is_over() {
            return Err(Error::new(wasm_status::Busy, "a task cannot be aborted from its executor's schedule"));
        }
        let found = task.state.abort();
        match found {
            Abort::Waiting | Abort::Queued => {
                let mut cancelled = Ok(());
                let mut is_kept = false;
                task.call(|| {
                    cancelled = task.cancel();
                    if cancelled.is_err() {
                        is_kept = task.state.keep();
                        return;
                    }
                    task.state.await_calls(1);
                    task.drop_completion();
                    if found == Abort::Waiting {
                        task.take_executor();
                    }
                });
                if is_kept {
                    schedule(task);
                }
                cancelled
            }
            Abort::Running => {
                task.state.await_calls(0);
                Ok(())
            }
            Abort::Over => {
                if !is_inside {
                    task.state.await_calls(0);
                }
                Err(Error::new(wasm_status::InvalidState, "the task has completed or was aborted before"))
            }
        }
    })
}

/// Frees the handle. The task goes on. Allowed on any thread and at any time but not while another thread is in
/// `wasm_task_handle_abort` with it. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_task_handle_release(handle: *mut wasm_task_handle) {
    if !handle.is_null() {
        // SAFETY: the header says that the handle came from the library and is released once. It is one reference of
        // the task.
        drop(unsafe { Arc::from_raw(handle.cast_const().cast::<wasm_task>()) });
    }
}
