//! Names of a guest's functions, and text of a guest for logs: bounded in length and time, without control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use wasm_engine_fuzz::base::text::{demangle, escape, printable, printable_lines, shortened};
use wasm_engine_fuzz::budget;

/// Characters that are shown of a name.
const LONGEST: usize = 512;

/// What the C++ demangler takes at worst, many times over. It was seconds without a limit of its depth.
const TIME: Duration = Duration::from_millis(5);

fuzz_target!(|bytes: &[u8]| {
    let text = escape(bytes);
    assert!(text.len() <= 4 * bytes.len());
    for longest in [0, 1, 7, 512] {
        let front = shortened(bytes, longest);
        assert!(front.len() <= 4 * longest + '…'.len_utf8() || front == text);
    }
    assert!(!printable_lines(&text).contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    let name = budget::within(1 << 20, TIME, || demangle(&text));
    for shown in [&name, &printable(&text)] {
        assert!(!shown.contains(char::is_control));
        // A control character takes up to eight characters.
        assert!(shown.chars().count() <= 8 * LONGEST + 1);
    }
});
