//! Compiled code by what it was compiled from. Whoever wants code that exists gets it. Whoever wants code that is being
//! compiled waits for that compilation, on a compile thread. Code is freed with its last factory.
//!
//! Each who waits is interested in the compilation. So it is not given up while anyone wants the code. When all have
//! gone it is: whoever comes then compiles again.

use crate::base::error::Result;
use crate::base::status::wasm_status as Status;
use crate::compile::compilation::{Compilation, Interest};
use crate::compile::job;
use crate::module::artifact::Digest;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The code of a runtime.
pub struct Codes<T>(Mutex<HashMap<Digest, Entry<T>>>);

enum Entry<T> {
    Compiling(Arc<InProgress<T>>),
    Compiled(Weak<T>),
}

/// A compilation that others may wait for.
struct InProgress<T> {
    compilation: Arc<Compilation>,
    outcome: Mutex<Option<Result<Arc<T>>>>,
    ended: Condvar,
}

enum Found<T> {
    Code(Arc<T>),
    Compiling(Arc<InProgress<T>>, Interest),
    Nothing(Arc<InProgress<T>>),
}

impl<T> Default for Codes<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> InProgress<T> {
    fn wait(&self) -> Result<Arc<T>> {
        let mut outcome = self.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            self.ended.wait(&mut outcome);
        }
    }
}

/// Who compiles. The others learn of its end even if it panics.
struct Compiler<'a, T> {
    codes: &'a Codes<T>,
    key: Digest,
    progress: Arc<InProgress<T>>,
    ended: bool,
}

impl<T> Compiler<'_, T> {
    fn end(&mut self, outcome: Result<Arc<T>>) {
        self.ended = true;
        let mut entries = self.codes.0.lock();
        match &outcome {
            Ok(code) => _ = entries.insert(self.key, Entry::Compiled(Arc::downgrade(code))),
            Err(_) => _ = entries.remove(&self.key),
        }
        drop(entries);
        *self.progress.outcome.lock() = Some(outcome);
        self.progress.ended.notify_all();
    }
}

impl<T> Drop for Compiler<'_, T> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Err(job::panicked()));
        }
    }
}

impl<T> Codes<T> {
    /// The code with this key, which `make` compiles unless it exists or another request does so. The other value says
    /// whether it was not compiled here. A failure is that of all who waited and is not kept. `Cancelled` only if
    /// nobody wants the result of `compilation` any more.
    pub fn get(
        &self,
        key: Digest,
        compilation: &Arc<Compilation>,
        make: impl Fn() -> Result<T>,
    ) -> Result<(Arc<T>, bool)> {
        loop {
            match self.find(key, compilation) {
                Found::Code(code) => return Ok((code, true)),
                Found::Nothing(progress) => {
                    let mut compiler = Compiler { codes: self, key, progress, ended: false };
                    let made = make().map(Arc::new);
                    compiler.end(made.clone());
                    return made.map(|code| (code, false));
                }
                Found::Compiling(progress, interest) => {
                    compilation.follow(interest);
                    let outcome = progress.wait();
                    compilation.unfollow();
                    // It was given up before this request joined it.
                    let given_up = outcome.as_ref().is_err_and(|e| e.status == Status::Cancelled);
                    if !given_up || !compilation.is_wanted() {
                        return outcome.map(|code| (code, true));
                    }
                }
            }
        }
    }

    fn find(&self, key: Digest, compilation: &Arc<Compilation>) -> Found<T> {
        let mut entries = self.0.lock();
        match entries.get(&key) {
            Some(Entry::Compiled(code)) => {
                if let Some(code) = code.upgrade() {
                    return Found::Code(code);
                }
            }
            Some(Entry::Compiling(progress)) => {
                return Found::Compiling(progress.clone(), progress.compilation.join());
            }
            None => {}
        }
        entries.retain(|_, entry| !matches!(entry, Entry::Compiled(code) if code.strong_count() == 0));
        let compilation = compilation.clone();
        let progress = Arc::new(InProgress { compilation, outcome: Mutex::default(), ended: Condvar::new() });
        entries.insert(key, Entry::Compiling(progress.clone()));
        Found::Nothing(progress)
    }
}

#[cfg(test)]
mod tests;
