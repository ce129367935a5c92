// What one call of a host function costs a guest for each kind of function in one run. Nanoseconds per call and for
// comparison the guest's loop without a call.
//
//   bench-calls [--json] GUEST.wasm          (cpp_tests/wat/h_bench.wat)
#include "wasm_engine/wasm_engine.hh"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace we = wasmengine;
using bytes = std::vector<std::uint8_t>;

namespace {

constexpr int rounds = 9;
constexpr double seconds_per_measurement = 0.08;

/// What the guest calls, in the order of h_bench.wat.
enum kind : std::uint32_t { empty, c_sync, typed_sync, typed_span, c_ready, typed_ready, c_suspended, typed_suspended };

struct measured {
  kind what;
  const char* name;
  std::uint32_t calls_per_batch;
  std::vector<double> times{};
};

bytes read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "bench-calls: cannot read %s\n", path);
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

bytes make_batch(kind what, std::uint32_t calls) {
  auto builder = we::batch_builder::create().value();
  std::array<char, 8> value{};
  std::memcpy(value.data(), &what, 4);
  std::memcpy(value.data() + 4, &calls, 4);
  builder.add(1, we::payload{std::nullopt, std::string_view(value.data(), 8), {}}).value();
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

/// The outstanding promise if there is one.
wasm_promise* outstanding = nullptr;

wasm_callback_result add_now(void*, wasm_call*, const wasm_value* args, wasm_value* results) {
  results[0].i32 = args[0].i32 + args[1].i32;
  return WASM_CALLBACK_RESULT_DONE;
}

wasm_callback_result add_later(void*, wasm_call* call, const wasm_value*, wasm_value*) {
  return wasm_call_promise(call, &outstanding, nullptr) == WASM_STATUS_OK ? WASM_CALLBACK_RESULT_PENDING : WASM_CALLBACK_RESULT_FAILED;
}

void add_raw(const we::runtime& runtime, std::string_view name, bool may_wait,
             wasm_callback_result (*call)(void*, wasm_call*, const wasm_value*, wasm_value*)) {
  constexpr std::array<wasm_value_type, 2> i32{WASM_VALUE_TYPE_I32, WASM_VALUE_TYPE_I32};
  wasm_host_function f{};
  f.size = sizeof(f);
  f.module = we::as_slice("bench");
  f.name = we::as_slice(name);
  f.params = i32.data();
  f.param_count = 2;
  f.results = i32.data();
  f.result_count = 1;
  f.may_wait = may_wait ? 1 : 0;
  f.call = call;
  if (wasm_runtime_register_function(runtime.get(), &f, nullptr) != WASM_STATUS_OK) {
    std::fprintf(stderr, "bench-calls: cannot register\n");
    std::exit(1);
  }
}

/// The waiting coroutine if there is one.
std::coroutine_handle<> waiting;

struct until_resumed {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const noexcept { waiting = h; }
  void await_resume() const noexcept {}
};

/// Runs an operation. A promise or coroutine that waits is resolved between two polls.
void drive(we::future operation) {
  std::uint64_t woken = 0;
  for (;;) {
    const wasm_waker waker{&woken, [](void* data) { ++*static_cast<std::uint64_t*>(data); }, nullptr};
    const auto state = operation.poll(&waker).value();
    if (state == WASM_POLL_READY) {
      return;
    }
    if (state == WASM_POLL_PENDING) {
      if (outstanding != nullptr) {
        const wasm_value three{3};
        if (wasm_promise_resolve_values(outstanding, &three, 1, nullptr) != WASM_STATUS_OK) {
          std::exit(1);
        }
        wasm_promise_release(std::exchange(outstanding, nullptr));
      } else {
        std::exchange(waiting, nullptr).resume();
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  if (argc != (json ? 3 : 2)) {
    std::fprintf(stderr, "usage: bench-calls [--json] GUEST.wasm\n");
    return 2;
  }
  auto runtime = we::runtime::create().value();
  add_raw(runtime, "c_sync", false, add_now);
  add_raw(runtime, "c_ready", true, add_now);
  add_raw(runtime, "c_suspended", true, add_later);
  we::host_module module("bench");
  module.add("typed_sync", [](std::int32_t a, std::int32_t b) { return a + b; });
  module.add("typed_span", [](std::string_view text) { return static_cast<std::int32_t>(text.size()); });
  module.add("typed_ready", [](std::int32_t a, std::int32_t b) -> we::task<std::int32_t> { co_return a + b; });
  module.add("typed_suspended", [](std::int32_t a, std::int32_t b) -> we::task<std::int32_t> {
    co_await until_resumed();
    co_return a + b;
  });
  runtime.add(module).value();
  auto compilation = runtime.compile(read_file(argv[argc - 1]), {"bench", "in", {"out"}, {}}).value();
  we::drive(compilation).value();
  auto engine = we::engine::create(compilation.take().value()).value();
  drive(engine.start().value());

  std::vector<measured> all{
      {empty, "no call: the guest's loop", 100'000},
      {c_sync, "synchronous, C", 20'000},
      {typed_sync, "synchronous, typed C++", 20'000},
      {typed_span, "synchronous, typed C++, string_view", 20'000},
      {c_ready, "may wait, ready at once, C", 20'000},
      {typed_ready, "coroutine, ready at once", 5'000},
      {c_suspended, "suspended and resumed, C", 1'000},
      {typed_suspended, "coroutine, suspended and resumed", 1'000},
  };
  auto sink = [](we::output_block) {};
  for (int round = 0; round < rounds; ++round) {
    for (auto& m : all) {
      using clock = std::chrono::steady_clock;
      const bytes batch = make_batch(m.what, m.calls_per_batch);
      const auto since = [](clock::time_point then) { return std::chrono::duration<double>(clock::now() - then).count(); };
      // Batches that other programs interrupt are outliers. The median is not affected.
      for (const auto begun = clock::now(); since(begun) < seconds_per_measurement;) {
        const auto one = clock::now();
        drive(engine.transform(batch, sink).value());
        m.times.push_back(since(one) * 1e9 / m.calls_per_batch);
      }
    }
  }
  if (!json) {
    std::printf("%-38s %10s %10s %10s\n", "one call", "median ns", "minus loop", "fastest");
  }
  double loop = 0;
  for (auto& m : all) {
    std::sort(m.times.begin(), m.times.end());
    const double median = m.times[m.times.size() / 2];
    loop = m.what == empty ? median : loop;
    if (json) {
      std::printf("{\"call\": \"%s\", \"ns\": %.1f, \"ns_without_loop\": %.1f}\n", m.name, median, median - loop);
      continue;
    }
    std::printf("%-38s %10.1f %10.1f %10.1f\n", m.name, median, median - loop, m.times.front());
  }
}
