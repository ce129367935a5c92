// SPDX-License-Identifier: Apache-2.0
//
// What the tests of memory modes, stacks and signals share: runtimes with exactly one config, engines in every mode,
// and a guest that works on its memory.
#pragma once

#include "bench.hh"
#include "host_guest.hh"

#include <wasm_engine/thread.hh>

#include <dlfcn.h>
#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace memory_modes {

namespace we = wasmengine;
using namespace testing_support;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

constexpr std::uint64_t kib = 1U << 10;
constexpr std::uint64_t mib = 1U << 20;
constexpr std::uint64_t gib = 1U << 30;

/// `wasm_runtime_create` itself: support/modes.cc changes what the linker calls by that name, and these tests are about
/// certain modes, the default among them, whatever the rest of the suite runs in.
inline wasm_status create_exactly(const wasm_runtime_config* config, wasm_runtime** runtime, wasm_error** error) {
  static const auto create =
      reinterpret_cast<decltype(&wasm_runtime_create)>(dlsym(RTLD_DEFAULT, "wasm_runtime_create"));
  return create(config, runtime, error);
}

inline we::result<we::runtime> exactly(wasm_runtime_config config) {
  config.size = sizeof(config);
  return we::detail::make<we::runtime>(
      [&](wasm_runtime** out, wasm_error** e) { return create_exactly(&config, out, e); });
}

/// Memory of the system's as a host's allocator.
inline const wasm_allocator mapping{
    sizeof(wasm_allocator), nullptr, nullptr,
    [](void*, std::size_t bytes, std::size_t alignment) -> void* {
      const std::size_t spare = alignment > 4'096 ? alignment : 0;
      constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
      void* all = mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE, flags, -1, 0);
      if (all == MAP_FAILED) {
        return nullptr;
      }
      const auto at = reinterpret_cast<std::uintptr_t>(all);
      const auto start = (at + alignment - 1) / alignment * alignment;
      if (start > at) {
        munmap(all, start - at);
      }
      if (at + spare > start) {
        munmap(reinterpret_cast<void*>(start + bytes), at + spare - start);
      }
      return reinterpret_cast<void*>(start);
    },
    [](void*, void* memory, std::size_t bytes, std::size_t) { munmap(memory, bytes); }};

/// A memory mode and a trap mode.
struct mode {
  const char* name;
  wasm_memory_mode memory;
  wasm_trap_mode traps;

  /// `base` in this mode, with pools for `engines`.
  [[nodiscard]] wasm_runtime_config config(wasm_runtime_config base = {}, std::uint64_t engines = 8) const {
    base.memory_mode = memory;
    base.trap_mode = traps;
    base.pool_engines = memory == WASM_MEMORY_MODE_PROCESS_POOL ? engines : 0;
    if (memory == WASM_MEMORY_MODE_HOST) {
      base.memory_allocator = &mapping;
      base.stack_allocator = &mapping;
    }
    return base;
  }
  /// Prepares this thread, as far as the mode wants it.
  [[nodiscard]] we::result<void> prepare(const we::runtime& runtime, std::uint64_t engines = 8) const {
    return we::prepare_thread(runtime, memory == WASM_MEMORY_MODE_THREAD_POOL ? engines : 0);
  }
};

constexpr std::array<mode, 8> every_mode{
    mode{"on_demand", WASM_MEMORY_MODE_ON_DEMAND, WASM_TRAP_MODE_SIGNALS},
    mode{"thread_pool", WASM_MEMORY_MODE_THREAD_POOL, WASM_TRAP_MODE_SIGNALS},
    mode{"host", WASM_MEMORY_MODE_HOST, WASM_TRAP_MODE_SIGNALS},
    mode{"process_pool", WASM_MEMORY_MODE_PROCESS_POOL, WASM_TRAP_MODE_SIGNALS},
    mode{"on_demand_checks", WASM_MEMORY_MODE_ON_DEMAND, WASM_TRAP_MODE_CHECKS},
    mode{"thread_pool_checks", WASM_MEMORY_MODE_THREAD_POOL, WASM_TRAP_MODE_CHECKS},
    mode{"host_checks", WASM_MEMORY_MODE_HOST, WASM_TRAP_MODE_CHECKS},
    mode{"process_pool_checks", WASM_MEMORY_MODE_PROCESS_POOL, WASM_TRAP_MODE_CHECKS},
};

