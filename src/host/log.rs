//! Guests' output becomes lines of the host's log. Lines are bounded and always valid UTF-8.

use crate::batch::fallible;
use core::ffi::c_void;

/// How urgent a line is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // the library has nothing of the first and the last kind to tell yet
pub enum wasm_log_severity {
    /// Details that help to find a fault.
    Debug = 0,
    /// A guest's standard output. From the library: information.
    Info = 1,
    /// A guest's standard error. From the library: a problem that needs attention.
    Warn = 2,
    /// A failure that the host will also see as a status.
    Error = 3,
}

/// The source of a line.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_log_source {
    /// The guest.
    Guest = 0,
    /// The library itself. The line is about the guest or its transform.
    Library = 1,
}

/// One line without its newline.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The severity.
    pub severity: wasm_log_severity,
    /// The source.
    pub source: wasm_log_source,
    /// The line was cut. The next line of this severity continues it.
    pub continues: bool,
    /// The engine's shard.
    pub shard: u32,
    /// The transform's name.
    pub transform: &'a str,
    /// The text.
    pub text: &'a str,
    /// The engine's handle in C. NULL before the engine has one.
    pub engine: *mut c_void,
    /// What the host attached to the engine.
    pub user_data: *mut c_void,
}

/// Where lines go. Called on the engine's thread during a guest's call. Faults of the code cache are logged on a
/// compile thread.
pub trait Sink: Send + Sync {
    /// Takes a line.
    fn line(&self, line: &Line<'_>);
}

/// A line or a part of a line that was too long.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The stream's.
    pub severity: wasm_log_severity,
    /// The line as the guest wrote it.
    pub bytes: &'a [u8],
    /// The line goes on with the next piece of this severity.
    pub continues: bool,
}

/// Collects a guest's output until a line is complete.
pub struct LineBuffer {
    severity: wasm_log_severity,
    limit: usize,
    pending: Vec<u8>,
}

impl LineBuffer {
    /// A buffer for lines of at most `limit` bytes.
    pub fn new(severity: wasm_log_severity, limit: usize) -> Self {
        Self { severity, limit, pending: Vec::new() }
    }

    /// Takes some bytes and hands out the lines that they complete.
    pub fn write(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let room = self.limit - self.pending.len();
            let newline = bytes.iter().take(room + 1).position(|&b| b == b'\n');
            let end = newline.unwrap_or(bytes.len().min(room));
            let (part, rest) = bytes.split_at(end);
            let is_whole = newline.is_some();
            if self.pending.is_empty() && (is_whole || !rest.is_empty()) {
                // Nothing to put together.
                let length = if is_whole { end } else { whole_characters(part) };
                emit(Piece { severity: self.severity, bytes: &part[..length], continues: !is_whole });
                bytes = &bytes[length + usize::from(is_whole)..];
                continue;
            }
            if fallible::extend(&mut self.pending, part).is_err() {
                // The line is cut where memory was refused.
                let severity = self.severity;
                for bytes in [&*self.pending, part] {
                    if !bytes.is_empty() {
                        emit(Piece { severity, bytes, continues: true });
                    }
                }
                self.pending.clear();
                bytes = rest;
                continue;
            }
            bytes = &rest[usize::from(is_whole)..];
            if is_whole {
                self.emit(self.pending.len(), &mut emit, false);
            } else if self.pending.len() == self.limit && !bytes.is_empty() {
                let whole = whole_characters(&self.pending);
                self.emit(whole, &mut emit, true);
            }
        }
    }

    /// Emits the rest of a line that was never ended.
    pub fn flush(&mut self, mut emit: impl FnMut(Piece<'_>)) {
        if !self.pending.is_empty() {
            self.emit(self.pending.len(), &mut emit, false);
        }
        self.pending = Vec::new();
    }

    fn emit(&mut self, length: usize, emit: &mut impl FnMut(Piece<'_>), continues: bool) {
        emit(Piece { severity: self.severity, bytes: &self.pending[..length], continues });
        self.pending.drain(..length);
    }
}

/// The length without a UTF-8 character that is cut off at the end. Cutting a line must not break its encoding.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let lead = bytes[bytes.len() - back];
        let needs = match lead {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0x80..=0xBF => continue,
            _ => break,
        };
        if needs > back && bytes.len() > back {
            return bytes.len() - back;
        }
        break;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::escape;

    fn lines(limit: usize, writes: &[&[u8]]) -> Vec<(String, bool)> {
        let mut out = Vec::new();
        let mut keep = |piece: Piece<'_>| out.push((escape(piece.bytes).into_owned(), piece.continues));
        let mut buffer = LineBuffer::new(wasm_log_severity::Info, limit);
        for write in writes {
            buffer.write(write, &mut keep);
        }
        buffer.flush(&mut keep);
        out
    }

    #[test]
    fn several_writes_make_one_line() {
        assert_eq!(
            lines(80, &[b"a", b"b\nc", b"\n\nd"]),
            [("ab".into(), false), ("c".into(), false), (String::new(), false), ("d".into(), false),]
        );
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_not_cut() {
        assert_eq!(lines(3, &[b"abc\nabcd\n"]), [("abc".into(), false), ("abc".into(), true), ("d".into(), false)]);
    }

    #[test]
    fn invalid_bytes_are_escaped_and_characters_are_not_cut() {
        assert_eq!(lines(80, &[b"a\xFFb\n"]), [("a\\xffb".into(), false)]);
        assert_eq!(lines(4, &["abc\u{e9}d\n".as_bytes()]), [("abc".into(), true), ("\u{e9}d".into(), false)]);
    }

    #[test]
    fn ten_megabytes_without_a_newline_stay_bounded() {
        let flood = vec![b'x'; 10 << 20];
        let out = lines(8 << 10, &[&flood]);
        assert_eq!(out.iter().map(|(line, _)| line.len()).sum::<usize>(), flood.len());
        assert!(out.iter().all(|(line, _)| line.len() <= 8 << 10));
    }
}
