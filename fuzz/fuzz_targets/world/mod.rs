//! A host that does what its script says, for the target `abi`: calls in any order, also from within callbacks, with handles
//! that are released at any point. A small model of the header's contract watches.

mod callbacks;
mod fixtures;
mod objects;
mod operations;
mod tasks;

use core::cell::RefCell;
use core::ptr::null_mut;
use fixtures::Fixture;
use objects::Object;
use std::rc::Rc;
use wasm_engine_fuzz::abi::engine::wasm_engine;
use wasm_engine_fuzz::abi::error::{wasm_error, wasm_error_release, wasm_error_status};
use wasm_engine_fuzz::abi::future::wasm_future;
use wasm_engine_fuzz::abi::task::{wasm_task, wasm_task_handle};
use wasm_engine_fuzz::base::status::wasm_status as Status;
use wasm_engine_fuzz::host::call::wasm_promise;

/// Operations of a script, and how deep callbacks may call.
const OPERATIONS: u32 = 300;
const DEPTH: u32 = 3;

/// An engine of the host.
struct Engine {
    handle: *mut wasm_engine,
    /// A user of a shared engine: others change its guest's state.
    shared: bool,
    /// It has a guest and neither a policy nor a replacement: what a transform gives is known.
    plain: bool,
}

/// A future of the host.
struct Future {
    handle: *mut wasm_future,
    engine: *mut wasm_engine,
    kind: Kind,
    /// It was ready or has failed.
    done: bool,
    /// The sink of a transform.
    sink: Option<Rc<Object>>,
}

/// What a future is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Start,
    Stop,
    Transform,
    Replace,
}

/// What the host has.
#[derive(Default)]
struct World {
    script: Vec<u8>,
    at: usize,
    operations: u32,
    depth: u32,
    engines: Vec<Engine>,
    futures: Vec<Future>,
    promises: Vec<*mut wasm_promise>,
    tasks: Vec<*mut wasm_task>,
    handles: Vec<*mut wasm_task_handle>,
    /// Engines whose callbacks are running. Others first.
    inside: Vec<*mut wasm_engine>,
    /// All host data of this script.
    objects: Vec<Rc<Object>>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
    static FIXTURE: RefCell<Option<&'static Fixture>> = const { RefCell::new(None) };
}

/// The world for a moment. Nothing of the library is called meanwhile.
fn with<T>(what: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(what)
}

/// The next byte of the script. Zeros follow its end.
fn next() -> u8 {
    with(|world| {
        world.at += 1;
        world.script.get(world.at - 1).copied().unwrap_or(0)
    })
}

fn is_over() -> bool {
    with(|world| world.at >= world.script.len() || world.operations >= OPERATIONS)
}

fn fixture() -> &'static Fixture {
    FIXTURE.with_borrow(|fixture| fixture.expect("a script has begun"))
}

/// What an export returned.
struct Returned {
    status: Status,
    error: *mut wasm_error,
}

impl Returned {
    /// The status after the contract is checked: no defect of the library, an error exactly if it is not OK, and with the
    /// same status.
    fn status(self) -> Status {
        if self.status == Status::Ok {
            assert!(self.error.is_null(), "with OK no error is written");
            return self.status;
        }
        assert!(!self.error.is_null(), "{:?} without an error", self.status);
        // SAFETY: the error is the host's.
        unsafe {
            let message = core::ffi::CStr::from_ptr(wasm_engine_fuzz::abi::error::wasm_error_message(self.error));
            let message = message.to_str().expect("messages are UTF-8");
            assert!(
                !matches!(self.status, Status::Panic | Status::Poisoned | Status::Internal | Status::System),
                "{:?}: {message}",
                self.status
            );
            assert!(!message.is_empty());
            assert_eq!(wasm_error_status(self.error), self.status);
            wasm_error_release(self.error);
        }
        self.status
    }
}

/// Calls an export with a place for its error.
fn call(export: impl FnOnce(*mut *mut wasm_error) -> Status) -> Status {
    let mut error = null_mut();
    let status = export(&raw mut error);
    Returned { status, error }.status()
}

/// Runs a script: the first byte says which runtime, the others what happens.
pub fn run(script: &[u8]) {
    let Some((&mode, script)) = script.split_first() else { return };
    let Some(fixture) = fixtures::of(mode) else { return };
    FIXTURE.set(Some(fixture));
    with(|world| *world = World { script: script.to_vec(), ..World::default() });
    while !is_over() {
        operations::next();
    }
    finish(mode);
}

/// Releases everything, in an order that the script chooses, and checks what is left.
fn finish(order: u8) {
    // What callbacks do now is to answer.
    with(|world| {
        world.script.clear();
        world.depth = DEPTH;
    });
    for round in 0..4 {
        match order.wrapping_add(round) % 4 {
            0 => operations::release_futures(),
            1 => operations::release_engines(),
            2 => operations::release_promises(),
            _ => tasks::release_all(),
        }
    }
    // What ended meanwhile may have been handed over.
    tasks::release_all();
    operations::release_futures();
    operations::release_promises();
    with(|world| {
        assert!(world.inside.is_empty());
        for object in &world.objects {
            object.check_ended();
        }
    });
    fixture().check_empty();
}
