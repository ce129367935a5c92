//! Profiles of an engine's guests.

use super::seat::Seat;
use crate::base::error::Result;
use crate::guest::clock;
use std::time::Duration;

impl Seat {
    /// Starts to profile the guest. Refused from the engine's own callbacks and as by `Profile::start`.
    pub fn start_profile(&self, interval: Duration) -> Result<()> {
        let entered = self.enter()?;
        let engine = &entered.inside.engine;
        let compiled = engine.compiled();
        let tick = clock::tick(&compiled.shared.config);
        engine.context().profile.start(&compiled.transform, &compiled.program, tick, interval)
    }

    /// Ends the profile and returns it as JSON.
    pub fn finish_profile(&self) -> Result<String> {
        let entered = self.enter()?;
        let engine = &entered.inside.engine;
        let compiled = engine.compiled();
        engine.context().profile.finish(&compiled.transform, &compiled.program)
    }
}
