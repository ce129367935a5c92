// SPDX-License-Identifier: Apache-2.0
//
// The same guests on Wasmtime's C API, in the shape in which brokers embed it today: one call of `_start` that lives
// for ever and is polled; all host functions of the transform ABI asynchronous and dynamically typed; the guest's
// memory looked up by name in each host call and every pointer checked; fuel, filled up for each record, with a yield
// interval; linear memory from the host, hence bounds checks in code; WASI's functions synchronous.
//
// In its favour: no clock is read, nothing is counted or logged, no call allocates, the batch is one piece of memory,
// its CRC is not checked, and the waker of a reactor is left out.
#include "wasmtime_guest.hh"

using namespace bench;
using namespace bench::on_wasmtime;

namespace {

functype_handle type_of(std::string_view params, bool has_result) {
  const auto kinds = [](std::string_view letters) {
    wasm_valtype_vec_t types;
    wasm_valtype_vec_new_uninitialized(&types, letters.size());
    for (std::size_t i = 0; i < letters.size(); ++i) {
      types.data[i] = wasm_valtype_new(letters[i] == 'I' ? WASM_I64 : WASM_I32);
    }
    return types;
  };
  wasm_valtype_vec_t in = kinds(params);
  wasm_valtype_vec_t out = kinds(has_result ? "i" : "");
  return functype_handle(wasm_functype_new(&in, &out));
}

void define_async(wasmtime_linker_t* linker, std::string_view name, std::string_view params,
                  wasmtime_func_async_callback_t call) {
  constexpr std::string_view module = "redpanda_transform";
  const auto type = type_of(params, true);
  check(wasmtime_linker_define_async_func(linker, module.data(), module.size(), name.data(), name.size(), type.get(), call,
                                          nullptr, nullptr));
}

void define(wasmtime_linker_t* linker, std::string_view module, std::string_view name, std::string_view params,
            bool has_result, wasmtime_func_callback_t call) {
  const auto type = type_of(params, has_result);
  check(wasmtime_linker_define_func(linker, module.data(), module.size(), name.data(), name.size(), type.get(), call,
                                    nullptr, nullptr));
}

engine_handle make_engine() {
  config_handle config(wasm_config_new());
  wasm_config_t* const c = config.get();
  wasmtime_config_cranelift_opt_level_set(c, WASMTIME_OPT_LEVEL_SPEED);
  wasmtime_config_consume_fuel_set(c, true);
  wasmtime_config_async_stack_size_set(c, 128 << 10);
  wasmtime_config_max_wasm_stack_set(c, 64 << 10);
  // Memory of the host's at any place, that may move: no reservation and no guard, so accesses are checked in code.
  wasmtime_config_memory_reservation_set(c, 0);
  wasmtime_config_memory_guard_size_set(c, 0);
  wasmtime_config_memory_reservation_for_growth_set(c, 0);
  wasmtime_config_memory_may_move_set(c, true);
  wasmtime_config_memory_init_cow_set(c, false);  // Images need mappings of Wasmtime's own.
  wasmtime_config_native_unwind_info_set(c, false);
  wasmtime_memory_creator_t creator{};
  creator.new_memory = new_memory;
  wasmtime_config_host_memory_creator_set(c, &creator);
  return engine_handle(wasm_engine_new_with_config(config.release()));
}

class worker {
 public:
  worker(wasm_engine_t* engine, const wasmtime_instance_pre_t* pre, view input) : _guest(engine, pre), _input(input) {}

  void batch(tally& out) {
    _guest.transform(_input, {&out, [](void* data, std::uint32_t, view payload) {
                                auto& counted = *static_cast<tally*>(data);
                                ++counted.records;
                                counted.bytes += payload.size();
                                counted.look(payload.data(), payload.size());
                              }});
  }
  void collect(canonical& out) {
    _guest.transform(_input, {&out, [](void* data, std::uint32_t topic, view payload) {
                                static_cast<canonical*>(data)->add(topic, payload);
                              }});
  }

 private:
  guest _guest;
  view _input;
};

}  // namespace

int main(int argc, char** argv) {
  const options o = parse_options(argc, argv);
  const bytes input = read_file(o.input);
  const bytes code = read_file(o.guest);
  const engine_handle engine = make_engine();
  wasmtime_module_t* compiled = nullptr;
  check(wasmtime_module_new(engine.get(), code.data(), code.size(), &compiled));
  const module_handle module(compiled);

  const linker_handle linker(wasmtime_linker_new(engine.get()));
  for (const std::string_view version : {"check_abi_version_1", "check_abi_version_2"}) {
    define(linker.get(), "redpanda_transform", version, "", false, calls::check_abi_version);
  }
  define_async(linker.get(), "read_batch_header", "iiiiiiiiii", calls::read_batch_header);
  define_async(linker.get(), "read_next_record", "iiiii", calls::read_next_record);
  define_async(linker.get(), "write_record", "ii", calls::write_record);
  define_async(linker.get(), "write_record_with_options", "iiii", calls::write_record_with_options);
  define(linker.get(), "wasi_snapshot_preview1", "environ_sizes_get", "ii", true, calls::environ_sizes_get);
  define(linker.get(), "wasi_snapshot_preview1", "environ_get", "ii", true, calls::environ_get);
  check(wasmtime_linker_define_unknown_imports_as_traps(linker.get(), module.get()));
  wasmtime_instance_pre_t* ready = nullptr;
  check(wasmtime_linker_instantiate_pre(linker.get(), module.get(), &ready));
  const pre_handle pre(ready);

  return run("wasmtime", WASMTIME_VERSION, o, static_cast<std::size_t>(read_header(input).record_count),
             [&] { return std::make_unique<worker>(engine.get(), pre.get(), input); });
}
