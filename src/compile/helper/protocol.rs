//! What the library and its compile helper say to each other. Both are of one version, which the request names.
//!
//! | | bytes | what |
//! | --- | --- | --- |
//! | request | 0..8 | `REQUEST` |
//! | | 8..16 | size of the head |
//! | | 16..24 | size of the module |
//! | | 24.. | the head in JSON, then the module |
//! | reply | 0..8 | `REPLY` |
//! | | 8..12 | the status: 0 if an artifact follows |
//! | | 12..16 | which limit was exceeded, if that is the status |
//! | | 16..24 | size of what follows: an artifact or a message |
//!
//! Numbers are little-endian.
#![allow(unsafe_code)]

use crate::base::config::{CompileHelperConfig, Config, wasm_memory_mode, wasm_trap_mode};
use crate::base::status::wasm_status as Status;
use crate::batch::fallible;
use crate::compile::artifacts;
use serde_json::{Value, json};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

const REQUEST: &[u8; 8] = b"\xc3wasmreq";
const REPLY: &[u8; 8] = b"\xc3wasmrep";
/// Bytes before the parts of each message.
const FIXED: usize = 24;
/// Bytes of the largest head and of the longest message.
const MOST_TEXT: usize = 16 << 20;
/// Bytes that one call sends or receives at most.
const PIECE: usize = 1 << 20;

/// What the code depends on besides the module.
pub struct Request {
    /// The runtime's configuration. Only what code depends on is sent.
    pub config: Config,
    /// The limits.
    pub limits: CompileHelperConfig,
    /// How each import waits.
    pub waits: Vec<u8>,
}

/// What a request is answered with.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The module was compiled.
    Artifact(Vec<u8>),
    /// It was not: the status and why.
    Refusal(u32, String),
    /// A limit ended the process.
    Exceeded(Exceeded),
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Of processor time.
    Time = 1,
    /// Of memory.
    Memory = 2,
}

impl Request {
    /// The head.
    pub fn head(&self) -> Vec<u8> {
        let Config { memory_limit, table_limit, guest_stack, host_stack, pool_engines, .. } = self.config;
        let head = json!({
            "library": artifacts::VERSIONS,
            "memory_mode": self.config.memory_mode as u32,
            "trap_mode": self.config.trap_mode as u32,
            "memory_limit": memory_limit,
            "table_limit": table_limit,
            "guest_stack": guest_stack,
            "host_stack": host_stack,
            "tight_stacks": self.config.tight_stacks,
            "pool_engines": pool_engines,
            "keep_resident": self.config.keep_resident,
            "core_dumps": self.config.core_dumps,
            "debug_info": self.config.debug_info,
            "expands_record_calls": self.config.expands_record_calls,
            "threads": rayon::current_num_threads(),
            "time_limit_ns": self.limits.time_limit.as_nanos() as u64,
            "compile_memory_limit": self.limits.memory_limit,
            "waits": self.waits,
        });
        head.to_string().into_bytes()
    }

    /// Reads a head. The second value is the number of threads that compile. The error says what is wrong.
    pub fn read(head: &[u8]) -> Result<(Self, usize), String> {
        let head: Value = serde_json::from_slice(head).map_err(|e| format!("could not read the request: {e}"))?;
        let (theirs, ours) = (head["library"].as_str().unwrap_or("unknown"), artifacts::VERSIONS);
        if theirs != ours {
            return Err(format!("has {ours} and the host has {theirs}: install both from one package"));
        }
        let missing = |name: &str| format!("found no {name} in the request");
        let number = |name: &str| head[name].as_u64().ok_or_else(|| missing(name));
        let size = |name: &str| number(name).map(|value| value as usize);
        let flag = |name: &str| head[name].as_bool().ok_or_else(|| missing(name));
        let memory_mode = [
            wasm_memory_mode::OnDemand,
            wasm_memory_mode::ThreadPool,
            wasm_memory_mode::Host,
            wasm_memory_mode::ProcessPool,
        ];
        let trap_mode = [wasm_trap_mode::Signals, wasm_trap_mode::Checks];
        let config = Config {
            memory_mode: *memory_mode.get(size("memory_mode")?).ok_or_else(|| missing("memory_mode"))?,
            trap_mode: *trap_mode.get(size("trap_mode")?).ok_or_else(|| missing("trap_mode"))?,
            memory_limit: size("memory_limit")?,
            table_limit: size("table_limit")?,
            guest_stack: size("guest_stack")?,
            host_stack: size("host_stack")?,
            tight_stacks: flag("tight_stacks")?,
            pool_engines: size("pool_engines")?,
            keep_resident: size("keep_resident")?,
            core_dumps: flag("core_dumps")?,
            debug_info: flag("debug_info")?,
            expands_record_calls: flag("expands_record_calls")?,
            ..Config::default()
        };
        let limits = CompileHelperConfig {
            program: PathBuf::new(),
            time_limit: Duration::from_nanos(number("time_limit_ns")?),
            memory_limit: size("compile_memory_limit")?,
        };
        let waits = head["waits"].as_array().ok_or_else(|| missing("waits"))?;
        let waits = waits.iter().map(|waits| waits.as_u64().unwrap_or(0) as u8).collect();
        Ok((Self { config, limits, waits }, size("threads")?.clamp(1, 256)))
    }
}

