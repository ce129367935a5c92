//! A module as it is compiled: with its suspend points, without the data of its image and, if they are asked for, with
//! the lines of its source.

use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::module::data_image::{self, DataImage};
use crate::module::lines::{Lines, Recorder};
use crate::module::suspend_points::{self, Options, Waits, Wrappers};
use crate::module::{data_segments, record_calls};
use crate::system::memory::reserve;
use core::fmt::Display;

/// Bytes that reading a module's lines may need. Most are for the largest header of a unit.
const LINES: usize = 64 << 20;

/// A module that is ready to be compiled.
pub struct Rewritten {
    code: Option<Vec<u8>>,
    /// What was added to it.
    pub wrappers: Wrappers,
    /// Its lines. Empty if none were asked for or the module has none.
    pub lines: Lines,
    /// What was taken out of it.
    pub image: Option<DataImage>,
    /// Whether the positions of its instructions are needed.
    pub has_positions: bool,
}

impl Rewritten {
    /// Rewrites a valid module. `waits` says whether the import with this module and name may have to wait.
    pub fn new(module: &[u8], waits: impl Fn(&str, &str) -> Option<Waits>, config: &Config) -> Result<Self> {
        let with_lines = config.debug_info;
        let broken =
            |e: &dyn Display| Error::new(Status::ModuleCompile, format!("the module could not be rewritten: {e}"));
        let taken = if config.has_data_images() { data_image::take(module).map_err(|e| broken(&e))? } else { None };
        let (taken, image) = taken.unzip();
        let module = taken.as_deref().unwrap_or(module);
        let _lease = with_lines.then(|| reserve::lease(LINES)).transpose()?;
        let mut recorder = if with_lines { Recorder::new(module) } else { None };
        let has_positions = recorder.is_some();
        // Behind the code, so that no position of an instruction changes.
        // Not over an image: the zeros between segments would be written into it.
        let joined = if image.is_none() { data_segments::join(module).map_err(|e| broken(&e))? } else { None };
        let module = joined.as_deref().unwrap_or(module);
        let options = Options { recorder: recorder.as_mut(), expands: config.expands_record_calls() };
        let rewritten = suspend_points::add(module, waits, options).map_err(|e| broken(&e))?;
        if let Some(changed) = &rewritten
            && !changed.sites.is_empty()
        {
            record_calls::check(&changed.module, &changed.sites)
                .map_err(|why| Error::new(Status::Internal, format!("the module was rewritten wrongly: {why}")))?;
        }
        let lines = match recorder {
            Some(recorder) if rewritten.is_some() => recorder.finish(),
            Some(recorder) => recorder.unchanged(module).map_err(|e| broken(&e))?,
            None => Lines::default(),
        };
        let (code, wrappers) = rewritten
            .map_or((joined.or(taken), Wrappers::default()), |changed| (Some(changed.module), changed.wrappers));
        Ok(Self { code, wrappers, lines, image, has_positions })
    }

    /// What is compiled instead of the module.
    pub fn or<'a>(&'a self, module: &'a [u8]) -> &'a [u8] {
        self.code.as_deref().unwrap_or(module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, Payload};

    #[test]
    fn nothing_is_written_over_an_image() {
        let empty: String = (0..20).map(|i| format!("(data (i32.const {}) \"\")", 64 * i)).collect();
        let text = format!("(module (memory 2) (data (i32.const 0) \"{}\") {empty})", "x".repeat(50_000));
        let module = wat::parse_str(text).unwrap();
        let rewritten = Rewritten::new(&module, |_, _| None, &Config::default()).unwrap();
        assert!(rewritten.image.is_some());
        for payload in Parser::new(0).parse_all(rewritten.or(&module)) {
            if let Payload::DataSection(segments) = payload.unwrap() {
                assert!(segments.into_iter().all(|segment| segment.unwrap().data.is_empty()));
            }
        }
    }
}
