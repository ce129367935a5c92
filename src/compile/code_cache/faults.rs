//! Faults of a code cache in the log: the first at once and then one per interval, since a full disk stays full for
//! many modules.

use crate::base::text::escape;
use crate::host::log::{Line, LineBuffer, Piece, Sink, wasm_log_severity, wasm_log_source};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two lines.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Tells of troubles.
pub struct Faults {
    log: Arc<dyn Sink>,
    max_line: usize,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// Troubles since then.
    silent: u64,
}

impl Faults {
    /// With lines of at most `max_line` bytes.
    pub fn new(log: Arc<dyn Sink>, max_line: usize) -> Self {
        Self { log, max_line, told: Mutex::default() }
    }

    /// Logs a fault that occurred while a transform was compiled, unless a line was logged a short time ago.
    pub fn tell(&self, transform: &str, what: &str) {
        self.tell_at(transform, what, Instant::now());
    }

    fn tell_at(&self, transform: &str, what: &str, now: Instant) {
        let silent = {
            let mut told = self.told.lock();
            if told.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
                told.silent += 1;
                return;
            }
            told.last = Some(now);
            core::mem::take(&mut told.silent)
        };
        let more = if silent > 0 {
            format!(" ({silent} more such troubles were not told since the last)")
        } else {
            String::new()
        };
        let line = format!("the cache of compiled modules: {what}; modules are compiled all the same{more}");
        let mut buffer = LineBuffer::new(wasm_log_severity::Warn, self.max_line);
        let emit = |piece: Piece<'_>| {
            self.log.line(&Line {
                severity: piece.severity,
                source: wasm_log_source::Library,
                continues: piece.continues,
                shard: 0,
                transform,
                text: &escape(piece.bytes),
                engine: core::ptr::null_mut(),
                user_data: core::ptr::null_mut(),
            });
        };
        buffer.write(line.as_bytes(), emit);
        buffer.flush(emit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<(String, String)>>);
    impl Sink for Lines {
        fn line(&self, line: &Line<'_>) {
            assert_eq!((line.severity, line.continues), (wasm_log_severity::Warn, false));
            self.0.lock().push((line.transform.into(), line.text.into()));
        }
    }

    #[test]
    fn told_at_once_and_then_once_in_a_while_with_the_number_of_those_left_out() {
        let lines = Arc::new(Lines::default());
        let faults = Faults::new(lines.clone(), 4096);
        let start = Instant::now();
        for (after, what) in
            [(0, "one"), (1, "two"), (59, "three"), (60, "four"), (61, "five"), (200, "six"), (300, "seven")]
        {
            faults.tell_at("t", what, start + Duration::from_secs(after));
        }
        let told: Vec<_> = lines.0.lock().iter().map(|(_, line)| line.clone()).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[0], "the cache of compiled modules: one; modules are compiled all the same");
        assert!(
            told[1].contains(": four;") && told[1].ends_with("(2 more such troubles were not told since the last)")
        );
        assert!(told[2].contains(": six;") && told[2].contains("(1 more"));
        assert!(told[3].contains(": seven;") && !told[3].contains("more"));
        assert!(lines.0.lock().iter().all(|(transform, _)| transform == "t"));
    }
}