/// The beginning of a reply.
pub fn reply_head(status: Status, exceeded: u32, size: usize) -> [u8; FIXED] {
    let mut head = [0; FIXED];
    head[..8].copy_from_slice(REPLY);
    head[8..12].copy_from_slice(&(status as u32).to_le_bytes());
    head[12..16].copy_from_slice(&exceeded.to_le_bytes());
    head[16..].copy_from_slice(&(size as u64).to_le_bytes());
    head
}

/// One end of the socket. A message is sent and received whole.
pub struct Connection(OwnedFd);

impl Connection {
    /// At a stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a request.
    pub fn send_request(&self, head: &[u8], module: &[u8]) -> io::Result<()> {
        let mut fixed = [0; FIXED];
        fixed[..8].copy_from_slice(REQUEST);
        fixed[8..16].copy_from_slice(&(head.len() as u64).to_le_bytes());
        fixed[16..].copy_from_slice(&(module.len() as u64).to_le_bytes());
        self.send(&fixed)?;
        self.send(head)?;
        self.send(module)
    }

    /// Waits for a request: its head and the module.
    pub fn receive_request(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let fixed = self.receive_fixed(REQUEST)?;
        let (head, module) = (self.receive(number(&fixed[8..16]), MOST_TEXT)?, number(&fixed[16..]));
        Ok((head, self.receive(module, usize::MAX)?))
    }

    /// Sends a reply.
    pub fn send_reply(&self, reply: &Reply) -> io::Result<()> {
        let (head, rest) = match reply {
            Reply::Artifact(bytes) => (reply_head(Status::Ok, 0, bytes.len()), &bytes[..]),
            Reply::Refusal(status, message) => {
                let mut head = reply_head(Status::Internal, 0, message.len());
                head[8..12].copy_from_slice(&status.to_le_bytes());
                (head, message.as_bytes())
            }
            Reply::Exceeded(what) => (reply_head(Status::ModuleCompileLimit, *what as u32, 0), &[][..]),
        };
        self.send(&head)?;
        self.send(rest)
    }

    /// Waits for a reply with an artifact of at most so many bytes.
    pub fn receive_reply(&self, most: usize) -> io::Result<Reply> {
        let fixed = self.receive_fixed(REPLY)?;
        let word = |at: usize| number(&fixed[at..at + 4]) as u32;
        let (status, exceeded, size) = (word(8), word(12), number(&fixed[16..]));
        if status == Status::Ok as u32 {
            return self.receive(size, most).map(Reply::Artifact);
        }
        let message = self.receive(size, MOST_TEXT)?;
        Ok(match [Exceeded::Time, Exceeded::Memory].into_iter().find(|&what| what as u32 == exceeded) {
            Some(what) if status == Status::ModuleCompileLimit as u32 => Reply::Exceeded(what),
            _ => Reply::Refusal(status, String::from_utf8_lossy(&message).into_owned()),
        })
    }

