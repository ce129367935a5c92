//! The work of `make bench`, as bench/work.h has it: the same scan over the same bytes, for guests that use the SDK.

/// The position behind the string that begins with the quote at `at`; the text's length if it does not end.
fn skip_string(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < json.len() {
        match json[at] {
            b'\\' => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    json.len()
}

/// Where the text of a field at the top level lies, without its quotes; None if it is not there or no string.
pub fn field(json: &[u8], name: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut depth = 0;
    let mut named = false;
    let mut wanted = false;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                let next = skip_string(json, at);
                let text = at + 1..(next - 1).max(at + 1);
                if wanted {
                    return Some(text);
                }
                named = depth == 1 && json[text] == *name;
                at = next;
                continue;
            }
            b':' => wanted = named,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            other => {
                if wanted {
                    return None;
                }
                named = false;
                match other {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
            }
        }
        at += 1;
    }
    None
}

/// Whether the field's text is this.
#[allow(dead_code)]
pub fn is(json: &[u8], name: &[u8], text: &[u8]) -> bool {
    field(json, name).is_some_and(|found| json[found] == *text)
}
