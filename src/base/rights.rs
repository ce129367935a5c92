//! What a transform's module may import.

use crate::base::error::{Error, Result};

/// The host module of WASI preview 1.
pub const WASI: &str = "wasi_snapshot_preview1";

/// What a guest may use of WASI: bits of `wasi_rights` in `wasm_factory_config`.
///
/// A guest without a right is refused if it imports one of the functions. Nothing of WASI reaches the system here:
/// there are no files and no sockets, standard output and error are the host's log and sleeping returns at once. So
/// most hosts leave all rights. What guests of the published SDKs import, measured: C and C++ OUTPUT, and ENVIRONMENT
/// if they call `getenv`. Rust OUTPUT and ENVIRONMENT, with hash maps RANDOM, with `Instant` and `sleep` CLOCKS and
/// SLEEP. Go always ARGUMENTS, ENVIRONMENT, CLOCKS, RANDOM, OUTPUT and SLEEP.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_wasi_right {
    /// What every guest may: `proc_exit`, `proc_raise`, `sched_yield` and asking about its standard streams. Alone: no
    /// other right.
    Base = 1,
    /// The transform's name: `args_get`, `args_sizes_get`.
    Arguments = 2,
    /// `env` and the topics: `environ_get`, `environ_sizes_get`.
    Environment = 4,
    /// The record's timestamp and how long the guest has run: `clock_time_get`, `clock_res_get`.
    Clocks = 8,
    /// Random numbers: `random_get`.
    Random = 16,
    /// Lines for the host's log: `fd_write`.
    Output = 32,
    /// Sleeping: `poll_oneoff`.
    Sleep = 64,
    /// Functions for files and directories. All of them fail inside the guest.
    Files = 128,
    /// Functions for sockets. All of them fail inside the guest.
    Sockets = 256,
}

impl wasm_wasi_right {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Base,
        Self::Arguments,
        Self::Environment,
        Self::Clocks,
        Self::Random,
        Self::Output,
        Self::Sleep,
        Self::Files,
        Self::Sockets,
    ];

    /// The constant's name in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "WASM_WASI_RIGHT_BASE",
            Self::Arguments => "WASM_WASI_RIGHT_ARGUMENTS",
            Self::Environment => "WASM_WASI_RIGHT_ENVIRONMENT",
            Self::Clocks => "WASM_WASI_RIGHT_CLOCKS",
            Self::Random => "WASM_WASI_RIGHT_RANDOM",
            Self::Output => "WASM_WASI_RIGHT_OUTPUT",
            Self::Sleep => "WASM_WASI_RIGHT_SLEEP",
            Self::Files => "WASM_WASI_RIGHT_FILES",
            Self::Sockets => "WASM_WASI_RIGHT_SOCKETS",
        }
    }
}

/// An import that a list allows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedImport {
    /// The host module.
    pub module: String,
    /// The function. Empty: all of the module.
    pub function: String,
}

/// What a transform's module may import. `module::rights` decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Functions of host modules. Empty: all.
    pub imports: Vec<AllowedImport>,
    /// Bits of `wasm_wasi_right`. 0: all.
    pub wasi: u32,
}

impl Rights {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<()> {
        let known = wasm_wasi_right::ALL.iter().fold(0, |all, &right| all | right as u32);
        if self.wasi & !known != 0 {
            return Err(Error::invalid(format!(
                "config field wasi_rights is {:#x}: it has bits that are no wasm_wasi_right",
                self.wasi
            )));
        }
        if self.imports.iter().any(|import| import.module.is_empty()) {
            return Err(Error::invalid("config field allowed_imports: an import has no module"));
        }
        if self.imports.iter().any(|import| import.module == WASI) {
            return Err(Error::invalid("config field allowed_imports is not for WASI: use wasi_rights"));
        }
        Ok(())
    }
}
