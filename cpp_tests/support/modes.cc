// SPDX-License-Identifier: Apache-2.0
//
// Runs a whole suite in another mode. The linker sends the suite's calls of three functions here first
// (`--wrap`), and the environment variable WASM_ENGINE_TEST_MODES says what to change, where a test leaves it open:
//
//   thread-pool, host-memory, process-pool   the memory mode, with pools for as many engines as the tests need
//   checks                                   no signals
//   tight-stacks                             host functions get the stack that they were promised, and no more
//   check-signals                            the signal mask is looked at in each poll
#include <wasm_engine.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <vector>

extern "C" {
wasm_status __real_wasm_runtime_create(const wasm_runtime_config* config, wasm_runtime** runtime, wasm_error** error);
void __real_wasm_runtime_release(wasm_runtime* runtime);
wasm_status __real_wasm_engine_start(wasm_engine* engine, wasm_future** future, wasm_error** error);
}

namespace {

/// Engines that tests start on one thread at the same time, at most.
constexpr std::uint64_t engines = 1100;

bool chosen(std::string_view mode) {
  const char* modes = std::getenv("WASM_ENGINE_TEST_MODES");
  return modes != nullptr && std::string_view(modes).find(mode) != std::string_view::npos;
}

void* map(void*, std::size_t bytes, std::size_t) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void unmap(void*, void* memory, std::size_t bytes, std::size_t) { munmap(memory, bytes); }

/// The runtimes that are there, for threads to be prepared.
std::mutex lock;
std::vector<wasm_runtime*> runtimes;

void prepare(wasm_runtime* runtime) {
  const wasm_thread_config config{sizeof(config), engines, 0};
  // A thread that has another pool already keeps that.
  wasm_thread_prepare(runtime, &config, nullptr);
}

}  // namespace

extern "C" {

wasm_status __wrap_wasm_runtime_create(const wasm_runtime_config* config, wasm_runtime** runtime, wasm_error** error) {
  // A config of another version is for the library to judge.
  if (std::getenv("WASM_ENGINE_TEST_MODES") == nullptr || (config != nullptr && config->size != sizeof(*config))) {
    return __real_wasm_runtime_create(config, runtime, error);
  }
  wasm_runtime_config changed{};
  if (config != nullptr) {
    changed = *config;
  }
  changed.size = sizeof(changed);
  const wasm_allocator allocator{sizeof(allocator), nullptr, nullptr, map, unmap};
  if (changed.memory_mode == WASM_MEMORY_MODE_ON_DEMAND) {
    if (chosen("thread-pool")) {
      changed.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
    } else if (chosen("host-memory")) {
      changed.memory_mode = WASM_MEMORY_MODE_HOST;
      changed.memory_allocator = &allocator;
      changed.stack_allocator = &allocator;
    } else if (chosen("process-pool")) {
      changed.memory_mode = WASM_MEMORY_MODE_PROCESS_POOL;
      changed.pool_engines = engines;
    }
  }
  if (chosen("checks") && changed.trap_mode == WASM_TRAP_MODE_SIGNALS) {
    changed.trap_mode = WASM_TRAP_MODE_CHECKS;
  }
  changed.tight_stacks = chosen("tight-stacks") ? 1 : changed.tight_stacks;
  changed.signal_check = chosen("check-signals") ? WASM_SIGNAL_CHECK_EACH_POLL : changed.signal_check;
  const auto status = __real_wasm_runtime_create(&changed, runtime, error);
  if (status == WASM_STATUS_OK && changed.memory_mode == WASM_MEMORY_MODE_THREAD_POOL && chosen("thread-pool")) {
    prepare(*runtime);
    const std::lock_guard guard(lock);
    runtimes.push_back(*runtime);
  }
  return status;
}

void __wrap_wasm_runtime_release(wasm_runtime* runtime) {
  {
    const std::lock_guard guard(lock);
    std::erase(runtimes, runtime);
  }
  __real_wasm_runtime_release(runtime);
}

wasm_status __wrap_wasm_engine_start(wasm_engine* engine, wasm_future** future, wasm_error** error) {
  {
    const std::lock_guard guard(lock);
    for (auto* runtime : runtimes) {
      prepare(runtime);
    }
  }
  return __real_wasm_engine_start(engine, future, error);
}

}  // extern "C"
