//! Names for compiled code: two runtimes use the same name only if they would make the same code.

use crate::module::artifact::Digest;
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher};
use wasmtime::Engine;

/// Raised whenever `module::data_image`, `data_segments`, `suspend_points`, `bulk_memory` or `record_calls` rewrites
/// modules in another way, or when host functions change their meaning for the added code. A test here notices the
/// former.
pub const REWRITING: u32 = 6;

/// What one module's code depends on.
#[derive(Clone, Copy, Debug)]
pub struct KeyInputs<'a> {
    /// `engine` of the Wasmtime engine.
    pub engine: Digest,
    /// SHA-256 of the module as its author made it.
    pub module: Digest,
    /// Bytes of the module.
    pub module_size: u64,
    /// The code comes with the lines of its source.
    pub lines: bool,
    /// How each import waits, in order, as `suspend_points::Waits` numbers it. 0 if it does not.
    pub waits: &'a [u8],
}

/// SHA-256 of bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Everything about an engine that its code depends on: Wasmtime's version, the processor with its features and the
/// configuration.
pub fn engine(engine: &Engine) -> Digest {
    let mut hasher = Feed(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}

impl KeyInputs<'_> {
    /// The name.
    pub fn key(&self) -> Digest {
        let mut hash = Sha256::new();
        // Each part has a fixed length, or comes last, or ends with a byte that it does not contain.
        hash.update(concat!(
            "wasm-engine ",
            env!("CARGO_PKG_VERSION"),
            " with Wasmtime ",
            env!("WASMTIME_VERSION"),
            "\0"
        ));
        hash.update(REWRITING.to_le_bytes());
        hash.update(self.engine);
        hash.update(self.module);
        hash.update(self.module_size.to_le_bytes());
        hash.update([u8::from(self.lines)]);
        hash.update(self.waits);
        hash.finalize().into()
    }
}

/// Feeds hashed data to SHA-256. Only processes on one machine compare the results, so the byte order of numbers does
/// not matter.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.clone().finalize()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::{Config, wasm_memory_mode, wasm_trap_mode};
    use crate::base::text::hex;
    use crate::compile::wasmtime_config;
    use crate::module::data_image;
    use crate::module::suspend_points::{self, Waits};
    use crate::system::memory::block::Source;
    use crate::system::memory::creators::Provider;

    #[test]
    fn each_ingredient_makes_another_key() {
        let base = KeyInputs { engine: [1; 32], module: [2; 32], module_size: 3, lines: false, waits: &[0, 1] };
        let others = [
            KeyInputs { engine: [9; 32], ..base },
            KeyInputs { module: [9; 32], ..base },
            KeyInputs { module_size: 9, ..base },
            KeyInputs { lines: true, ..base },
            KeyInputs { waits: &[0, 2], ..base },
            KeyInputs { waits: &[0, 1, 0], ..base },
        ];
        for other in others {
            assert_ne!(base.key(), other.key(), "{other:?}");
        }
        assert_eq!(base.key(), base.key());
    }

    #[test]
    fn keys_of_engines_differ_only_by_settings_that_change_code() {
        let of = |config: &Config| engine(&Engine::new(&wasmtime_config::make(config, None)).unwrap());
        let base = of(&Config::default());
        assert_eq!(base, of(&Config::default()));
        assert_eq!(base, of(&Config { memory_limit: 1 << 20, guest_stack: 1 << 20, ..Config::default() }));
        assert_ne!(base, of(&Config { trap_mode: wasm_trap_mode::Checks, ..Config::default() }));
        let pool = Config {
            memory_mode: wasm_memory_mode::ProcessPool,
            pool_engines: 10_000,
            memory_limit: 1 << 20,
            ..Config::default()
        };
        assert_ne!(base, of(&pool));
    }

    #[test]
    fn code_without_its_data_has_a_key_of_its_own() {
        let of = |config: &Config, provider: Option<Provider>| {
            engine(&Engine::new(&wasmtime_config::make(config, provider.as_ref())).unwrap())
        };
        for trap_mode in [wasm_trap_mode::Signals, wasm_trap_mode::Checks] {
            let config = Config { trap_mode, ..Config::default() };
            assert!(config.has_data_images());
            let with_image = of(&config, Some(Provider::Mapped));
            let whole = Config { expands_record_calls: false, ..config.clone() };
            assert!(!whole.has_data_images());
            assert_ne!(with_image, of(&whole, None));
            for memory_mode in [wasm_memory_mode::ThreadPool, wasm_memory_mode::Host] {
                let config = Config { memory_mode, ..config.clone() };
                assert!(!config.has_data_images());
                let provider =
                    Provider::Host { memories: Source::System, stacks: Source::System, memory: config.memory_size() };
                assert_ne!(with_image, of(&config, Some(provider)));
            }
            let pool = Config { memory_mode: wasm_memory_mode::ProcessPool, pool_engines: 2, ..config };
            assert!(!pool.has_data_images());
            assert_ne!(with_image, of(&pool, None));
        }
    }

    /// A module in which everything is rewritten that can be.
    const MODULE: &str = r#"(module
        (type $void (func))
        (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
        (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
        (import "redpanda_transform" "write_record_with_options"
            (func $write_to (param i32 i32 i32 i32) (result i32)))
        (import "host" "flagged" (func $flagged (param i64) (result f32 i64)))
        (table 2 funcref)
        (table $long 5000 funcref)
        (elem (i32.const 0) $write $flagged)
        (elem $functions func FUNCTIONS)
        (memory (export "memory") 9)
        (data $early (i32.const 3) "BYTES")
        (data $bytes "BYTES")
        (export "write" (func $write))
        (func $_start (export "_start")
            (memory.fill (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
            (memory.copy (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
            (memory.copy (i32.const 0) (i32.const 1) (i32.const 64))
            (memory.init $bytes (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
            (table.fill $long (i32.const 0) (ref.null func) (i32.load (i32.const 0)))
            (table.copy $long $long (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
            (table.init $long $functions (i32.const 0) (i32.const 1) (i32.load (i32.const 0)))
            (drop (call $read (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5)))
            (drop (call $write (i32.const 1) (i32.const 2)))
            (drop (call $write_to (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)))
            (drop (drop (call $flagged (i64.const 3))))))"#;

    #[test]
    fn a_new_way_of_rewriting_has_a_new_number() {
        let module = MODULE.replace("FUNCTIONS", &"$write ".repeat(5000)).replace("BYTES", &"x".repeat(200_000));
        let module = wat::parse_str(module).unwrap();
        let waits = |module: &str, name: &str| match module {
            "host" => Some(Waits::Flag),
            _ => suspend_points::own(module, name),
        };
        let options = || suspend_points::Options { expands: true, ..Default::default() };
        let add = |module: &[u8]| suspend_points::add(module, waits, options()).unwrap().unwrap().module;
        let (rest, image) = data_image::take(&module).unwrap().unwrap();
        let rewritten = [add(&module), add(&rest), image.start.to_le_bytes().to_vec(), image.bytes.to_vec()].concat();
        assert_eq!(
            (REWRITING, hex(&digest(&rewritten)).as_str()),
            (6, "715d9f35c26bf81c6370909ec48d0b7850b7e8f7ff745dd97f9429764663c2c7"),
            "modules are rewritten in another way: raise REWRITING and put the new number and digest here"
        );
    }
}
