//! The random numbers of a guest: ChaCha12, which is fit for keys and nonces.
//!
//! Each guest has a seed from the system, which is fetched when the guest first asks for a number. In a replay the seed
//! is the host's and every guest has the same numbers.

use crate::system::{entropy, fork};
use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use core::num::NonZeroU64;

/// One guest's random numbers.
pub struct Random {
    replay: Option<NonZeroU64>,
    /// The generator and the process that it was seeded in.
    generator: Option<(u64, ChaCha12Rng)>,
}

impl Random {
    /// For a guest that is about to start.
    pub fn new(replay: Option<NonZeroU64>) -> Self {
        Self { replay, generator: None }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        // The child of a fork has a copy of its parent's state and needs other numbers. Not so in a replay.
        let process = if self.replay.is_some() { 0 } else { fork::generation() };
        let generator = match &mut self.generator {
            Some((seeded_in, generator)) if *seeded_in == process => generator,
            slot => {
                let fresh = match self.replay {
                    Some(seed) => ChaCha12Rng::seed_from_u64(seed.get()),
                    None => ChaCha12Rng::from_seed(entropy::seed()),
                };
                &mut slot.insert((process, fresh)).1
            }
        };
        generator.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(random: &mut Random) -> [u8; 32] {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        bytes
    }

    #[test]
    fn guests_differ_unless_they_are_replayed() {
        let (mut one, mut other) = (Random::new(None), Random::new(None));
        assert_ne!(some(&mut one), some(&mut other));
        assert_ne!(some(&mut one), some(&mut one));
        let replayed = |seed| {
            let mut random = Random::new(NonZeroU64::new(seed));
            (some(&mut random), some(&mut random))
        };
        assert_eq!(replayed(7), replayed(7));
        assert_ne!(replayed(7), replayed(8));
        let (first, second) = replayed(7);
        assert_ne!(first, second);
    }

    #[test]
    fn a_replay_is_the_same_in_every_version_of_the_library() {
        let mut random = Random::new(NonZeroU64::new(1));
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        assert_eq!(bytes, [97, 24, 48, 211, 100, 26, 104, 249]);
    }
}
