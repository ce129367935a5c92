//! What a call from a guest to its host costs in Wasmtime itself, for comparison with `bench-calls`: synchronous,
//! asynchronous and ready at once, asynchronous and suspended once.
//!
//!     cargo run --release --example direct-calls [-- --json]
#![allow(clippy::unwrap_used, missing_docs)]

// The package's programs are linked with the library's allocator: build.rs.
use wasm_engine as _;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use wasmtime::{Config, Engine, Linker, Module, Store};

const GUEST: &str = r#"(module
    (import "host" "sync" (func $sync (param i32) (result i32)))
    (import "host" "ready" (func $ready (param i32) (result i32)))
    (import "host" "suspended" (func $suspended (param i32) (result i32)))
    (func (export "nothing") (param $n i32)
        (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "sync") (param $n i32)
        (loop $again (drop (call $sync (local.get $n)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "ready") (param $n i32)
        (loop $again (drop (call $ready (local.get $n)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "suspended") (param $n i32)
        (loop $again (drop (call $suspended (local.get $n)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;

// Many short rounds: those that other programs interrupt are lost, and not the median.
const CALLS: i32 = 2_000;
const ROUNDS: usize = 501;

/// Pending once.
struct Once(bool);

impl Future for Once {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn main() {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "sync", |x: i32| x + 1).unwrap();
    linker.func_wrap_async("host", "ready", |_, (x,): (i32,)| Box::new(async move { x + 1 })).unwrap();
    linker
        .func_wrap_async("host", "suspended", |_, (x,): (i32,)| {
            Box::new(async move {
                Once(false).await;
                x + 1
            })
        })
        .unwrap();
    let module = Module::new(&engine, wat::parse_str(GUEST).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = block_on(linker.instantiate_async(&mut store, &module)).unwrap();
    let json = std::env::args().nth(1).is_some_and(|a| a == "--json");
    if !json {
        println!("{:<32} {:>8}", "direct Wasmtime call", "ns");
    }
    for name in ["nothing", "sync", "ready", "suspended"] {
        let function = instance.get_typed_func::<i32, ()>(&mut store, name).unwrap();
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                block_on(function.call_async(&mut store, CALLS)).unwrap();
                start.elapsed().as_nanos() as f64 / f64::from(CALLS)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        if json {
            println!("{{\"call\": \"{name}\", \"ns\": {:.2}}}", times[ROUNDS / 2]);
        } else {
            println!("{name:<32} {:>8.1}", times[ROUNDS / 2]);
        }
    }
}
