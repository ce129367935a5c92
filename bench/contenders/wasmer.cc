// SPDX-License-Identifier: Apache-2.0
//
// Wasmer through its C API, with Cranelift: one exported call for each record, whose value is copied into the guest's
// memory and from there to the output. The API is the common one of wasm.h; Wasmtime's copy of that header is used,
// because Wasmer's is not installed by its crate.
//
// In its favour: records are parsed outside of the timed loop, functions and memory are looked up once, and there is
// neither a limit of time nor of fuel.
#include "contender.hh"

#include <wasm.h>

using namespace bench;

namespace {

/// Output goes here, over and over, as in native.cc.
constexpr std::size_t block_size = 64 * 1024;

void check(wasm_trap_t* trap) {
  if (trap != nullptr) {
    wasm_byte_vec_t message{};
    wasm_trap_message(trap, &message);
    fail("wasmer: " + std::string(message.data, message.size));
  }
}

template <typename T>
T* there(T* made, const char* what) {
  if (made == nullptr) {
    fail(std::string("wasmer: no ") + what);
  }
  return made;
}

/// An export by its name; it lives as long as `exports`.
wasm_extern_t* find(const wasm_module_t* module, const wasm_extern_vec_t& exports, std::string_view wanted) {
  wasm_exporttype_vec_t types;
  wasm_module_exports(module, &types);
  wasm_extern_t* found = nullptr;
  for (std::size_t i = 0; i < types.size; ++i) {
    const wasm_name_t* const name = wasm_exporttype_name(types.data[i]);
    if (std::string_view(name->data, name->size) == wanted) {
      found = exports.data[i];
    }
  }
  wasm_exporttype_vec_delete(&types);
  return there(found, std::string(wanted).c_str());
}

class worker {
 public:
  worker(wasm_engine_t* engine, const std::string& work, const bytes& code, view input)
      : _header(read_header(input)), _records(read_records(_header)), _store(there(wasm_store_new(engine), "store")) {
    wasm_byte_vec_t binary;
    wasm_byte_vec_new(&binary, code.size(), reinterpret_cast<const char*>(code.data()));
    _module = there(wasm_module_new(_store, &binary), "module");
    wasm_byte_vec_delete(&binary);
    wasm_extern_vec_t imports{};
    wasm_trap_t* trap = nullptr;
    _instance = wasm_instance_new(_store, _module, &imports, &trap);
    check(trap);
    wasm_instance_exports(there(_instance, "instance"), &_exports);
    _memory = there(wasm_extern_as_memory(find(_module, _exports, "memory")), "memory");
    _work = there(wasm_extern_as_func(find(_module, _exports, work)), "function");
    std::size_t largest = 0;
    for (const auto& r : _records) {
      largest = std::max(largest, r.value.size());
    }
    wasm_func_t* const place = there(wasm_extern_as_func(find(_module, _exports, "input")), "function");
    _input = static_cast<std::size_t>(call(place, largest, WASM_I32).of.i32);
    _block.resize(std::max(block_size, largest + 3));
  }
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker() {
    wasm_extern_vec_delete(&_exports);
    wasm_instance_delete(_instance);
    wasm_module_delete(_module);
    wasm_store_delete(_store);
  }

  void batch(tally& out) {
    std::size_t used = 0;
    for (const auto& r : _records) {
      used = used + r.value.size() + 3 > _block.size() ? 0 : used;
      const result done = transform(r.value, _block.data() + used);
      if (done.written) {
        out.look(_block.data() + used, done.size);
        used += done.size;
        ++out.records;
        out.bytes += r.payload_size(done.size);
      }
    }
  }
  void collect(canonical& out) {
    for (const auto& r : _records) {
      if (const result done = transform(r.value, _block.data()); done.written) {
        out.add(done.topic, r, view(_block.data(), done.size));
      }
    }
  }

 private:
  struct result {
    bool written;
    std::uint32_t topic;
    std::size_t size;
  };

  static wasm_val_t call(const wasm_func_t* function, std::size_t size, wasm_valkind_t kind) {
    wasm_val_t argument{};
    argument.kind = WASM_I32;
    argument.of.i32 = static_cast<std::int32_t>(size);
    wasm_val_t answer{};
    answer.kind = kind;
    const wasm_val_vec_t arguments{1, &argument};
    wasm_val_vec_t results{1, &answer};
    check(wasm_func_call(function, &arguments, &results));
    return answer;
  }

  result transform(view value, std::uint8_t* out) {
    std::memcpy(wasm_memory_data(_memory) + _input, value.data(), value.size());
    const auto packed = static_cast<std::uint64_t>(call(_work, value.size(), WASM_I64).of.i64);
    if (packed == ~std::uint64_t{0}) {
      return {false, 0, 0};
    }
    const std::size_t at = packed >> 32 & 0x0FFF'FFFF;
    const std::size_t size = packed & 0xFFFF'FFFF;
    if (at + size > wasm_memory_data_size(_memory)) {
      fail("wasmer: the guest's output is out of bounds");
    }
    std::memcpy(out, wasm_memory_data(_memory) + at, size);
    return {true, static_cast<std::uint32_t>(packed >> 60), size};
  }

  bench::batch _header;
  std::vector<record> _records;
  wasm_store_t* _store;
  wasm_module_t* _module = nullptr;
  wasm_instance_t* _instance = nullptr;
  wasm_extern_vec_t _exports{};
  wasm_memory_t* _memory = nullptr;
  wasm_func_t* _work = nullptr;
  std::size_t _input = 0;
  bytes _block;
};

}  // namespace

int main(int argc, char** argv) {
  const options o = parse_options(argc, argv);
  const bytes input = read_file(o.input);
  const bytes code = read_file(o.guest);
  wasm_engine_t* const engine = there(wasm_engine_new(), "engine");
  const int result = run("wasmer", WASMER_VERSION, o, static_cast<std::size_t>(read_header(input).record_count),
                         [&] { return std::make_unique<worker>(engine, o.work, code, input); });
  wasm_engine_delete(engine);
  return result;
}