inline void PrintTo(const mode& m, std::ostream* out) { *out << m.name; }
inline std::string name_of(const testing::TestParamInfo<mode>& info) { return info.param.name; }

/// A module by name, from cpp_tests/wat or guests/.
inline kafka::bytes guest(std::string_view name) {
  return name.starts_with("m_") || name.starts_with("h_") ? host_guest::module(name) : module(name);
}

inline we::factory compile_guest(const we::runtime& runtime, std::string_view name,
                                 const std::string& transform = "tested") {
  auto compilation = runtime.compile(guest(name), {transform, "in", {"out"}, {}}).value();
  we::drive(compilation).value();
  return compilation.take().value();
}

inline we::engine started(const we::factory& factory) {
  auto engine = we::engine::create(factory).value();
  EXPECT_TRUE(succeeded(finish(engine.start())));
  return engine;
}

/// What an error of a call of the C ABI says; for functions whose last parameter it is.
template <typename F>
std::pair<wasm_status, std::string> told(F&& call) {
  wasm_error* error = nullptr;
  const wasm_status status = call(&error);
  std::pair<wasm_status, std::string> out{status, wasm_error_message(error)};
  EXPECT_EQ(status == WASM_STATUS_OK, error == nullptr);
  wasm_error_release(error);
  return out;
}

/// What wat/m_memory.wat can be asked for.
enum memory_work : std::uint32_t { pages, grow, fill, dirty_bytes, dirty_at_start, data, load };

inline constexpr const char* memory_guest = "m_memory";

/// How an engine of that guest answers, or how it ends.
inline std::pair<std::int64_t, outcome> try_ask(we::engine& engine, memory_work what, std::uint32_t n = 0) {
  recorder out;
  const auto batch = host_guest::pairs({{what, n}});
  auto end = finish(engine.transform(batch, out));
  std::int64_t answer = -1'000;
  if (end.status == WASM_STATUS_OK) {
    EXPECT_EQ(out.records.size(), 1U);
    std::memcpy(&answer, out.records.at(0).content.value.value().data(), sizeof(answer));
  }
  return {answer, std::move(end)};
}

inline std::int64_t ask(we::engine& engine, memory_work what, std::uint32_t n = 0) {
  auto [answer, end] = try_ask(engine, what, n);
  EXPECT_TRUE(succeeded(end));
  return answer;
}

/// Grows to `bytes` and fills all of it.
inline void dirty(we::engine& engine, std::uint64_t bytes) {
  const auto now = static_cast<std::uint64_t>(ask(engine, pages));
  ASSERT_EQ(ask(engine, grow, static_cast<std::uint32_t>(bytes / (64 * kib) - now)), static_cast<std::int64_t>(now));
  ASSERT_EQ(ask(engine, fill, 0xa5), static_cast<std::int64_t>(bytes - 8'192));
}

/// Nothing is left in this engine's memory from anybody else, up to `bytes` of it.
inline void expect_clean(we::engine& engine, std::uint64_t bytes) {
  EXPECT_EQ(ask(engine, dirty_at_start), 0);
  EXPECT_EQ(ask(engine, data), 'd');
  const auto now = static_cast<std::uint64_t>(ask(engine, pages));
  EXPECT_EQ(ask(engine, grow, static_cast<std::uint32_t>(bytes / (64 * kib) - now)), static_cast<std::int64_t>(now));
  // Its data lies in what is counted.
  EXPECT_EQ(ask(engine, dirty_bytes), 4);
}

/// A figure of /proc/self/status in bytes: VmSize, VmRSS.
inline std::uint64_t process_bytes(std::string_view what) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(std::string(what) + ":")) {
      return std::stoull(line.substr(what.size() + 1)) * kib;
    }
  }
  ADD_FAILURE() << "no " << what;
  return 0;
}

/// All records of one batch; the first character of each is what wat/m_deep.wat, or guests/wat/traps.wat, looks at.
inline outcome transform(we::engine& engine, const std::vector<std::string>& values) {
  recorder out;
  const auto batch = built(values);
  return finish(engine.transform(batch, out));
}

}  // namespace memory_modes
