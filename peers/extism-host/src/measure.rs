// SPDX-License-Identifier: Apache-2.0
//! What is timed, and how: the same as in bench/contenders/contender.hh.

use crate::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

pub struct Options {
    pub work: String,
    pub guest: String,
    pub input: String,
    pub output: Option<String>,
    pub threads: usize,
    pub seconds: f64,
}

pub fn options() -> Result<Options, Error> {
    let mut o = Options {
        work: "identity".into(),
        guest: String::new(),
        input: String::new(),
        output: None,
        threads: 1,
        seconds: 0.25,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--work" => o.work = value,
            "--guest" => o.guest = value,
            "--input" => o.input = value,
            "--output" => o.output = Some(value),
            "--threads" => o.threads = value.parse()?,
            "--seconds" => o.seconds = value.parse()?,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    Ok(o)
}

/// What came out.
#[derive(Default)]
pub struct Tally {
    pub records: u64,
    /// Of payloads.
    pub bytes: u64,
    seen: u64,
}

impl Tally {
    /// Looks at an output record, as a host that passes it on would.
    pub fn look(&mut self, data: &[u8]) {
        self.seen += u64::from(data[0]) + u64::from(data[data.len() - 1]);
    }
}

pub trait Worker {
    /// Puts the batch through.
    fn batch(&mut self, tally: &mut Tally) -> Result<(), Error>;
    /// Puts the batch through and keeps the output.
    fn collect(&mut self) -> Result<Vec<u8>, Error>;
}

#[derive(Default)]
struct Measured {
    ns_per_batch: Vec<f64>,
    batches: u64,
    seconds: f64,
    out: Tally,
}

/// Nanoseconds of the calling thread's processor time.
fn now() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is there to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn measure(worker: &mut impl Worker, seconds: f64) -> Result<Measured, Error> {
    let mut m = Measured::default();
    let begun = Instant::now();
    let mut per_chunk = 1u64;
    let mut fastest = f64::MAX;
    while begun.elapsed().as_secs_f64() < seconds {
        let chunk = now();
        for _ in 0..per_chunk {
            worker.batch(&mut m.out)?;
        }
        let ns = (now() - chunk) / per_chunk as f64;
        m.batches += per_chunk;
        m.ns_per_batch.push(ns);
        if ns < fastest {
            fastest = ns;
            let fit = (5e5 / fastest) as u64;
            if fit > 2 * per_chunk {
                per_chunk = fit;
                m.ns_per_batch.clear();
            }
        }
    }
    m.seconds = begun.elapsed().as_secs_f64();
    black_box(m.out.seen);
    if m.ns_per_batch.is_empty() {
        m.ns_per_batch.push(m.seconds * 1e9 / m.batches as f64);
    }
    m.ns_per_batch.sort_by(f64::total_cmp);
    Ok(m)
}

/// Runs the contender; `make` gives a worker for the calling thread.
pub fn run<W: Worker>(
    name: &str,
    version: &str,
    options: &Options,
    records_in: usize,
    make: impl Fn() -> Result<W, Error> + Sync,
) -> Result<(), Error> {
    let together = Barrier::new(options.threads);
    let thread = |index: usize| -> Result<Measured, Error> {
        let mut worker = make()?;
        measure(&mut worker, (options.seconds / 4.0).min(0.05))?;
        together.wait();
        let m = measure(&mut worker, options.seconds)?;
        together.wait();
        if let (0, Some(path)) = (index, &options.output) {
            std::fs::write(path, worker.collect()?)?;
        }
        Ok(m)
    };
    let all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads)
            .map(|i| {
                scope.spawn({
                    let thread = &thread;
                    move || thread(i)
                })
            })
            .collect();
        let mut all = vec![thread(0)];
        all.extend(others.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a thread panicked".into()))));
        all.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let rate: f64 = all.iter().map(|m| 1.0 / m.ns_per_batch[m.ns_per_batch.len() / 2]).sum();
    let mean_rate: f64 = all.iter().map(|m| m.batches as f64 / (m.seconds * 1e9)).sum();
    let fastest = all.iter().map(|m| m.ns_per_batch[0]).fold(f64::MAX, f64::min);
    let n = records_in as f64;
    println!(
        "{{\"contender\": \"{name}\", \"version\": \"{version}\", \"threads\": {}, \"batches\": {}, \
         \"records_in\": {records_in}, \"ns_per_record\": {:.3}, \"wall_ns_per_record\": {:.3}, \
         \"fastest_ns_per_record\": {:.3}, \"output_records\": {}, \"output_bytes\": {}}}",
        options.threads,
        all.iter().map(|m| m.batches).sum::<u64>(),
        1.0 / rate / n,
        1.0 / mean_rate / n,
        fastest / n,
        all.iter().map(|m| m.out.records).sum::<u64>(),
        all.iter().map(|m| m.out.bytes).sum::<u64>(),
    );
    Ok(())
}
