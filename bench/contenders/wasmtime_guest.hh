// SPDX-License-Identifier: Apache-2.0
//
// A guest on Wasmtime's C API, for wasmtime.cc: its memory, its batch, and the host functions that it calls.
#pragma once

#include "contender.hh"

#include <wasm.h>
#include <wasmtime.h>

#include <sys/mman.h>

#include <array>
#include <cstddef>

namespace bench::on_wasmtime {

constexpr std::size_t memory_limit = std::size_t{64} << 20;
constexpr std::uint64_t fuel_per_record = 1'000'000'000;
constexpr std::uint64_t yield_interval = 1'000'000;
enum : std::int32_t { no_record = -1, malformed = -2, refused = -3 };

template <typename T, auto Delete>
struct deleter {
  void operator()(T* owned) const { Delete(owned); }
};
template <typename T, auto Delete>
using handle = std::unique_ptr<T, deleter<T, Delete>>;
using config_handle = handle<wasm_config_t, wasm_config_delete>;
using engine_handle = handle<wasm_engine_t, wasm_engine_delete>;
using module_handle = handle<wasmtime_module_t, wasmtime_module_delete>;
using linker_handle = handle<wasmtime_linker_t, wasmtime_linker_delete>;
using pre_handle = handle<wasmtime_instance_pre_t, wasmtime_instance_pre_delete>;
using store_handle = handle<wasmtime_store_t, wasmtime_store_delete>;
using future_handle = handle<wasmtime_call_future_t, wasmtime_call_future_delete>;
using functype_handle = handle<wasm_functype_t, wasm_functype_delete>;

inline void check(wasmtime_error_t* error, wasm_trap_t* trap = nullptr) {
  wasm_byte_vec_t message{};
  if (error != nullptr) {
    wasmtime_error_message(error, &message);
  } else if (trap != nullptr) {
    wasm_trap_message(trap, &message);
  } else {
    return;
  }
  fail("wasmtime: " + std::string(message.data, message.size));
}

inline wasm_trap_t* trap(std::string_view why) { return wasmtime_trap_new(why.data(), why.size()); }

// ---- Linear memory of the host's ----

struct linear_memory {
  std::uint8_t* data;
  std::size_t size;
};

inline wasmtime_error_t* new_memory(void*, const wasm_memorytype_t*, std::size_t minimum, std::size_t, std::size_t,
                                    std::size_t, wasmtime_linear_memory_t* out) {
  void* const data = mmap(nullptr, memory_limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED || minimum > memory_limit) {
    return wasmtime_error_new("no memory");
  }
  out->env = new linear_memory{static_cast<std::uint8_t*>(data), minimum};
  out->get_memory = [](void* env, std::size_t* size, std::size_t* capacity) {
    const auto* memory = static_cast<linear_memory*>(env);
    *size = memory->size;
    *capacity = memory_limit;
    return memory->data;
  };
  out->grow_memory = [](void* env, std::size_t size) -> wasmtime_error_t* {
    if (size > memory_limit) {
      return wasmtime_error_new("the memory is at its limit");
    }
    static_cast<linear_memory*>(env)->size = size;
    return nullptr;
  };
  out->finalizer = [](void* env) {
    auto* memory = static_cast<linear_memory*>(env);
    munmap(memory->data, memory_limit);
    delete memory;
  };
  return nullptr;
}

// ---- A guest ----

/// Where a record lies, as a broker keeps it for the time of a batch.
struct position {
  std::int64_t timestamp;
  std::int64_t offset;
  std::uint32_t at;
  std::uint32_t size;
  std::uint8_t attributes;
};

/// Who gets output records, one by one, as they are written.
struct sink {
  void* data;
  void (*record)(void* data, std::uint32_t topic, view payload);
};

/// Output goes here, over and over, as in native.cc.
constexpr std::size_t block_size = 64 * 1024;

class guest {
 public:
  guest(wasm_engine_t* engine, const wasmtime_instance_pre_t* pre) : _store(wasmtime_store_new(engine, this, nullptr)) {
    auto* const context = wasmtime_store_context(_store.get());
    check(wasmtime_context_set_fuel(context, fuel_per_record));
    check(wasmtime_context_fuel_async_yield_interval(context, yield_interval));
    wasmtime_instance_t instance;
    wasm_trap_t* trapped = nullptr;
    wasmtime_error_t* error = nullptr;
    {
      const future_handle instantiating(
          wasmtime_instance_pre_instantiate_async(pre, context, &instance, &trapped, &error));
      while (!wasmtime_call_future_poll(instantiating.get())) {
      }
    }
    check(error, trapped);
    wasmtime_extern_t start;
    if (!wasmtime_instance_export_get(context, &instance, "_start", 6, &start) || start.kind != WASMTIME_EXTERN_FUNC) {
      fail("wasmtime: no _start");
    }
    _running.reset(wasmtime_func_call_async(context, &start.of.func, nullptr, 0, nullptr, 0, &_trap, &_error));
    poll_until_idle();
  }