    /// Nothing is sent or received any more, at either end.
    pub fn shut_down(&self) {
        // It may be so already.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    /// Waits until the other end is gone.
    pub fn wait_for_end(&self) {
        while self.receive_some(&mut [0; 8]).is_ok_and(|count| count > 0) {}
    }

    fn receive_fixed(&self, magic: &[u8; 8]) -> io::Result<[u8; FIXED]> {
        let mut fixed = [0; FIXED];
        self.receive_into(&mut fixed)?;
        if fixed.starts_with(magic) {
            Ok(fixed)
        } else {
            Err(io::Error::new(ErrorKind::InvalidData, "no such message"))
        }
    }

    fn receive(&self, size: u64, most: usize) -> io::Result<Vec<u8>> {
        let size = usize::try_from(size).ok().filter(|&size| size <= most);
        let size = size.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the message is too long"))?;
        let mut bytes = Vec::new();
        // As much as has come so far decides how much memory is taken.
        while bytes.len() < size {
            let begin = bytes.len();
            let more = (size - begin).min(PIECE.max(begin));
            fallible::reserve(&mut bytes, more).map_err(|_| ErrorKind::OutOfMemory)?;
            bytes.resize(begin + more, 0);
            self.receive_into(&mut bytes[begin..])?;
        }
        Ok(bytes)
    }

    fn receive_into(&self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.receive_some(bytes)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => bytes = &mut bytes[count..],
            }
        }
        Ok(())
    }

    fn receive_some(&self, bytes: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the call writes at most as many bytes as there are.
        uninterrupted(|| unsafe { libc::recv(self.0.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) })
    }

    /// Without SIGPIPE, of which a C++ host may die.
    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(PIECE)];
            // SAFETY: the call reads as many bytes as there are.
            let sent = uninterrupted(|| unsafe {
                libc::send(self.0.as_raw_fd(), piece.as_ptr().cast(), piece.len(), libc::MSG_NOSIGNAL)
            })?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    fn request() -> Request {
        let config = Config {
            memory_mode: wasm_memory_mode::ProcessPool,
            trap_mode: wasm_trap_mode::Checks,
            tight_stacks: true,
            core_dumps: true,
            debug_info: true,
            expands_record_calls: false,
            pool_engines: 7,
            ..Config::default()
        };
        let limits =
            CompileHelperConfig { program: "/x".into(), time_limit: Duration::from_secs(3), memory_limit: 5 << 20 };
        Request { config, limits, waits: vec![0, 1, 2] }
    }

    fn pair() -> (Connection, Connection) {
        let (a, b) = UnixStream::pair().unwrap();
        (Connection::new(a.into()), Connection::new(b.into()))
    }

    #[test]
    fn what_code_depends_on_arrives() {
        let (host, helper) = pair();
        let module = vec![7; 3 << 20];
        let (head, module) = std::thread::scope(|scope| {
            scope.spawn(|| host.send_request(&request().head(), &module).unwrap());
            helper.receive_request().unwrap()
        });
        assert_eq!(module, vec![7; 3 << 20]);
        let (read, threads) = Request::read(&head).unwrap();
        assert_eq!(read.head(), head);
        assert_eq!(threads, rayon::current_num_threads());
        assert_eq!((read.config.memory_mode, read.config.pool_engines), (wasm_memory_mode::ProcessPool, 7));
        assert_eq!((read.limits.time_limit, read.limits.memory_limit), (Duration::from_secs(3), 5 << 20));
    }

    #[test]
    fn replies_arrive() {
        for reply in [
            Reply::Artifact(vec![1, 2, 3]),
            Reply::Refusal(35, "why".into()),
            Reply::Refusal(12345, String::new()),
            Reply::Exceeded(Exceeded::Time),
            Reply::Exceeded(Exceeded::Memory),
        ] {
            let (host, helper) = pair();
            helper.send_reply(&reply).unwrap();
            assert_eq!(host.receive_reply(3).unwrap(), reply);
        }
    }

    #[test]
    fn requests_that_are_not_this_versions_are_refused() {
        let head = String::from_utf8(request().head()).unwrap();
        for (from, to, why) in [
            (artifacts::VERSIONS, "version 9", "the host has version 9: install both from one package"),
            ("\"waits\"", "\"later\"", "found no waits in the request"),
            ("\"memory_mode\":3", "\"memory_mode\":4", "found no memory_mode"),
            ("\"threads\":", "\"threads\":-", "found no threads"),
            ("{", "", "could not read the request"),
        ] {
            let changed = head.replacen(from, to, 1);
            assert_ne!(changed, head);
            let found = Request::read(changed.as_bytes()).err().unwrap();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn an_end_that_lies_or_leaves_is_an_error() {
        for bytes in [
            &b""[..],
            b"\xc3wasmrep",
            &[0; 24],
            // One byte is missing.
            b"\xc3wasmrep\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0x",
            // More than is allowed, and than there can be.
            b"\xc3wasmrep\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0xxxxxxxxx",
            b"\xc3wasmrep\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc3wasmrep\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(bytes).unwrap();
            drop(theirs);
            assert!(Connection::new(ours.into()).receive_reply(8).is_err(), "{bytes:?}");
        }
        let (host, helper) = pair();
        host.shut_down();
        helper.wait_for_end();
        assert!(helper.send_reply(&Reply::Artifact(vec![1])).is_err(), "and no SIGPIPE");
    }
}
