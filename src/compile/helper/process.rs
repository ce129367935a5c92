//! The process of one compilation as its parent has it.

use super::protocol::{Connection, Reply};
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A process that waits for a request.
pub struct Process {
    connection: Connection,
    /// Names the process as long as it is held, whoever reaps it. Linux 5.3.
    pidfd: Option<OwnedFd>,
    child: Mutex<Child>,
    was_stopped: AtomicBool,
}

impl Process {
    /// Starts the program. Its standard input is the socket. It gets no other descriptor and next to no environment.
    pub fn start(program: &Path, library_path: Option<&OsStr>) -> io::Result<Self> {
        let (ours, its) = UnixStream::pair()?;
        let mut command = Command::new(program);
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

    /// Waits until the process has ended, which it does by itself or by force. Tells how it ended.
    pub fn end(&self) -> Ended {
        self.kill();
        // Fails if the host waits for all its children.
        Ended(self.child.lock().wait().ok())
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

/// How a process ended, in words.
pub struct Ended(Option<ExitStatus>);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|status| (status.code(), status.signal())) {
            None => f.write_str("ended, the host has taken its exit status,"),
            // What the dynamic linker ends with, too.
            Some((Some(127), _)) => f.write_str("ended with exit code 127, as if its library was not found,"),
            Some((Some(code), _)) => write!(f, "ended with exit code {code}"),
            Some((None, Some(libc::SIGKILL))) => f.write_str("was killed, perhaps for lack of memory,"),
            Some((None, signal)) => write!(f, "ended by signal {}", signal.unwrap_or_default()),
        }
    }
}
