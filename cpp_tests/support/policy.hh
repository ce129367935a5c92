// SPDX-License-Identifier: Apache-2.0
//
// A guest that dies as its records want it (wat/p_guest.wat), clocks that tests turn, and operations that are driven
// step by step.
#pragma once

#include "begin_transform.hh"
#include "c_sink.hh"

#include <algorithm>
#include <deque>

namespace testing_support {

using wasmengine::policy;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// A policy by which `max` of `window` consecutive records may be lost.
inline policy losing(std::uint32_t max, std::uint32_t window, wasm_on_error on_error = WASM_ON_ERROR_SKIP,
                                 std::uint32_t half_open = 3) {
  return {.on_error = on_error, .lost_max = max, .lost_window = window, .half_open_records = half_open};
}

/// A clock that stands still until somebody sleeps, or the test turns it.
struct fake_timer {
  nanoseconds now() noexcept { return time; }
  void sleep(nanoseconds t, wasmengine::promise p) {
    slept.push_back(t);
    if (!fails_with.empty()) {
      throw std::runtime_error(fails_with);
    }
    if (holds) {
      held.push_back(std::move(p));
      return;
    }
    time += t;
    EXPECT_TRUE(p.resolve());
  }
  /// Lets the time pass that was slept for last.
  void wake() {
    time += slept.back();
    EXPECT_TRUE(held.back().resolve());
    held.pop_back();
  }

  nanoseconds time{seconds(1000)};
  bool holds = false;      ///< Until `wake`; else time passes at once.
  std::string fails_with;  ///< Instead of sleeping.
  std::vector<nanoseconds> slept;
  std::vector<wasmengine::promise> held;
};

/// An engine with the guest, and what the guest's host functions are to do.
class policed {
 public:
  explicit policed(const wasm_runtime_config& config = {}, std::vector<std::string> topics = {"out"})
      : runtime(wasmengine::runtime::create(config, [l = log](const wasmengine::log_line& line) { l->add(line); })
                    .value()) {
    wasmengine::host_module host("host");
    host.add("start", [s = starts] {
      if (s->empty()) {
        return std::int32_t{0};
      }
      const bool good = s->front();
      s->pop_front();
      return std::int32_t{good ? 0 : 1};
    });
    host.add("fail", []() -> wasmengine::result<void> { return wasmengine::error("the host has no answer"); });
    runtime.add(host).value();
    factory = compile(runtime, "p_guest", with_topics(std::move(topics)));
    engine = wasmengine::engine::create(factory).value();
  }
  explicit policed(wasm_on_error on_error, const wasm_runtime_config& config = {}) : policed(config) {
    set({.on_error = on_error});
  }

  void set(const policy& p) { engine.set_policy(p).value(); }
  void set(const policy& p, fake_timer& timer) { engine.set_policy(p, timer).value(); }

  outcome start() { return finish(engine.start()); }
  template <typename S>
  outcome transform(kafka::view batch, S& sink, std::uint32_t from = 0) {
    return finish(engine.transform_from(batch, from, sink));
  }
  /// Whether it copies a record; starts it if need be.
  testing::AssertionResult works() {
    if (state() == WASM_ENGINE_STATE_STOPPED) {
      if (const auto started = start(); started.status != WASM_STATUS_OK) {
        return testing::AssertionFailure() << started.message();
      }
    }
    recorder out;
    const auto batch = built({"works?"});
    const auto end = transform(batch, out);
    if (end.status != WASM_STATUS_OK || out.values() != std::vector<std::string>{"works?"}) {
      return testing::AssertionFailure() << "the engine does not copy a record " << end.message();
    }
    return testing::AssertionSuccess();
  }

  [[nodiscard]] wasm_engine_state state() const { return engine.state().value(); }
  [[nodiscard]] wasm_engine_stats stats() const { return engine.stats().value(); }
  [[nodiscard]] std::string last_error() const {
    const auto last = engine.last_error().value();
    return last ? last->status_name() : "none";
  }

