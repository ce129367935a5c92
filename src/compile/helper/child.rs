//! The compile helper's own side: one request, one reply, end.
//!
//! The process limits itself before it looks at the module. If a limit ends it, a signal handler sends the reply.
#![allow(unsafe_code)]

use super::protocol::{Connection, Exceeded, Reply, Request, reply_head};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::compiler::{self, Compilers};
use crate::compile::{job, wasmtime_config};
use crate::system::memory::block::page;
use crate::system::memory::reserve;
use core::ffi::c_int;
use rustix::process::{Resource, Rlimit};
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use wasmtime::Engine;

/// The socket is the standard input.
const SOCKET: c_int = 0;
/// Bytes that a process has which was not refused memory.
const PROBE: usize = 1 << 20;
/// Descriptors that the process may have.
const DESCRIPTORS: u64 = 32;

/// A reply is being sent, or was.
static HAS_REPLIED: AtomicBool = AtomicBool::new(false);
/// It is the one of a signal handler, which ends the process.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// The whole program. Returns its exit code if it was not started by the library.
pub fn main() -> c_int {
    if !is_socket() {
        return 2;
    }
    // SAFETY: nothing else in this process uses the descriptor.
    let connection = Arc::new(Connection::new(unsafe { OwnedFd::from_raw_fd(SOCKET) }));
    let reply = catch_unwind(AssertUnwindSafe(|| answer(&connection))).unwrap_or_else(|_| Err(job::panicked()));
    let reply = match reply {
        Ok(artifact) => Reply::Artifact(artifact),
        Err(e) if e.status == Status::OutOfMemory => Reply::Exceeded(Exceeded::Memory),
        Err(e) => Reply::Refusal(e.status as u32, e.message),
    };
    let sent = !HAS_REPLIED.swap(true, SeqCst) && connection.send_reply(&reply).is_ok();
    // SAFETY: ends the process with all its threads. Nothing is left to be written.
    unsafe { libc::_exit(c_int::from(!sent)) }
}

fn is_socket() -> bool {
    // SAFETY: the call fills the struct, of which all zeros is a value.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        libc::fstat(SOCKET, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFSOCK
    }
}

fn answer(connection: &Arc<Connection>) -> Result<Vec<u8>> {
    leave_host().map_err(|e| failed(&format!("could not leave its host: {e}")))?;
    let received = connection.receive_request();
    let (head, module) = received.map_err(|e| failed(&format!("could not read the request: {e}")))?;
    let (request, threads) = Request::read(&head).map_err(|why| failed(&why))?;
    let broken = |e: wasmtime::Error| failed(&format!("could not set up Wasmtime: {e:#}"));
    let settings = wasmtime_config::for_helper(&request.config);
    let engine = Engine::new(&settings).map_err(broken)?;
    let with_positions = || Engine::new(&wasmtime_config::with_positions(&settings)).map_err(broken);
    let with_positions = request.config.debug_info.then(with_positions).transpose()?;
    let compilers = Compilers { engine, with_positions };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| failed(&format!("could not start its threads: {e}")))?;
    let watched = connection.clone();
    let watch = move || {
        watched.wait_for_end();
        // SAFETY: as in `main`. The host is gone or wants no reply.
        unsafe { libc::_exit(1) }
    };
    std::thread::Builder::new().spawn(watch).map_err(|e| failed(&format!("could not start a thread: {e}")))?;
    limit(request.limits.time_limit, request.limits.memory_limit)
        .map_err(|e| failed(&format!("could not limit itself: {e}")))?;
    pool.install(|| compiler::compile_elsewhere(&compilers, &request.config, &module, &request.waits))
}

fn failed(what: &str) -> Error {
    Error::new(Status::CompileHelperFailed, what)
}

/// Gives up what the process has from its host.
fn leave_host() -> io::Result<()> {
    std::env::set_current_dir("/")?;
    // SAFETY: nothing in this process uses another descriptor yet. Only this thread exists.
    unsafe {
        // Before Linux 5.9 they stay open. Nobody uses them.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_DUMPABLE, 0) != 0
            // The thread that has started this one waits for it. The socket tells the same, unless a child of the host
            // has it, too.
            || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    for (resource, most) in [(Resource::Nofile, DESCRIPTORS), (Resource::Core, 0), (Resource::Fsize, 0)] {
        set_limit(resource, most)?;
    }
    Ok(())
}

fn set_limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// From here on the process may use so much. Its own time so far does not count.
fn limit(time: Duration, memory: usize) -> io::Result<()> {
    for signal in [libc::SIGPROF, libc::SIGXCPU, libc::SIGABRT] {
        handle(signal)?;
    }
    // Whatever may be written to. Address space that is only reserved does not count. What is there already is not the
    // module's: code, threads and the module itself.
    set_limit(Resource::Data, data_size().saturating_add(memory as u64))?;
    let value = libc::timeval {
        tv_sec: time.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(time.subsec_micros()),
    };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: the call reads the struct.
    if unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, core::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // If the timer's signal should not end the process.
    set_limit(Resource::Cpu, time.as_secs().saturating_add(10))
}

/// Bytes of data and stacks that the process has. 0 if /proc does not tell.
fn data_size() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(5).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * page() as u64
}

fn handle(signal: c_int) -> io::Result<()> {
    // SAFETY: all zeros is a value of the structs. The handler calls only what POSIX allows in one.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = exceeded as extern "C" fn(c_int) as usize;
        let mut unblocked: libc::sigset_t = core::mem::zeroed();
        libc::sigaddset(&raw mut unblocked, signal);
        if libc::sigaction(signal, &raw const action, core::ptr::null_mut()) != 0
            || libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const unblocked, core::ptr::null_mut()) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A limit was exceeded: says so and ends the process. Whatever thread this is, it holds what locks it holds.
extern "C" fn exceeded(signal: c_int) {
    let what = match signal {
        libc::SIGABRT if reserve::was_used() || is_full() => Exceeded::Memory,
        libc::SIGABRT => return,
        _ => Exceeded::Time,
    };
    if HAS_REPLIED.swap(true, SeqCst) {
        // The reply is on its way. After an abort this thread cannot go on.
        while signal == libc::SIGABRT && IS_ENDING.load(SeqCst) {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
        return;
    }
    IS_ENDING.store(true, SeqCst);
    let head = reply_head(Status::ModuleCompileLimit, what as u32, 0);
    // SAFETY: the call reads so many bytes.
    unsafe {
        libc::send(SOCKET, head.as_ptr().cast(), head.len(), libc::MSG_NOSIGNAL);
        libc::_exit(1)
    }
}

/// Whether the system refuses memory. Not all that aborts for want of it has asked this library.
fn is_full() -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping touches nothing that exists.
    unsafe {
        libc::mmap(core::ptr::null_mut(), PROBE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) == libc::MAP_FAILED
    }
}
