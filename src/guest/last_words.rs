//! What a guest wrote to standard error last: usually why it ends.
//!
//! Languages differ in where the reason is. These are what their runtimes print:
//!
//! | from | what |
//! | --- | --- |
//! | Rust | `thread 'main' panicked at src/main.rs:16:26:`, the text, then a note about backtraces |
//! | Go | `panic: text` or `fatal error: text`, an empty line, then a trace of each goroutine |
//! | C, C++ | one line: `Assertion failed: …`, `libc++abi: terminating …` |
//! | JavaScript, .NET | the reason, then indented frames |
//! | Python | `Traceback …`, indented frames, then the reason |
//!
//! So a line that begins a panic is kept with those after it up to an empty line or a note. Otherwise it is the last
//! line that is not indented, or the first one if all are. Empty lines and such notes do not count.

use crate::base::text::{escape, printable_lines};
use core::cell::RefCell;

/// Bytes that are kept and that a text has.
pub const MOST_BYTES: usize = 1024;

/// Where a guest was when it wrote something: `taken` of the batch, and whether that record is in progress.
pub type Place = (u32, bool);

/// What a guest wrote last. Takes no memory before the guest writes to standard error.
#[derive(Debug, Default)]
pub struct LastWords(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    kept: Vec<u8>,
    place: Place,
    stage: Stage,
    /// The line goes on with the next piece.
    continues: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The last line counts.
    #[default]
    Lines,
    /// Within what a runtime says about a panic.
    Panic,
    /// After that.
    Trace,
}

impl LastWords {
    /// The guest wrote a line or a piece of one.
    pub fn note(&self, line: &[u8], continues: bool, place: Place) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        if core::mem::replace(&mut state.continues, continues) {
            // The rest of a line that is longer than what is kept.
            return;
        }
        if state.place != place {
            (state.place, state.stage) = (place, Stage::Lines);
            state.kept.clear();
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let blank = line.iter().all(u8::is_ascii_whitespace);
        if begins_panic(line) && state.stage != Stage::Panic {
            state.stage = Stage::Panic;
            state.kept.clear();
        }
        match state.stage {
            Stage::Panic if blank || ends_panic(line) => state.stage = Stage::Trace,
            Stage::Panic => {
                if !state.kept.is_empty() {
                    state.append(b"\n");
                }
                state.append(line);
            }
            Stage::Lines
                if !blank && !ends_panic(line) && (state.kept.is_empty() || !line[0].is_ascii_whitespace()) =>
            {
                state.kept.clear();
                state.append(line);
            }
            Stage::Lines | Stage::Trace => {}
        }
    }

    /// What the guest wrote at this place. UTF-8 of at most `MOST_BYTES` without control characters but newlines.
    pub fn at(&self, place: Place) -> Option<String> {
        let state = self.0.borrow();
        if state.place != place || state.kept.is_empty() {
            return None;
        }
        let mut text = printable_lines(&escape(&state.kept));
        let mut end = text.len().min(MOST_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Some(text)
    }

    /// Another batch or guest begins.
    pub fn forget(&self) {
        *self.0.borrow_mut() = State::default();
    }
}

impl State {
    /// Appends as much as is kept. A refusal of memory loses the rest.
    fn append(&mut self, bytes: &[u8]) {
        if self.kept.capacity() == 0 && self.kept.try_reserve_exact(MOST_BYTES).is_err() {
            return;
        }
        let room = MOST_BYTES - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn begins_panic(line: &[u8]) -> bool {
    let rust = line.starts_with(b"thread ") && line.windows(13).take(512).any(|part| part == b" panicked at ");
    rust || line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ")
}

fn ends_panic(line: &[u8]) -> bool {
    [&b"note: run with"[..], b"stack backtrace:", b"goroutine "].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        let words = LastWords::default();
        for line in text.lines() {
            words.note(line.as_bytes(), false, (1, true));
        }
        words.at((1, true)).unwrap_or_default()
    }

    #[test]
    fn each_language_s_reason_is_found() {
        for (all, reason) in [
            (
                "before\n\nthread 'main' panicked at src/main.rs:16:26:\nboom\nnote: run with `RUST_BACKTRACE=1` …",
                "thread 'main' panicked at src/main.rs:16:26:\nboom",
            ),
            ("note\npanic: boom\n\ngoroutine 1 [running]:\nmain.f()\n\t/a.go:3", "panic: boom"),
            ("panic: a\n\tpanic: b [recovered]\n\ngoroutine 1", "panic: a\n\tpanic: b [recovered]"),
            ("panic: exit code 3\n", "panic: exit code 3"),
            (
                "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1",
                "fatal error: all goroutines are \
                asleep - deadlock!",
            ),
            ("Traceback (most recent call last):\n  File \"x\"\nValueError: boom", "ValueError: boom"),
            ("one\nError: boom\n    at f (x.js)\n", "Error: boom"),
            ("Assertion failed: 0 (x.c: f: 1)\r\n\r\n", "Assertion failed: 0 (x.c: f: 1)"),
            (
                "memory allocation of 9 bytes failed\nnote: run with `RUST_BACKTRACE=1`",
                "memory allocation of 9 bytes failed",
            ),
            ("  indented", "  indented"),
            ("\n \n", ""),
        ] {
            assert_eq!(kept(all), reason);
        }
    }

    #[test]
    fn only_the_place_counts_and_the_text_is_bounded() {
        let words = LastWords::default();
        words.note(b"old", false, (1, true));
        assert_eq!(words.at((2, true)), None);
        words.note("\u{e9}".repeat(4000).as_bytes(), true, (2, true));
        words.note(b"the rest", false, (2, true));
        let text = words.at((2, true)).unwrap();
        assert!(text.len() <= MOST_BYTES && text.starts_with('\u{e9}') && !text.contains("rest"));
        words.note(&[0xFF; 4000], false, (3, true));
        assert!(words.at((3, true)).unwrap().len() <= MOST_BYTES);
        words.note(b"a\x1b[1m", false, (3, true));
        assert_eq!(words.at((3, true)).unwrap(), "a\\u{1b}[1m");
        words.forget();
        assert_eq!(words.at((3, true)), None);
    }
}
