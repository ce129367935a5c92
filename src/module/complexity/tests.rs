use super::*;
use crate::system::processor_time::of_this_thread;
use wasmparser::{ValidPayload, Validator};

/// The estimate for a valid module, and the cost of its most expensive function.
fn estimate(module: &[u8]) -> (Cost, Cost) {
    let (mut validator, mut estimate) = (Validator::new(), Estimate::new(module, u32::MAX));
    let (mut functions, mut largest) = (Vec::new(), Cost::default());
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        match validator.payload(&payload).unwrap() {
            ValidPayload::Func(function, body) => functions.push((function, body)),
            _ => assert!(estimate.section(&payload).is_ok()),
        }
    }
    for (function, body) in functions {
        let before = estimate.total();
        let (cost, _) = estimate.measure(function, &body, FuncValidatorAllocations::default()).ok().unwrap();
        assert!(estimate.total() == before);
        largest.time = largest.time.max(cost.1.total().time);
        largest.memory = largest.memory.max(cost.1.total().memory);
        assert!(estimate.add(cost.0, &cost.1).is_ok());
    }
    (estimate.total(), largest)
}

/// Prints the estimates for the modules in WASM_ENGINE_MODULES and what their compilation takes on one thread. They
/// need not be transforms: cargo test --release --lib estimates_of_modules -- --ignored --nocapture
#[test]
#[ignore = "for those who change the costs"]
fn estimates_of_modules() {
    let engine = wasmtime::Engine::new(wasmtime::Config::new().parallel_compilation(false)).unwrap();
    for path in std::env::var("WASM_ENGINE_MODULES").unwrap().split_whitespace() {
        let module = std::fs::read(path).unwrap();
        let (all, largest) = estimate(&module);
        let begin = of_this_thread().unwrap();
        let compiled = engine.precompile_module(&module).map(|code| code.len());
        println!(
            "{path}: {} bytes, {:.2} s, {} MiB kept; the largest function {:.3} s, {:.1} MiB; took {:.2} s: {:?}",
            module.len(),
            all.time as f64 / 1e9,
            all.kept >> 20,
            largest.time as f64 / 1e9,
            largest.memory as f64 / f64::from(1 << 20),
            (of_this_thread().unwrap() - begin) as f64 / 1e9,
            compiled.map_err(|e| format!("{e:#}"))
        );
    }
}

/// The message if the module is refused.
fn refusal(fields: &str, factor: u32) -> Option<String> {
    let module = wat::parse_str(format!("(module {fields})")).unwrap();
    match crate::module::validate::check_specification(&module, factor) {
        Ok(()) => None,
        Err(e) => {
            assert_eq!(e.status, Status::ModuleTooComplex, "{}", e.message);
            Some(e.message)
        }
    }
}