  /// Puts a batch through.
  void transform(view data, sink out) {
    _sink = out;
    _header = read_header(data);
    _positions.clear();
    _next = 0;
    _largest = 0;
    const std::uint8_t* at = _header.body.data();
    const std::uint8_t* const end = at + _header.body.size();
    while (at != end) {
      record r{};
      if (!take_record(_header, at, end, r)) {
        fail("a record is malformed");
      }
      _largest = std::max(_largest, static_cast<std::uint32_t>(r.payload.size()));
      _positions.push_back({r.timestamp, r.offset, static_cast<std::uint32_t>(r.payload.data() - _header.body.data()),
                            static_cast<std::uint32_t>(r.payload.size()), r.attributes});
    }
    _idle = false;
    poll_until_idle();
  }

 private:
  friend struct calls;

  void poll_until_idle() {
    do {
      if (wasmtime_call_future_poll(_running.get())) {
        check(_error, _trap);
        fail("wasmtime: the guest ended");
      }
      // Otherwise it waits for a batch, or has used up its interval.
    } while (!_idle);
  }

  store_handle _store;
  wasm_trap_t* _trap = nullptr;
  wasmtime_error_t* _error = nullptr;
  future_handle _running;
  batch _header{};
  std::vector<position> _positions;
  std::size_t _next = 0;
  std::uint32_t _largest = 0;
  bool _idle = false;
  // What read_batch_header has to write when there is a batch.
  std::array<std::uint8_t*, 10> _header_out{};
  sink _sink{};
  bytes _block = bytes(block_size);
  std::size_t _used = 0;
  wasmtime_val_t* _header_result = nullptr;
};

/// The guest's memory, for the time of one host call.
class memory {
 public:
  /// Looks it up. False: there is none.
  explicit memory(wasmtime_caller_t* caller) : _context(wasmtime_caller_context(caller)) {
    wasmtime_extern_t item;
    if (wasmtime_caller_export_get(caller, "memory", 6, &item) && item.kind == WASMTIME_EXTERN_MEMORY) {
      _data = wasmtime_memory_data(_context, &item.of.memory);
      _size = wasmtime_memory_data_size(_context, &item.of.memory);
    }
  }
  [[nodiscard]] guest& owner() const { return *static_cast<guest*>(wasmtime_context_get_data(_context)); }
  [[nodiscard]] wasmtime_context_t* context() const { return _context; }
  /// Null: that is not all in memory.
  [[nodiscard]] std::uint8_t* at(const wasmtime_val_t& pointer, std::uint64_t size) const {
    const auto from = static_cast<std::uint32_t>(pointer.of.i32);
    return from + size <= _size ? _data + from : nullptr;
  }

