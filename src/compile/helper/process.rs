//! The process of one compilation as its parent has it.
#![allow(unsafe_code)]

use super::protocol::{Connection, Reply};
use core::ffi::c_int;
use parking_lot::Mutex;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, waitid};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Milliseconds in which a process ends that has lost its socket.
const SOON: c_int = 1000;

/// A process that waits for a request.
pub struct Process {
    connection: Connection,
    /// Names the process as long as it is held, whoever reaps it. Linux 5.3.
    pidfd: Option<OwnedFd>,
    child: Mutex<Child>,
    was_stopped: AtomicBool,
    has_ended: AtomicBool,
}

impl Process {
    /// Starts the program. Its standard input is the socket. It gets no other descriptor and next to no environment.
    pub fn start(program: &Path, library_path: Option<&OsStr>) -> io::Result<Self> {
        let (ours, its) = UnixStream::pair()?;
        let mut command = Command::new(program);
        // Signals for the host's group are not for the helper. It ends with the host.
        command.process_group(0);
        command.env_clear().stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(path) = library_path {
            command.env(super::LIBRARY_PATH, path);
        }
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Self {
            connection: Connection::new(ours.into()),
            pidfd,
            child: Mutex::new(child),
            was_stopped: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        })
    }

    /// Sends the request and waits for the reply of at most so many bytes.
    pub fn ask(&self, head: &[u8], module: &[u8], most: usize) -> io::Result<Reply> {
        // A process that has failed already may have said why.
        let sent = self.connection.send_request(head, module);
        self.connection.receive_reply(most).map_err(|e| sent.err().unwrap_or(e))
    }

    /// Makes the process end and `ask` return. Any thread.
    pub fn stop(&self) {
        self.was_stopped.store(true, SeqCst);
        self.kill();
    }

    /// Whether `stop` was called.
    pub fn was_stopped(&self) -> bool {
        self.was_stopped.load(SeqCst)
    }

    /// Waits until the process has ended, which it does by itself or, after a while, by force. Tells how it ended.
    pub fn end(&self) -> Ended {
        self.has_ended.store(true, SeqCst);
        // A process that lost its socket ends by itself.
        self.connection.shut_down();
        if !self.pidfd.as_ref().is_none_or(ends_soon) {
            self.kill();
            self.reap();
            return Ended::Forced;
        }
        self.reap()
    }

    fn reap(&self) -> Ended {
        if let Some(pidfd) = &self.pidfd {
            // By its number it might be another child by now.
            match retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)) {
                Ok(Some(status)) => return Ended::with(status.exit_status(), status.terminating_signal()),
                // Before Linux 5.4.
                Err(Errno::INVAL) => {}
                _ => return Ended::Unknown,
            }
        }
        match self.child.lock().wait() {
            Ok(status) => Ended::with(status.code(), status.signal()),
            Err(_) => Ended::Unknown,
        }
    }

    fn kill(&self) {
        // A process that lost its socket ends by itself.
        self.connection.shut_down();
        if let Some(pidfd) = &self.pidfd {
            // It may have ended.
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !*self.has_ended.get_mut() {
            self.kill();
            self.reap();
        }
    }
}

/// Whether a process has ended or does so while one waits.
fn ends_soon(pidfd: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the call gets one struct. A signal makes it return early, as if the process did not end.
    unsafe { libc::poll(&raw mut poll, 1, SOON) > 0 }
}

/// How a process ended, in words.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed because it did not end without its socket.
    Forced,
    /// The host waits for all its children itself.
    Unknown,
}

impl Ended {
    fn with(code: Option<i32>, signal: Option<i32>) -> Self {
        code.map(Self::Code).or(signal.map(Self::Signal)).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("ended (the host has taken its exit status)"),
            Self::Forced => f.write_str("had to be killed"),
            // What the dynamic linker ends with, too.
            Self::Code(127) => f.write_str("ended with exit code 127 (as if its library was not found)"),
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(libc::SIGKILL) => f.write_str("was killed (perhaps for lack of memory)"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}
