// SPDX-License-Identifier: Apache-2.0
//
// An event loop of the random host: engines and their operations, of which it begins, polls, gives up and ends some at
// random.
#pragma once

#include "random/world.hh"

#include <wasm_engine/records.hh>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace random_host {

/// Wakers that were given to polls, and those that were woken or dropped.
struct waker_counts {
  std::atomic<std::uint64_t> given{0};
  std::atomic<std::uint64_t> consumed{0};
};

/// An engine and its operation, if one is going on.
struct slot {
  enum class kind { start, transform, stop, replace };

  std::shared_ptr<world> of;  ///< Outlives the engine's host functions.
  we::engine engine;
  bool shared = false;
  std::optional<we::future> operation;
  kind what = kind::start;
  bool started = false;
  std::shared_ptr<std::atomic<bool>> woken = std::make_shared<std::atomic<bool>>(true);
  std::chrono::steady_clock::time_point since;
  std::vector<std::string> values;  ///< The input.
  we::record_list records;
  std::vector<std::string> written;  ///< The output.
  bool later = false;                ///< The sink takes its time at the next block.
};

class loop {
 public:
  loop(const shared_world& worlds, std::uint64_t seed, std::size_t engines, waker_counts& wakers, counts& done)
      : _worlds(worlds), _random(seed), _wakers(wakers), _done(done) {
    for (std::size_t i = 0; i < engines; ++i) {
      _slots.push_back(std::make_unique<slot>());
    }
  }