  std::shared_ptr<log_lines> log = std::make_shared<log_lines>();
  /// Which of the next starts succeed; all, when it is empty.
  std::shared_ptr<std::deque<bool>> starts = std::make_shared<std::deque<bool>>();
  wasmengine::runtime runtime;
  wasmengine::factory factory;
  wasmengine::engine engine;
};

/// A way to die, and what is said of it.
struct death {
  const char* name;
  char letter;
  wasm_status status;
};

inline void PrintTo(const death& d, std::ostream* out) { *out << d.name; }

inline constexpr death deaths[] = {
    {"Trap", 'u', WASM_STATUS_GUEST_TRAP},
    {"Exit", 'x', WASM_STATUS_GUEST_EXIT},
    {"Timeout", 'l', WASM_STATUS_GUEST_TIMEOUT},
    {"MemoryLimit", 'g', WASM_STATUS_GUEST_MEMORY_LIMIT},
    {"StackOverflow", 'r', WASM_STATUS_GUEST_STACK_OVERFLOW},
    {"BadCall", 'p', WASM_STATUS_GUEST_BAD_CALL},
};

/// How an operation in progress is ended.
enum class ending { release, stop, engine_release };

inline const char* name_of(ending how) {
  return how == ending::release ? "FutureReleased" : how == ending::stop ? "EngineStopped" : "EngineReleased";
}

inline void PrintTo(ending how, std::ostream* out) { *out << name_of(how); }

inline constexpr wasm_compression codecs[] = {WASM_COMPRESSION_NONE, WASM_COMPRESSION_GZIP, WASM_COMPRESSION_SNAPPY,
                                       WASM_COMPRESSION_LZ4, WASM_COMPRESSION_ZSTD};

/// Values "k1-0", "k1-1", …, of which those at `poisoned` begin with `letter`.
inline std::vector<std::string> values_with(char letter, std::size_t count, const std::vector<std::size_t>& poisoned,
                                            char copies = '1') {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < count; ++i) {
    const bool bad = std::find(poisoned.begin(), poisoned.end(), i) != poisoned.end();
    values.push_back(std::string{bad ? letter : 'k', copies, '-'} + std::to_string(i));
  }
  return values;
}

/// The values that a guest copies which loses those that it dies of.
inline std::vector<std::string> survivors(const std::vector<std::string>& values, std::size_t from = 0) {
  std::vector<std::string> out;
  for (std::size_t i = from; i < values.size(); ++i) {
    if (values[i][0] == 'k' || values[i][0] == 'b') {
      out.insert(out.end(), static_cast<std::size_t>(values[i][1] - '0'), values[i]);
    }
  }
  return out;
}

/// The offset of record `i` in a batch of `with_gaps`.
inline std::int64_t gap_offset(std::size_t i) { return 100 + static_cast<std::int64_t>(i * i + i); }

/// A batch of which the broker has thrown records away.
inline kafka::bytes with_gaps(const std::vector<std::string>& values, wasm_compression codec = WASM_COMPRESSION_NONE) {
  auto builder = wasmengine::batch_builder::create({100, codec}).value();
  for (std::size_t i = 0; i < values.size(); ++i) {
    builder.add(1'700'000'000'000 + static_cast<std::int64_t>(i), {std::nullopt, values[i], {}}, gap_offset(i)).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

/// Polls until the operation is over, as an event loop would. `on_pending` is called when it is pending, and must do
/// what wakes it; when it gives false, the operation is left as it is.
template <typename F>
outcome drive(wasmengine::future& operation, F on_pending) {
  outcome out;
  waker_tally wakers;
  for (;;) {
    const auto waker = wakers.give();
    auto polled = operation.poll(&waker);
    ++out.polls;
    if (!polled) {
      out.status = polled.err().status();
      out.why = polled.err();
      break;
    }
    if (*polled == WASM_POLL_READY) {
      break;
    }
    if (*polled == WASM_POLL_PENDING) {
      ++out.pendings;
      EXPECT_EQ(wakers.alive(), 1) << "a poll that is pending keeps its waker";
      if (!on_pending()) {
        operation = wasmengine::future();
        break;
      }
      EXPECT_EQ(wakers.woken(), out.pendings) << "it is woken by what it waited for";
    } else {
      ++out.yields;
    }
    EXPECT_EQ(wakers.alive(), 0);
    if (out.polls > 1'000'000) {
      ADD_FAILURE() << "the operation does not end";
      break;
    }
  }
  EXPECT_EQ(wakers.alive(), 0) << "each waker is woken or dropped, once";
  return out;
}

/// Begins a transform with a C sink.
inline wasmengine::future begin(policed& p, kafka::view batch, c_sink& sink, std::uint32_t from = 0) {
  wasmengine::future operation;
  const auto raw = sink.raw();
  EXPECT_EQ(begin_transform_from(p.engine.get(), wasmengine::as_slice(batch), from, &raw, operation.out(), nullptr),
            WASM_STATUS_OK);
  return operation;
}

}  // namespace testing_support
