//! Faults of a code cache in the log: the first at once and then one per interval, since a full disk stays full for
//! many modules.

use crate::base::text::escape;
use crate::host::log::{Line, LineBuffer, Piece, Sink, wasm_log_severity, wasm_log_source};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two lines.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Logs faults.
pub struct Faults {
    log: Arc<dyn Sink>,
    max_line: usize,
    state: Mutex<FaultState>,
}

#[derive(Default)]
struct FaultState {
    /// When the last line was logged.
    last: Option<Instant>,
    /// Faults since then.
    suppressed: u64,
}

impl Faults {
    /// With lines of at most `max_line` bytes.
    pub fn new(log: Arc<dyn Sink>, max_line: usize) -> Self {
        Self { log, max_line, state: Mutex::default() }
    }

    /// Logs a fault that occurred while a transform was compiled, unless a line was logged a short time ago.
    pub fn log(&self, transform: &str, what: &str) {
        self.log_at(transform, what, Instant::now());
    }

    fn log_at(&self, transform: &str, what: &str, now: Instant) {
        let suppressed = {
            let mut state = self.state.lock();
            if state.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
                state.suppressed += 1;
                return;
            }
            state.last = Some(now);
            core::mem::take(&mut state.suppressed)
        };
        let more = if suppressed > 0 {
            format!(" ({suppressed} more faults were not logged since the last one)")
        } else {
            String::new()
        };
        let line = format!("the code cache: {what}. Modules are compiled without it{more}");
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
    fn faults_are_logged_once_per_interval_with_the_number_of_suppressed_ones() {
        let lines = Arc::new(Lines::default());
        let faults = Faults::new(lines.clone(), 4096);
        let start = Instant::now();
        for (after, what) in
            [(0, "one"), (1, "two"), (59, "three"), (60, "four"), (61, "five"), (200, "six"), (300, "seven")]
        {
            faults.log_at("t", what, start + Duration::from_secs(after));
        }
        let logged: Vec<_> = lines.0.lock().iter().map(|(_, line)| line.clone()).collect();
        assert_eq!(logged.len(), 4, "{logged:?}");
        assert_eq!(logged[0], "the code cache: one. Modules are compiled without it");
        assert!(
            logged[1].contains(": four.") && logged[1].ends_with("(2 more faults were not logged since the last one)")
        );
        assert!(logged[2].contains(": six.") && logged[2].contains("(1 more"));
        assert!(logged[3].contains(": seven.") && !logged[3].contains("more"));
        assert!(lines.0.lock().iter().all(|(transform, _)| transform == "t"));
    }
}
