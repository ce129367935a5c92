// SPDX-License-Identifier: Apache-2.0
//! A contender of `make bench`: Extism, one plugin call for each record.
//!
//! The arguments, the timed loop and the line of JSON are those of bench/contenders/contender.hh. In Extism's favour:
//! its records are parsed outside of the timed loop, only their values go in and out, and the plugin has neither WASI
//! nor a time limit.

mod batch;
mod measure;

use batch::{Record, canonical, read_records};
use extism::{Manifest, Plugin, Wasm};
use measure::{Tally, Worker, options, run};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Output goes here, over and over, as in bench/contenders/native.cc.
const BLOCK: usize = 64 * 1024;

struct Guest<'a> {
    plugin: Plugin,
    work: &'a str,
    records: &'a [Record<'a>],
    block: Vec<u8>,
}

impl Guest<'_> {
    /// The output of one record: topic and size; its value is in the block, from `at` on.
    fn call(&mut self, index: usize, at: usize) -> Result<Option<(u32, usize)>, Error> {
        let output: &[u8] = self.plugin.call(self.work, self.records[index].value)?;
        let Some((&topic, value)) = output.split_first() else {
            return Ok(None);
        };
        self.block[at..at + value.len()].copy_from_slice(value);
        Ok(Some((u32::from(topic), value.len())))
    }
}

impl Worker for Guest<'_> {
    fn batch(&mut self, tally: &mut Tally) -> Result<(), Error> {
        let mut used = 0;
        for index in 0..self.records.len() {
            if used + self.records[index].value.len() + 3 > self.block.len() {
                used = 0;
            }
            if let Some((_, size)) = self.call(index, used)? {
                tally.look(&self.block[used..used + size]);
                tally.records += 1;
                tally.bytes += self.records[index].payload_size(size) as u64;
                used += size;
            }
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for index in 0..self.records.len() {
            if let Some((topic, size)) = self.call(index, 0)? {
                canonical(&mut out, topic, &self.records[index], &self.block[..size]);
            }
        }
        Ok(out)
    }
}

fn main() -> Result<(), Error> {
    let options = options()?;
    let input = std::fs::read(&options.input)?;
    let records = read_records(&input)?;
    let manifest = Manifest::new([Wasm::data(std::fs::read(&options.guest)?)]).disallow_all_hosts();
    let largest = records.iter().map(|r| r.value.len()).max().unwrap_or(0);
    run("extism", "1.30.0", &options, records.len(), || {
        Ok(Guest {
            plugin: Plugin::new(&manifest, [], false)?,
            work: &options.work,
            records: &records,
            block: vec![0; BLOCK.max(largest + 3)],
        })
    })
}
