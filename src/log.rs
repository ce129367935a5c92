//! Guests' output becomes the host's log: lines, bounded, always valid UTF-8.

use std::borrow::Cow;

/// How urgent a line is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_log_severity {
    /// Details that help to find a fault.
    Debug = 0,
    /// A guest's standard output.
    Info = 1,
    /// A guest's standard error.
    Warn = 2,
    /// A failure that the host will also see as a status.
    Error = 3,
}

/// Where lines go. Called on the engine's thread, in the middle of a guest's call; for the cache's troubles, on a
/// compile thread.
pub trait Sink: Send + Sync {
    /// One line, without its newline. `continues` says that the line was cut: the next one of this level belongs to it.
    fn line(&self, level: wasm_log_severity, transform: &str, line: &str, continues: bool);
}

/// Collects what a guest writes until there is a line.
pub struct LineBuffer {
    level: wasm_log_severity,
    limit: usize,
    pending: Vec<u8>,
}

impl LineBuffer {
    /// A buffer for lines of at most `limit` bytes.
    pub fn new(level: wasm_log_severity, limit: usize) -> Self {
        Self { level, limit, pending: Vec::new() }
    }

    /// Takes some bytes and hands out the lines that they complete.
    pub fn write(&mut self, mut bytes: &[u8], transform: &str, sink: &dyn Sink) {
        while !bytes.is_empty() {
            let room = self.limit - self.pending.len();
            let newline = bytes.iter().take(room + 1).position(|&b| b == b'\n');
            match newline {
                Some(end) => {
                    self.pending.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    self.emit(self.pending.len(), transform, sink, false);
                }
                None if bytes.len() <= room => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
                None => {
                    self.pending.extend_from_slice(&bytes[..room]);
                    bytes = &bytes[room..];
                    let whole = whole_characters(&self.pending);
                    self.emit(whole, transform, sink, true);
                }
            }
        }
    }

    /// Hands out what is left of a line that was never ended.
    pub fn flush(&mut self, transform: &str, sink: &dyn Sink) {
        if !self.pending.is_empty() {
            self.emit(self.pending.len(), transform, sink, false);
        }
        self.pending = Vec::new();
    }

    fn emit(&mut self, length: usize, transform: &str, sink: &dyn Sink, continues: bool) {
        sink.line(self.level, transform, &escape(&self.pending[..length]), continues);
        self.pending.drain(..length);
    }
}

/// The length without a UTF-8 character that was cut off at the end, so that cutting a line does not spoil it.
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

/// Text, with bytes that are not UTF-8 as `\xNN`.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Lines(Mutex<Vec<(String, bool)>>);
    impl Sink for Lines {
        fn line(&self, _: wasm_log_severity, _: &str, line: &str, continues: bool) {
            self.0.lock().push((line.to_owned(), continues));
        }
    }

    fn lines(limit: usize, writes: &[&[u8]]) -> Vec<(String, bool)> {
        let sink = Lines::default();
        let mut buffer = LineBuffer::new(wasm_log_severity::Info, limit);
        for write in writes {
            buffer.write(write, "t", &sink);
        }
        buffer.flush("t", &sink);
        sink.0.into_inner()
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
