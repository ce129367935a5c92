// SPDX-License-Identifier: Apache-2.0
//
// Loads the library with dlopen(RTLD_LOCAL), as plug-in hosts do, transforms a batch by way of dlsym, closes it, and
// does it all again: dlopen_test LIBRARY GUEST.wasm.
#include <wasm_engine.h>

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace {

void check(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "dlopen_test: failed: %s\n", what);
    std::exit(1);
  }
}

template <typename F>
F* find(void* library, const char* name) {
  void* symbol = dlsym(library, name);
  check(symbol != nullptr, name);
  return reinterpret_cast<F*>(symbol);
}
#define FIND(library, name) const auto name##_ = find<decltype(name)>(library, #name)

wasm_slice text(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

void transform_once(const char* path, std::vector<std::uint8_t>& module) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  check(library != nullptr, "dlopen");
  check(dlsym(RTLD_DEFAULT, "wasm_runtime_create") == nullptr, "RTLD_LOCAL keeps the symbols local");
  FIND(library, wasm_runtime_create);
  FIND(library, wasm_runtime_release);
  FIND(library, wasm_factory_create);
  FIND(library, wasm_factory_release);
  FIND(library, wasm_future_poll);
  FIND(library, wasm_future_take_factory);
  FIND(library, wasm_future_release);
  FIND(library, wasm_engine_create);
  FIND(library, wasm_engine_start);
  FIND(library, wasm_engine_transform);
  FIND(library, wasm_engine_release);
  FIND(library, wasm_batch_builder_create);
  FIND(library, wasm_batch_builder_add_encoded);
  FIND(library, wasm_batch_builder_finish);
  FIND(library, wasm_batch_builder_release);

  const auto finish = [&](wasm_future* future, wasm_factory** factory) {
    wasm_poll state = WASM_POLL_YIELDED;
    while (state != WASM_POLL_READY) {
      std::atomic<bool> woken{false};
      const wasm_waker waker{&woken, [](void* w) { *static_cast<std::atomic<bool>*>(w) = true; }, nullptr};
      check(wasm_future_poll_(future, &waker, &state, nullptr) == WASM_STATUS_OK, "poll");
      while (state == WASM_POLL_PENDING && !woken) {
        std::this_thread::yield();
      }
    }
    if (factory != nullptr) {
      check(wasm_future_take_factory_(future, factory, nullptr) == WASM_STATUS_OK, "take_factory");
    }
    check(wasm_future_release_(future, nullptr) == WASM_STATUS_OK, "future_release");
  };

  wasm_runtime* runtime = nullptr;
  check(wasm_runtime_create_(nullptr, &runtime, nullptr) == WASM_STATUS_OK, "runtime_create");
  const std::string name = "plugged in";
  const std::string topic = "out";
  const wasm_slice topics[] = {text(topic)};
  wasm_factory_config config{};
  config.size = sizeof config;
  config.module = {module.data(), module.size()};
  config.name = text(name);
  config.output_topics = topics;
  config.output_topic_count = 1;
  wasm_future* future = nullptr;
  wasm_factory* factory = nullptr;
  check(wasm_factory_create_(runtime, &config, &future, nullptr) == WASM_STATUS_OK, "factory_create");
  finish(future, &factory);
  wasm_engine* engine = nullptr;
  check(wasm_engine_create_(factory, nullptr, &engine, nullptr) == WASM_STATUS_OK, "engine_create");
  check(wasm_engine_start_(engine, &future, nullptr) == WASM_STATUS_OK, "start");
  finish(future, nullptr);

  wasm_batch_config batch_config{};
  batch_config.size = sizeof batch_config;
  wasm_batch_builder* builder = nullptr;
  check(wasm_batch_builder_create_(&batch_config, &builder, nullptr) == WASM_STATUS_OK, "builder_create");
  const std::uint8_t payload[] = {1, 2, 'x', 0};
  check(wasm_batch_builder_add_encoded_(builder, -1, 0, {payload, sizeof payload}, nullptr) == WASM_STATUS_OK, "add");
  wasm_slice batch{};
  check(wasm_batch_builder_finish_(builder, &batch, nullptr) == WASM_STATUS_OK, "finish");

  std::size_t records = 0;
  const wasm_output_sink sink{sizeof sink, &records, nullptr,
                              [](void* data, const wasm_output_record*, std::size_t count, wasm_call*) {
                                *static_cast<std::size_t*>(data) += count;
                                return WASM_CALLBACK_RESULT_DONE;
                              },
                              nullptr};
  const wasm_transform_args args{sizeof args, batch, &sink, 0};
  check(wasm_engine_transform_(engine, &args, &future, nullptr) == WASM_STATUS_OK, "transform");
  finish(future, nullptr);
  check(records == 1, "one record came out");

  wasm_batch_builder_release_(builder);
  check(wasm_engine_release_(engine, nullptr) == WASM_STATUS_OK, "engine_release");
  wasm_factory_release_(factory);
  wasm_runtime_release_(runtime);
  check(dlclose(library) == 0, "dlclose");
}

}  // namespace

int main(int argc, char** argv) {
  check(argc == 3, "usage: dlopen_test LIBRARY GUEST.wasm");
  std::ifstream file(argv[2], std::ios::binary);
  std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  check(!module.empty(), "read the guest");
  transform_once(argv[1], module);
  transform_once(argv[1], module);
  // On another thread, whose thread-locals die after the library was closed.
  std::thread([&] { transform_once(argv[1], module); }).join();
  std::puts("dlopen_test: ok");
  return 0;
}