#[test]
fn each_kind_of_bomb_is_refused_with_its_reason() {
    let values = "i64 ".repeat(1000);
    let (zeros, drops) = ("(i64.const 0)".repeat(1000), "drop ".repeat(1000));
    let wide = format!("(type $w (func (param {values}) (result {values})))");
    let loops = |n: usize| format!("(func {})", "(loop)".repeat(n));
    let nested = |depth: usize| {
        let writes: String = (0..100).map(|i| format!("i32.const 1 local.set {i} ")).collect();
        format!("(func (local {}) {} {writes} {})", "i32 ".repeat(100), "loop ".repeat(depth), "end ".repeat(depth))
    };
    let blocks =
        |kind: &str, n: usize| format!("{wide} (func {zeros} {} {drops})", format!("{kind} (type $w) end ").repeat(n));
    let calls = |n: usize| {
        format!(
            "(func $a (result {values}) {zeros}) (func $b (param {values})) (func {})",
            "call $a call $b ".repeat(n)
        )
    };
    let changed = |n: usize| {
        let ifs = (0..n).map(|i| format!("local.get 0 if i32.const 1 local.set {} end ", i % 100));
        let reads: String = (0..100).map(|i| format!("local.get {i} drop ")).collect();
        format!("(func (local {}) {} {reads})", "i32 ".repeat(100), ifs.collect::<String>())
    };
    // Locals as compilers use them: live in a few blocks only.
    let short = |n: usize| {
        let ifs =
            (0..n).map(|i| format!("local.get 0 if i32.const 1 local.tee {0} drop local.get {0} drop end ", i % 100));
        format!("(func (local {}) {})", "i32 ".repeat(100), ifs.collect::<String>())
    };
    let left = |n: usize| {
        let leave = (0..n).map(|i| format!("i32.const 1 local.set {} local.get 0 br_if 0 ", i % 300));
        format!("(func (local {}) block {} end)", "i32 ".repeat(300), leave.collect::<String>())
    };
    let looks = |n: usize| format!("(table 1 funcref) (func {})", "i32.const 0 call_indirect ".repeat(n));
    let tables = |n: usize| {
        let table = format!("local.get 0 br_table {} ", (0..300).map(|i| format!("{i} ")).collect::<String>());
        let each = format!("local.get 0 if {table} end ").repeat(n);
        format!("(func (local i32) {} {each} {})", "block ".repeat(300), "end ".repeat(300))
    };
    let chain = |n: usize| {
        let (ten, zeros) = ("i64 ".repeat(10), "(i64.const 0)".repeat(10));
        let loops = "loop (type $ten) i32.const 0 br_if 0 end ".repeat(n);
        format!("(type $ten (func (param {ten}) (result {ten}))) (func {zeros} {loops} {})", "drop ".repeat(10))
    };
    for (module, reason) in [
        (tables(2_000), "602,300 blocks and branches"),
        (chain(2_000), "60,000 values that blocks and calls pass on"),
        (loops(20_000), "mostly for 20,000 loops: "),
        (nested(300), "loops nested 300 deep with 100 locals"),
        (blocks("loop", 100), "values that blocks and calls pass on"),
        (blocks("block", 100), "values that blocks and calls pass on"),
        (calls(500), "values that blocks and calls pass on"),
        (changed(5_000), "blocks and branches with 100 locals"),
        (left(5_000), "branches with 300 locals"),
        (looks(40_000), "40,000 calls through tables and reads of them"),
    ] {
        let message = refusal(&module, 1).unwrap();
        assert!(message.contains(reason) && message.contains("compile_limit_factor"), "{message}, not {reason}");
        assert_eq!(refusal(&module, u32::MAX), None, "{reason}");
    }
    // What is usual is accepted.
    for module in [
        loops(1_000),
        nested(10),
        blocks("loop", 5),
        calls(50),
        changed(500),
        short(5_000),
        left(500),
        looks(1_000),
        tables(20),
        chain(100),
    ] {
        assert_eq!(refusal(&module, 1), None);
    }
    assert!(refusal(&loops(5_000), 1).is_some() && refusal(&loops(5_000), 2).is_none(), "the factor multiplies");
}

/// `n` functions with as many locals as a function may have, and with so many parameters.
fn functions(n: u32, params: usize) -> Vec<u8> {
    use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection, ValType};
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function(vec![ValType::I64; params], []);
    let mut body = Function::new([(49_999 - params as u32, ValType::I64)]);
    body.instructions().end();
    for _ in 0..n {
        functions.function(0);
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

#[test]
fn the_sum_of_all_functions_is_limited() {
    let check = |n, factor| crate::module::validate::check_specification(&functions(n, 0), factor);
    assert!(check(1_000, 1).is_ok());
    let message = check(2_000, 1).unwrap_err().message;
    assert!(
        message.contains("the module may take longer to be compiled than is allowed: the limit is 27.0 s"),
        "{message}"
    );
    assert!(check(2_000, 2).is_ok());
    let with_params = |n| crate::module::validate::check_specification(&functions(n, 1_000), 1);
    assert!(with_params(500).is_ok() && with_params(1_500).is_err(), "each parameter counts");
}

#[test]
fn constant_expressions_count_wherever_they_are() {
    let constant = |n: usize| format!("(i32.const 0) {}", "(i32.const 0) (i32.add) ".repeat(n));
    let around = |place: &str, value: &str| match place {
        "a global" => format!("(global i32 {value})"),
        "a data segment" => format!("(memory 1) (data (offset {value}) \"\")"),
        _ => format!("(table 1 funcref) (elem (offset {value}) func)"),
    };
    for place in ["a global", "a data segment", "an element segment"] {
        assert_eq!(refusal(&around(place, &constant(1_000)), 1), None, "{place}");
        let message = refusal(&around(place, &constant(2_000_000)), 1).unwrap_or_default();
        assert!(message.contains("the limit is 500 MiB"), "{place}: {message}");
    }
}

#[test]
fn a_refused_function_is_named() {
    let named = format!("(func $fine) (func $bomb {})", "(loop)".repeat(20_000));
    let message = refusal(&named, 1).unwrap();
    assert!(message.starts_with("function 1 (bomb) may take "), "{message}");
    let nameless = format!("(func) (func {})", "(loop)".repeat(20_000));
    assert!(refusal(&nameless, 1).unwrap().starts_with("function 1 may take "));
}
