//! Profiles of an engine's guests.

use super::Engine;
use crate::base::error::Result;
use crate::guest::clock;
use std::time::Duration;

impl Engine {
    /// Begins to profile the guest. A misuse from one of the engine's callbacks, or as of `Profile::start`.
    pub fn start_profile(&self, interval: Duration) -> Result<()> {
        let _busy = self.enter()?;
        let compiled = self.compiled();
        let tick = clock::tick(&compiled.shared.config);
        self.context().profile.start(&compiled.transform.name, &compiled.program, tick, interval)
    }

    /// Ends the profile, and gives it as JSON.
    pub fn finish_profile(&self) -> Result<String> {
        let _busy = self.enter()?;
        let compiled = self.compiled();
        self.context().profile.finish(&compiled.transform.name, &compiled.program)
    }
}