  void run(const std::atomic<bool>& stop) {
    while (!stop) {
      bool idle = true;
      for (auto& s : _slots) {
        idle = !step(*s) && idle;
      }
      if (idle) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
    // Some end in the middle of what they do.
    for (auto& s : _slots) {
      s->operation.reset();
      s->engine = {};
    }
  }

 private:
  [[nodiscard]] bool one_in(std::uint64_t n) { return _random() % n == 0; }

  /// Whether something was done.
  bool step(slot& s) {
    if (s.operation) {
      return go_on(s);
    }
    if (!s.engine) {
      make(s);
    } else if (one_in(40)) {
      s.engine = {};
      s.started = false;
      _done.add("engines released");
    } else if (!s.started) {
      begin(s, slot::kind::start, s.engine.start());
    } else if (one_in(40)) {
      begin(s, slot::kind::stop, s.engine.stop());
    } else if (one_in(40) && !s.shared) {
      begin(s, slot::kind::replace, s.engine.replace(s.of->factories[_random() % 2]));
    } else {
      transform(s);
    }
    return true;
  }

  void make(slot& s) {
    s.of = _worlds.get();
    s.shared = one_in(4);
    const auto& factory = s.of->factories[_random() % 2];
    s.engine = must(s.shared ? we::engine::create_shared(factory) : we::engine::create(factory), "an engine");
    s.started = false;
    _done.add("engines");
  }

  /// The operation's sink. It may outlive the operation but not the slot.
  auto owned(slot& s) {
    return [this, &s](we::parsed_block block, we::output_call call) -> wasm_callback_result {
      for (const auto& r : block) {
        const auto& v = r.payload.value;
        s.written.emplace_back(reinterpret_cast<const char*>(v.data), v.size < 0 ? 0 : static_cast<std::size_t>(v.size));
      }
      if (!std::exchange(s.later, false)) {
        return WASM_CALLBACK_RESULT_DONE;
      }
      _worlds.promises().add(must(call.later(), "a promise"));
      return WASM_CALLBACK_RESULT_PENDING;
    };
  }

  void transform(slot& s) {
    static constexpr std::string_view kinds[] = {"w", "w", "w", "plain", "plain", "u"};
    s.values.clear();
    s.written.clear();
    s.records.clear();
    const std::size_t count = 1 + _random() % 20;
    for (std::size_t i = 0; i < count; ++i) {
      // A trap now and then.
      const auto kind = kinds[_random() % (one_in(30) ? 6 : 5)];
      s.values.push_back(std::string(kind) + std::to_string(_random() % 1'000));
    }
    for (std::size_t i = 0; i < count; ++i) {
      s.records.add(std::nullopt, std::string_view(s.values[i]), static_cast<std::int64_t>(i), 0);
    }
    s.later = one_in(4);
    begin(s, slot::kind::transform, s.engine.transform_records(s.records.all(), owned(s)));
  }

  void begin(slot& s, slot::kind what, we::result<we::future> begun) {
    if (!begun) {
      refused(s, what, begun.err());
      return;
    }
    s.operation = std::move(begun).value();
    s.what = what;
    s.woken->store(true);
    s.since = std::chrono::steady_clock::now();
  }

  bool go_on(slot& s) {
    if (one_in(2'000)) {
      s.operation.reset();
      _done.add("operations given up");
      unknown(s);
      return true;
    }
    if (one_in(4'000)) {
      // In the middle. Its operation ends with it.
      s.engine = {};
      _done.add("engines released while they work");
      expect_end(s);
      s.started = false;
      return true;
    }
    if (one_in(4'000) && s.what == slot::kind::transform) {
      auto stopped = s.engine.stop();
      _done.add("engines stopped while they work");
      if (stopped) {
        expect_end(s);
        begin(s, slot::kind::stop, std::move(stopped));
        return true;
      }
      refused(s, slot::kind::stop, stopped.err());
    }
    if (!s.woken->exchange(false)) {
      if (std::chrono::steady_clock::now() - s.since > std::chrono::seconds(60)) {
        fail("an operation was not woken for a minute");
      }
      return false;
    }
    const auto polled = poll(s);
    if (!polled) {
      refused(s, s.what, polled.err());
      s.operation.reset();
      unknown(s);
    } else if (*polled == WASM_POLL_YIELDED) {
      s.woken->store(true);
    } else if (*polled == WASM_POLL_READY) {
      s.operation.reset();
      ended(s);
    }
    return true;
  }

  we::result<wasm_poll> poll(slot& s) {
    struct ticket {
      std::shared_ptr<std::atomic<bool>> woken;
      waker_counts& counts;
    };
    ++_wakers.given;
    const wasm_waker waker{new ticket{s.woken, _wakers},
                           [](void* data) {
                             const std::unique_ptr<ticket> t(static_cast<ticket*>(data));
                             t->woken->store(true);
                             ++t->counts.consumed;
                           },
                           [](void* data) {
                             const std::unique_ptr<ticket> t(static_cast<ticket*>(data));
                             ++t->counts.consumed;
                           }};
    return s.operation->poll(&waker);
  }

  /// The operation of an engine that was stopped or released meanwhile.
  void expect_end(slot& s) {
    const auto polled = s.operation->poll();
    if (polled ? *polled != WASM_POLL_READY : polled.err().status() != WASM_STATUS_CANCELLED) {
      polled ? fail("an operation goes on without its engine") : fail("an operation without its engine", polled.err());
    }
    s.operation.reset();
  }

  void ended(slot& s) {
    switch (s.what) {
      case slot::kind::start: s.started = true; break;
      case slot::kind::stop: s.started = false; break;
      case slot::kind::replace: break;
      case slot::kind::transform:
        if (s.written != s.values) {
          fail("a transform that succeeded wrote " + std::to_string(s.written.size()) + " of " + std::to_string(s.values.size()) +
               " records");
        }
        break;
    }
    static constexpr const char* names[] = {"starts", "transforms", "stops", "hot swaps"};
    _done.add(names[static_cast<int>(s.what)]);
  }

  void refused(slot& s, slot::kind what, const we::error& e) {
    // Of a guest that trapped, of a promise that was rejected, of a shared engine that another user stopped, of what
    // was given up.
    static const std::set<wasm_status> expected{WASM_STATUS_GUEST_TRAP,      WASM_STATUS_HOST_FUNCTION_FAILED, WASM_STATUS_OUTPUT_REJECTED,
                                                WASM_STATUS_INVALID_STATE,   WASM_STATUS_CANCELLED,            WASM_STATUS_BUSY,
                                                WASM_STATUS_POOL_EXHAUSTED};
    if (!expected.contains(e.status())) {
      fail("operation " + std::to_string(static_cast<int>(what)), e);
    }
    _done.add(std::string("refused: ") + e.status_name());
    unknown(s);
  }

  /// Asks the engine what it is.
  void unknown(slot& s) {
    if (s.engine) {
      const auto state = must(s.engine.state(), "a state");
      s.started = state != WASM_ENGINE_STATE_STOPPED;
    }
  }

  const shared_world& _worlds;
  std::mt19937_64 _random;
  waker_counts& _wakers;
  counts& _done;
  std::vector<std::unique_ptr<slot>> _slots;
};

}  // namespace random_host
