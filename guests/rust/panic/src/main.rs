//! Goes wrong in the way that a record's value asks for, after a line on stderr; copies all other records.
//!
//! `boom` panics, `exit3` and `exit0` end the process with that code, `spin` never returns, `recurse` uses up the
//! stack and `hog` the memory.

use redpanda_transform_sdk::{on_record_written, RecordWriter, WriteError, WriteEvent};
use std::hint::black_box;

fn main() {
    on_record_written(misbehave);
}

fn misbehave(event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    match event.record.value() {
        Some(b"boom") => panic!("boom, as the record asked"),
        Some(b"exit3") => exit(3),
        Some(b"exit0") => exit(0),
        Some(b"spin") => spin(),
        Some(b"recurse") => {
            eprintln!("panic: recursing");
            eprintln!("panic: came back from depth {}", recurse(0));
        }
        Some(b"hog") => hog(),
        _ => {}
    }
    writer.write(event.record)
}

fn exit(code: i32) -> ! {
    eprintln!("panic: exit code {code}");
    std::process::exit(code)
}

#[inline(never)]
fn spin() -> ! {
    eprintln!("panic: spinning");
    loop {
        black_box(());
    }
}

/// Recurses without end; `black_box` keeps the optimizer from making it a loop.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(recurse(depth + 1))
}

#[inline(never)]
fn hog() -> ! {
    eprintln!("panic: hogging memory");
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![1_u8; 1024 * 1024]));
    }
}
