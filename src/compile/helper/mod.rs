//! Compiles a module in a process of its own with limits of processor time and memory, for hosts that take modules of
//! strangers. One process for each compilation: what a module does to its compiler concerns no other.
//!
//! The process is a small program that calls [`child::main`]. It gets a [`protocol::Request`] over a socket and answers
//! with an artifact. The artifact is machine code. It is trusted because this process has started the program, which
//! the host has named, and nobody else has the socket's other end.
//!
//! A compilation that is given up ends at once: its process loses the socket and is killed.

pub mod child;
pub mod process;
pub mod protocol;

use crate::base::config::{CompileHelperConfig, Config};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::printable;
use crate::compile::code_cache::key::KeyInputs;
use crate::compile::compilation::Compilation;
use crate::module::artifact::{Artifact, Digest};
use process::Process;
use protocol::{Exceeded, Reply, Request};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::sync::Arc;

/// What the program looks for its libraries by. All else of the host's environment stays here.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// Compiles modules in other processes.
pub struct Helper {
    config: CompileHelperConfig,
    library_path: Option<OsString>,
}

impl Helper {
    /// Checks that there is such a program.
    pub fn new(config: CompileHelperConfig) -> Result<Self> {
        let shown = config.program.display();
        let refuse = |why: &str| {
            let shown = printable(&shown.to_string());
            Error::invalid(format!("config field compile_helper is \"{shown}\": {why}"))
        };
        if !config.program.is_absolute() {
            return Err(refuse("the path must be absolute"));
        }
        let is_file = config.program.metadata().map_err(|e| refuse(&e.to_string()))?.is_file();
        if !is_file {
            return Err(refuse("this is no file"));
        }
        rustix::fs::access(&config.program, rustix::fs::Access::EXEC_OK).map_err(|e| refuse(&e.to_string()))?;
        Ok(Self { config, library_path: std::env::var_os(LIBRARY_PATH) })
    }

    /// Compiles a module that has been validated. Returns early if the compilation is given up.
    pub fn compile(
        &self,
        config: &Config,
        module: &[u8],
        inputs: &KeyInputs<'_>,
        compilation: &Compilation,
    ) -> Result<Artifact> {
        let request = Request { config: config.clone(), limits: self.config.clone(), waits: inputs.waits.to_vec() };
        let head = request.head();
        loop {
            let process = self.start()?;
            let work = || process.ask(&head, module, self.config.memory_limit);
            let answer = compilation.stoppable(process.clone(), work);
            let ended = process.end();
            match answer {
                // Nobody waits for this.
                None => return Err(Error::new(Status::Cancelled, "the compilation was given up")),
                // Somebody has joined after it was given up.
                Some(Err(_)) if process.was_stopped() => {}
                Some(Err(e)) if e.kind() == ErrorKind::OutOfMemory => return Err(Error::out_of_memory()),
                Some(Err(e)) => return Err(self.failed(&format!("{ended} and has not compiled the module: {e}"))),
                Some(Ok(reply)) => return self.accept(reply, &inputs.key()),
            }
        }
    }

    fn start(&self) -> Result<Arc<Process>> {
        let started = Process::start(&self.config.program, self.library_path.as_deref());
        started.map(Arc::new).map_err(|e| self.failed(&format!("could not be started: {e}")))
    }

    fn accept(&self, reply: Reply, key: &Digest) -> Result<Artifact> {
        match reply {
            Reply::Artifact(bytes) => match Artifact::read(bytes) {
                Ok(artifact) if artifact.head.key == *key => Ok(artifact),
                Ok(_) => Err(self.failed("has compiled for another configuration or processor")),
                Err(_) => Err(self.failed("has sent no artifact of this version of the library")),
            },
            Reply::Refusal(status, message) => Err(match Status::from_number(status) {
                Some(Status::CompileHelperFailed) => self.failed(&message),
                Some(status) if may_be_said(status) => Error::new(status, message),
                _ => self.failed(&format!("has answered with the wrong status {status}: {}", printable(&message))),
            }),
            Reply::Exceeded(what) => Err(Error::new(
                Status::ModuleCompileLimit,
                match what {
                    Exceeded::Time => {
                        let limit = self.config.time_limit;
                        format!(
                            "to compile the module takes more processor time than compile_time_limit_ns ({limit:?})"
                        )
                    }
                    Exceeded::Memory => {
                        let limit = self.config.memory_limit;
                        format!("to compile the module takes more memory than compile_memory_limit ({limit} bytes)")
                    }
                },
            )),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let program = printable(&self.config.program.display().to_string());
        Error::new(Status::CompileHelperFailed, format!("the compile helper {program} {what}"))
    }
}

/// Whether a helper can have found this.
fn may_be_said(status: Status) -> bool {
    matches!(status as u32, 20..=49) || matches!(status, Status::Panic | Status::OutOfMemory | Status::Internal)
}
