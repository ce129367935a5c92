// SPDX-License-Identifier: Apache-2.0
//
// Engines on Seastar's shards: a program of its own, since Seastar wants `main`. It prints a line per test, and returns
// the number of those that failed.
#include <wasm_engine/seastar.hh>
#include <wasm_engine/wasm_engine.hh>

#include <seastar/core/app-template.hh>
#include <seastar/core/reactor.hh>
#include <seastar/core/semaphore.hh>
#include <seastar/core/sharded.hh>
#include <seastar/core/sleep.hh>
#include <seastar/core/smp.hh>
#include <seastar/core/thread.hh>
#include <seastar/core/timer.hh>
#include <seastar/core/when_all.hh>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using wasmengine::as_future;

namespace {

using bytes = std::vector<std::uint8_t>;

// ---- Checks ----

int failures = 0;  // Of shard 0; tests run there, one after another, in a seastar::thread.

void check(bool holds, const char* what, int line) {
  if (!holds) {
    ++failures;
    std::printf("  failed in line %d: %s\n", line, what);
  }
}
#define CHECK(what) check((what), #what, __LINE__)

// ---- Guests ----

bytes file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw std::runtime_error("no guest at " + path);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

bytes batch(const std::vector<std::string>& values) {
  auto builder = wasmengine::batch_builder::create({}).value();
  for (const auto& v : values) {
    builder.add(1'700'000'000'000, {std::nullopt, v, {}}).value();
  }
  const auto made = builder.finish().value();
  return {made.begin(), made.end()};
}

/// A runtime with host.later, and the guest of wat/t_later.wat; in a seastar::thread.
struct asking {
  template <typename F>
  explicit asking(F host_later, const wasm_runtime_config& config = {})
      : runtime(wasmengine::runtime::create(config).value()) {
    wasmengine::host_module host("host");
    host.add("later", std::move(host_later));
    runtime.add(host).value();
    factory = as_future(runtime.compile(file(WASM_ENGINE_TEST_WAT "/t_later.wasm"), {"tested", "in", {"out"}, {}}).value())
                  .get();
  }
  [[nodiscard]] wasmengine::engine started() const {
    auto engine = wasmengine::engine::create(factory).value();
    as_future(engine.start().value()).get();
    return engine;
  }