 private:
  wasmtime_context_t* _context;
  std::uint8_t* _data = nullptr;
  std::size_t _size = 0;
};

template <typename T>
void store(std::uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

inline bool at_once(void*) { return true; }

/// The functions of the transform ABI.
struct calls {
  static constexpr std::array<std::uint8_t, 10> header_sizes{8, 4, 4, 2, 4, 8, 8, 8, 2, 4};

  static void read_batch_header(void*, wasmtime_caller_t* caller, const wasmtime_val_t* args, std::size_t,
                                wasmtime_val_t* results, std::size_t, wasm_trap_t** trapped,
                                wasmtime_async_continuation_t* then) {
    const memory m(caller);
    guest& g = m.owner();
    then->callback = at_once;
    for (std::size_t i = 0; i < g._header_out.size(); ++i) {
      g._header_out[i] = m.at(args[i], header_sizes[i]);
      if (g._header_out[i] == nullptr) {
        *trapped = trap("read_batch_header: a pointer is out of bounds");
        return;
      }
    }
    g._header_result = results;
    g._idle = true;
    then->env = &g;
    then->callback = [](void* env) {
      guest& waiting = *static_cast<guest*>(env);
      if (waiting._idle) {
        return false;
      }
      const batch& h = waiting._header;
      const auto& to = waiting._header_out;
      store(to[0], h.base_offset);
      store(to[1], h.record_count);
      store(to[2], h.leader_epoch);
      store(to[3], h.attributes);
      store(to[4], h.last_offset_delta);
      store(to[5], h.base_timestamp);
      store(to[6], h.max_timestamp);
      store(to[7], h.producer_id);
      store(to[8], h.producer_epoch);
      store(to[9], h.base_sequence);
      waiting._header_result->kind = WASMTIME_I32;
      waiting._header_result->of.i32 = static_cast<std::int32_t>(waiting._largest);
      return true;
    };
  }

  static void read_next_record(void*, wasmtime_caller_t* caller, const wasmtime_val_t* args, std::size_t,
                               wasmtime_val_t* results, std::size_t, wasm_trap_t** trapped,
                               wasmtime_async_continuation_t* then) {
    const memory m(caller);
    guest& g = m.owner();
    then->callback = at_once;
    results[0].kind = WASMTIME_I32;
    if (g._next == g._positions.size()) {
      results[0].of.i32 = no_record;
      return;
    }
    const position& p = g._positions[g._next];
    const auto room = static_cast<std::uint32_t>(args[4].of.i32);
    std::uint8_t* const attributes = m.at(args[0], 1);
    std::uint8_t* const timestamp = m.at(args[1], 8);
    std::uint8_t* const offset = m.at(args[2], 8);
    std::uint8_t* const buffer = m.at(args[3], room);
    if (attributes == nullptr || timestamp == nullptr || offset == nullptr || buffer == nullptr) {
      *trapped = trap("read_next_record: a pointer is out of bounds");
      return;
    }
    if (p.size > room) {
      results[0].of.i32 = malformed;
      return;
    }
    if (auto* const error = wasmtime_context_set_fuel(m.context(), fuel_per_record); error != nullptr) {
      check(error);
    }
    store(attributes, p.attributes);
    store(timestamp, p.timestamp);
    store(offset, p.offset);
    std::memcpy(buffer, g._header.body.data() + p.at, p.size);
    ++g._next;
    results[0].of.i32 = static_cast<std::int32_t>(p.size);
  }

  static std::int32_t write(guest& g, std::uint32_t topic, const std::uint8_t* payload, std::uint32_t size) {
    if (!is_payload({payload, size})) {
      return malformed;
    }
    if (g._used + size > g._block.size()) {
      g._used = 0;
      g._block.resize(std::max<std::size_t>(g._block.size(), size));
    }
    std::memcpy(g._block.data() + g._used, payload, size);
    g._sink.record(g._sink.data, topic, {g._block.data() + g._used, size});
    g._used += size;
    return static_cast<std::int32_t>(size);
  }

  static void write_record(void*, wasmtime_caller_t* caller, const wasmtime_val_t* args, std::size_t,
                           wasmtime_val_t* results, std::size_t, wasm_trap_t** trapped,
                           wasmtime_async_continuation_t* then) {
    const memory m(caller);
    then->callback = at_once;
    const auto size = static_cast<std::uint32_t>(args[1].of.i32);
    const std::uint8_t* const payload = m.at(args[0], size);
    if (payload == nullptr) {
      *trapped = trap("write_record: a pointer is out of bounds");
      return;
    }
    results[0].kind = WASMTIME_I32;
    results[0].of.i32 = write(m.owner(), 0, payload, size);
  }

  /// The index of the topic that the options name; −1 if there is no such topic.
  static int topic_of(view options) {
    static constexpr std::array<std::string_view, 2> topics{"first", "eu"};
    if (options.empty()) {
      return 0;
    }
    const std::uint8_t* at = options.data() + 1;
    const std::uint8_t* const end = options.data() + options.size();
    view name;
    if (options[0] != 1 || !take_sized(at, end, name) || at != end) {
      return -1;
    }
    for (std::size_t i = 0; i < topics.size(); ++i) {
      if (topics[i].size() == name.size() && std::memcmp(topics[i].data(), name.data(), name.size()) == 0) {
        return static_cast<int>(i);
      }
    }
    return -1;
  }

  static void write_record_with_options(void*, wasmtime_caller_t* caller, const wasmtime_val_t* args, std::size_t,
                                        wasmtime_val_t* results, std::size_t, wasm_trap_t** trapped,
                                        wasmtime_async_continuation_t* then) {
    const memory m(caller);
    then->callback = at_once;
    const auto size = static_cast<std::uint32_t>(args[1].of.i32);
    const auto options_size = static_cast<std::uint32_t>(args[3].of.i32);
    const std::uint8_t* const payload = m.at(args[0], size);
    const std::uint8_t* const options = m.at(args[2], options_size);
    if (payload == nullptr || options == nullptr) {
      *trapped = trap("write_record_with_options: a pointer is out of bounds");
      return;
    }
    const int topic = topic_of({options, options_size});
    results[0].kind = WASMTIME_I32;
    results[0].of.i32 = topic < 0 ? refused : write(m.owner(), static_cast<std::uint32_t>(topic), payload, size);
  }

  static wasm_trap_t* check_abi_version(void*, wasmtime_caller_t*, const wasmtime_val_t*, std::size_t, wasmtime_val_t*,
                                        std::size_t) {
    return nullptr;
  }

  // WASI: an empty environment; what guests write is thrown away.
  static wasm_trap_t* environ_sizes_get(void*, wasmtime_caller_t* caller, const wasmtime_val_t* args, std::size_t,
                                        wasmtime_val_t* results, std::size_t) {
    const memory m(caller);
    std::uint8_t* const count = m.at(args[0], 4);
    std::uint8_t* const size = m.at(args[1], 4);
    if (count == nullptr || size == nullptr) {
      return trap("environ_sizes_get: a pointer is out of bounds");
    }
    store(count, std::uint32_t{0});
    store(size, std::uint32_t{0});
    results[0] = {};
    results[0].kind = WASMTIME_I32;
    return nullptr;
  }
  static wasm_trap_t* environ_get(void*, wasmtime_caller_t*, const wasmtime_val_t*, std::size_t, wasmtime_val_t* results,
                                  std::size_t) {
    results[0] = {};
    results[0].kind = WASMTIME_I32;
    return nullptr;
  }
};

}  // namespace bench::on_wasmtime
