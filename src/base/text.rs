//! Readable text for logs: names from modules, bytes and numbers.

use crate::batch::fallible;
use core::fmt::Write as _;
use cpp_demangle::{DemangleOptions, ParseOptions};
use std::borrow::Cow;

/// Longest name that is demangled or shown. A demangled C++ name can be exponentially longer than the mangled one.
const LONGEST_NAME: usize = 512;

/// How deep the C++ demangler follows a name. Its time is exponential in this: by default a name of 64 bytes can take
/// 19 ms. With this it is some 0.5 ms at worst and names of deeply nested templates stay as they are.
const DEEPEST_NAME: u32 = 44;

/// Rust and C++ names as in the source. Cut and without control characters.
pub fn demangle(name: &str) -> String {
    if name.len() > LONGEST_NAME {
        return printable(name);
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return printable(&bounded(format_args!("{rust:#}")));
    }
    // The demangler would read `a` as the type `signed char`.
    if !name.starts_with('_') {
        return printable(name);
    }
    match cpp_demangle::Symbol::new_with_options(name, &ParseOptions::default().recursion_limit(DEEPEST_NAME)) {
        Ok(symbol) => {
            let mut out = Bounded(String::new());
            let options = DemangleOptions::default().recursion_limit(DEEPEST_NAME);
            match symbol.structured_demangle(&mut out, &options) {
                Ok(()) => printable(&out.0),
                Err(_) => printable(name),
            }
        }
        Err(_) => printable(name),
    }
}

/// A string that refuses to become longer than names may be.
struct Bounded(String);

impl core::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        if self.0.len() + text.len() > LONGEST_NAME {
            return Err(core::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn bounded(text: core::fmt::Arguments<'_>) -> String {
    let mut out = Bounded(String::new());
    // What did not fit is left out.
    let _ = out.write_fmt(text);
    out.0
}

/// A name from a module for a log. Cut and with control characters escaped.
pub fn printable(name: &str) -> String {
    let mut out: String = name
        .chars()
        .take(LONGEST_NAME)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if name.chars().nth(LONGEST_NAME).is_some() {
        out.push('…');
    }
    out
}

/// Text of several lines for a log with its control characters escaped. Newlines and tabs stay.
pub fn printable_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Text. Bytes that are not UTF-8 are shown as `\xNN`. If there is no memory for that, the front is shown.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    /// Bytes of the front.
    const SHORT: usize = 1024;
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let length = bytes.utf8_chunks().map(|chunk| chunk.valid().len() + 4 * chunk.invalid().len()).sum();
    if length <= 4 * SHORT {
        return Cow::Owned(escaped(bytes, String::with_capacity(length)));
    }
    match fallible::string(length) {
        Ok(text) => Cow::Owned(escaped(bytes, text)),
        Err(_) => Cow::Owned(shortened(bytes, SHORT)),
    }
}

fn escaped(bytes: &[u8], mut text: String) -> String {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The front of a text, as long as a small allocation is, with bytes that are not UTF-8 as `\xNN`. An ellipsis stands
/// for the rest.
pub fn shortened(bytes: &[u8], longest: usize) -> String {
    let Some((front, _)) = bytes.split_at_checked(longest).filter(|(_, rest)| !rest.is_empty()) else {
        return escaped(bytes, String::new());
    };
    // Not within a character: up to three bytes that follow another byte of it.
    let inside = |at: usize| at > 0 && bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let end = (front.len().saturating_sub(3)..=front.len()).rev().find(|&at| !inside(at)).unwrap_or(front.len());
    escaped(&front[..end], String::new()) + "…"
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|n| char::from_digit(n.into(), 16).unwrap_or('?'))
        .collect()
}

/// A number with separators: 12,345.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_unless_they_are_nested_too_deep() {
        for (name, text) in [
            ("_ZN5guest3fooEi", "guest::foo(int)"),
            ("_ZZN5hello5worldEvENKUlvE_clEv", "hello::world()::{lambda()#1}::operator()() const"),
            ("_ZNSt3__213__tree_removeB8ne190000IPNS_16__tree_node_baseIPvEEEEvT_S5_", "void std::__2::__tree_remove"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("a", "a"),
        ] {
            assert!(demangle(name).starts_with(text), "{name}: {}", demangle(name));
        }
        // This took 33 ms.
        let slow = "_ZUltvoectowviSaceciSactowveclciSaISaIIiE2vectctowZUll2veciSaIS_E2vectctowZUlciSaIS_cSaIIiz2ciSaIS_cSaI\
            Iiz2szz2ciSaIS_cSaItz2viowSaIS_cSaIIiStz2veoLtz2vioiSaIS_cSaIIiStz2veoLr_UlzScSaIIiStz2veUlzS2ISIEz2veoaIIiStz2Z\
            Ul2vSaeoaIIiStz2ZUzS_tS2_Sz2Ul2vSaeoaIIiStz2ZUzS_tS2_SIEz2veorZU[ec2ISc2IL";
        assert_eq!(demangle(slow), slow);
        let nested = format!("_Z1f{}i{}v", "St6vectorI".repeat(30), "E".repeat(30));
        assert_eq!(demangle(&nested), nested);
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(shortened("aé".as_bytes(), 3), "aé");
        assert_eq!(shortened("aéb".as_bytes(), 3), "aé…");
        assert_eq!(shortened("aéb".as_bytes(), 2), "a…");
        assert_eq!(shortened(b"a\xff\xffb", 2), "a\\xff…");
        assert_eq!(shortened(&[0xBF; 20], 10), "\\xbf".repeat(10) + "…");
        let text = [&[b'a'; 5000][..], b"\xff"].concat();
        assert_eq!(escape(&text), "a".repeat(5000) + "\\xff");
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