  wasmengine::runtime runtime;
  wasmengine::factory factory;
};

std::int64_t at_once(std::int64_t n) { return 2 * n; }

struct counter {
  std::size_t records = 0;
  void operator()(wasmengine::output_block block) { records += block.size(); }
};

/// How an operation failed, if it did.
std::optional<wasmengine::error> failure(seastar::future<> f) {
  try {
    f.get();
    return std::nullopt;
  } catch (const wasmengine::error& e) {
    return e;
  }
}

bool is_blocked(int signal) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

// ---- Tests ----

void operations_come_to_their_end() {
  const asking guest(at_once);
  auto engine = guest.started();
  counter out;
  const auto input = batch({"a", "w", "b"});
  auto done = as_future(engine.transform(input, out).value());
  CHECK(done.available());  // At the first poll, without a hop.
  done.get();
  CHECK(out.records == 3);
  as_future(engine.stop().value()).get();
  CHECK(engine.state().value() == WASM_ENGINE_STATE_STOPPED);
}

void compilations_fail_with_their_error() {
  const auto runtime = wasmengine::runtime::create().value();
  auto compiled = as_future(runtime.compile(bytes{1, 2, 3}, {"tested", "in", {"out"}, {}}).value());
  try {
    compiled.get();
    CHECK(false);
  } catch (const wasmengine::error& e) {
    CHECK(e.status() == WASM_STATUS_MODULE_NOT_WASM);
  }
}

void traps_are_caught_on_every_shard() {
  const asking guest(at_once);
  seastar::smp::invoke_on_all([&guest] { wasmengine::prepare_shard(guest.runtime); }).get();
  for (unsigned shard = 0; shard < seastar::this_smp_shard_count(); ++shard) {
    const auto caught = seastar::smp::submit_to(shard, [&guest] {
      return seastar::async([&guest] {
        int right = 0;
        const std::vector<std::pair<const char*, wasm_trap>> traps{
            {"o", WASM_TRAP_MEMORY_OUT_OF_BOUNDS}, {"d", WASM_TRAP_DIVISION_BY_ZERO}, {"u", WASM_TRAP_UNREACHABLE}};
        for (int round = 0; round < 20; ++round) {
          for (const auto& [value, trap] : traps) {
            auto engine = guest.started();
            counter out;
            const auto input = batch({"a", value});
            const auto why = failure(as_future(engine.transform(input, out).value()));
            right += why && why->trap() == trap && why->record()->index == 1 ? 1 : 0;
            seastar::sleep(100us).get();
          }
        }
        return right + (is_blocked(SIGFPE) ? 1'000 : 0);
      });
    }).get();
    CHECK(caught == 60);
  }
}

void host_functions_answer_with_futures() {
  const asking guest([](std::int64_t n) { return seastar::sleep(20ms).then([n] { return 2 * n; }); });
  auto engine = guest.started();
  counter out;
  const auto input = batch({"w", "w"});
  const auto begun = std::chrono::steady_clock::now();
  as_future(engine.transform(input, out).value()).get();
  CHECK(std::chrono::steady_clock::now() - begun >= 40ms);
  CHECK(out.records == 2);
}

void host_functions_with_ready_and_failed_futures() {
  const asking ready([](std::int64_t n) { return seastar::make_ready_future<std::int64_t>(2 * n); });
  auto engine = ready.started();
  counter out;
  const auto input = batch({"w"});
  auto done = as_future(engine.transform(input, out).value());
  CHECK(done.available());
  done.get();

  const asking failing([](std::int64_t) {
    return seastar::sleep(1ms).then([]() -> std::int64_t { throw std::runtime_error("the database is asleep"); });
  });
  auto other = failing.started();
  const auto why = failure(as_future(other.transform(input, out).value()));
  CHECK(why && why->status() == WASM_STATUS_HOST_FUNCTION_FAILED);
  CHECK(why && std::string(why->what()).find("the database is asleep") != std::string::npos);
}

void promises_settled_on_another_thread_wake_the_shard() {
  std::vector<std::thread> threads;
  const asking guest([&threads](std::int64_t n, wasmengine::later<std::int64_t> answer) {
    threads.emplace_back([n, a = std::move(answer)]() mutable {
      std::this_thread::sleep_for(5ms);
      (void)a.resolve(2 * n);
    });
  });
  auto engine = guest.started();
  counter out;
  const auto input = batch({"w", "w", "w"});
  as_future(engine.transform(input, out).value()).get();
  CHECK(out.records == 3);
  for (auto& t : threads) {
    t.join();
  }
}

void promises_settled_on_another_shard_wake_the_shard() {
  const asking guest([](std::int64_t n, wasmengine::later<std::int64_t> answer) {
    auto kept = std::make_unique<wasmengine::later<std::int64_t>>(std::move(answer));
    (void)seastar::smp::submit_to(1 % seastar::this_smp_shard_count(), [n, a = std::move(kept)] { (void)a->resolve(2 * n); });
  });
  auto engine = guest.started();
  counter out;
  const auto input = batch({"w", "w", "w"});
  as_future(engine.transform(input, out).value()).get();
  CHECK(out.records == 3);
}

void many_engines_wait_side_by_side() {
  constexpr std::size_t engines = 200;
  const asking guest([](std::int64_t n) { return seastar::sleep(200ms).then([n] { return 2 * n; }); });
  const auto input = batch({"w"});
  std::vector<wasmengine::engine> all;
  for (std::size_t i = 0; i < engines; ++i) {
    all.push_back(guest.started());
  }
  counter out;
  std::vector<seastar::future<>> done;
  const auto begun = std::chrono::steady_clock::now();
  for (auto& engine : all) {
    done.push_back(as_future(engine.transform(input, out).value()));
  }
  seastar::when_all_succeed(done.begin(), done.end()).get();
  CHECK(std::chrono::steady_clock::now() - begun < 2s);
  CHECK(out.records == engines);
}

void a_guest_that_loops_does_not_starve_timers() {
  wasm_runtime_config config{};
  config.time_slice_ns = 200'000;
  config.record_time_limit_ns = 300'000'000;
  const asking guest(at_once, config);
  auto engine = guest.started();
  int ticks = 0;
  seastar::timer<> timer([&ticks] { ++ticks; });
  timer.arm_periodic(2ms);
  counter out;
  const auto input = batch({"l"});
  const auto why = failure(as_future(engine.transform(input, out).value()));
  timer.cancel();
  CHECK(why && why->status() == WASM_STATUS_GUEST_TIMEOUT);
  CHECK(ticks >= 10);
}

void a_sink_holds_the_guest_back() {
  const asking guest(at_once);
  auto engine = guest.started();
  std::size_t records = 0;
  bool within = false;
  wasmengine::seastar_sink sink([&](wasmengine::output_block block) {
    CHECK(!within);
    within = true;
    return seastar::sleep(10ms).then([&, block] {
      // The block is still there.
      for (const auto& r : block) {
        records += r.payload_size > 0 ? 1 : 0;
      }
      within = false;
    });
  });
  const auto input = batch({"a", "b"});
  auto done = as_future(engine.transform(input, sink).value());
  CHECK(!done.available());
  done.get();
  CHECK(records == 2);

  wasmengine::seastar_sink full([](wasmengine::output_block) -> seastar::future<> {
    throw std::runtime_error("no space left");
  });
  const auto why = failure(as_future(engine.transform(input, full).value()));
  CHECK(why && why->status() == WASM_STATUS_OUTPUT_REJECTED);
  CHECK(why && std::string(why->what()).find("no space left") != std::string::npos);
}

void stopping_cancels_what_waits() {
  std::vector<wasmengine::later<std::int64_t>> asked;
  const asking guest([&asked](std::int64_t, wasmengine::later<std::int64_t> answer) { asked.push_back(std::move(answer)); });
  auto engine = guest.started();
  counter out;
  const auto input = batch({"w"});
  auto done = as_future(engine.transform(input, out).value());
  seastar::sleep(1ms).get();
  CHECK(!done.available());
  as_future(engine.stop().value()).get();
  const auto why = failure(std::move(done));
  CHECK(why && why->status() == WASM_STATUS_CANCELLED);
  CHECK(asked.size() == 1 && asked[0].resolve(std::int64_t{42}).has_value());
}

void another_shard_is_refused() {
  const asking guest(at_once);
  auto engine = guest.started();
  const auto status = seastar::smp::submit_to(1 % seastar::this_smp_shard_count(), [&engine] {
    auto operation = engine.stop();
    return operation ? WASM_STATUS_OK : operation.err().status();
  }).get();
  CHECK(status == (seastar::this_smp_shard_count() > 1 ? WASM_STATUS_WRONG_THREAD : WASM_STATUS_OK));
}

void run(const char* name, void (*test)()) {
  const int before = failures;
  const auto begun = std::chrono::steady_clock::now();
  try {
    test();
  } catch (const std::exception& e) {
    ++failures;
    std::printf("  threw: %s\n", e.what());
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  std::printf("%-6s %s (%d ms)\n", failures == before ? "ok" : "FAILED", name, static_cast<int>(took.count()));
  std::fflush(stdout);
}
#define RUN(test) run(#test, test)

int all() {
  RUN(operations_come_to_their_end);
  RUN(compilations_fail_with_their_error);
  RUN(traps_are_caught_on_every_shard);
  RUN(host_functions_answer_with_futures);
  RUN(host_functions_with_ready_and_failed_futures);
  RUN(promises_settled_on_another_thread_wake_the_shard);
  RUN(promises_settled_on_another_shard_wake_the_shard);
  RUN(many_engines_wait_side_by_side);
  RUN(a_guest_that_loops_does_not_starve_timers);
  RUN(a_sink_holds_the_guest_back);
  RUN(stopping_cancels_what_waits);
  RUN(another_shard_is_refused);
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  seastar::app_template app;
  return app.run(argc, argv, [] {
    return seastar::async([] {
      if (seastar::this_smp_shard_count() > 1) {
        std::printf("before: shard 1 blocks SIGFPE: %s\n",
                    seastar::smp::submit_to(1, [] { return is_blocked(SIGFPE); }).get() ? "yes" : "no");
      }
      return all();
    });
  });
}
