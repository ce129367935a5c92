// SPDX-License-Identifier: Apache-2.0
//
// Engines of the embedder's own: a C table whose callbacks are functions of the test, and dummies on the bench.
#pragma once

#include "c_sink.hh"

#include <wasm_engine/dummy_engine.hh>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace testing_support {

namespace we = wasmengine;

/// A table for `wasm_factory_create_custom`. It must outlive what is made from it.
struct c_engine {
  std::function<wasm_callback_result(wasm_call*)> on_create, on_start;
  std::function<wasm_callback_result(wasm_slice, std::uint32_t, wasm_work*, wasm_call*)> on_transform = copy;
  std::function<void()> on_stop, on_release, on_drop;
  std::uint64_t memory = 0;
  int creates = 0, starts = 0, transforms = 0, stops = 0, releases = 0, drops = 0;

  [[nodiscard]] wasm_custom_engine table() {
    return {sizeof(wasm_custom_engine),
            this,
            [](void* self) { ++of(self).drops, call(of(self).on_drop); },
            [](void* self, void** data, wasm_call* c) -> wasm_callback_result {
              EXPECT_EQ(*data, nullptr);
              ++of(self).creates;
              *data = self;
              return of(self).on_create ? of(self).on_create(c) : WASM_CALLBACK_RESULT_DONE;
            },
            [](void* self, wasm_call* c) -> wasm_callback_result {
              ++of(self).starts;
              return of(self).on_start ? of(self).on_start(c) : WASM_CALLBACK_RESULT_DONE;
            },
            [](void* self, wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* c) -> wasm_callback_result {
              ++of(self).transforms;
              return of(self).on_transform(batch, first, work, c);
            },
            [](void* self) { ++of(self).stops, call(of(self).on_stop); },
            [](void* self) { ++of(self).releases, call(of(self).on_release); },
            [](void* self) { return of(self).memory; }};
  }

  /// Takes a record; false if there is none left.
  static bool next(wasm_work* work, wasm_input_record& record) {
    EXPECT_EQ(wasm_work_next(work, &record, nullptr), WASM_STATUS_OK);
    return record.payload != nullptr;
  }
  static wasm_status write(wasm_work* work, const wasm_input_record& record, std::uint32_t topic = 0) {
    return wasm_work_write(work, {record.payload, record.payload_size}, topic, nullptr);
  }
  static wasm_callback_result copy(wasm_slice, std::uint32_t, wasm_work* work, wasm_call*) {
    wasm_input_record record;
    while (next(work, record)) {
      EXPECT_EQ(write(work, record), WASM_STATUS_OK);
    }
    return WASM_CALLBACK_RESULT_DONE;
  }

 private:
  static c_engine& of(void* self) { return *static_cast<c_engine*>(self); }
  static void call(const std::function<void()>& f) {
    if (f) {
      f();
    }
  }
};

/// A promise that a callback took, to be settled by the test.
struct held_promise {
  wasm_promise* raw = nullptr;
  held_promise() = default;
  held_promise(const held_promise&) = delete;
  held_promise& operator=(const held_promise&) = delete;
  ~held_promise() { release(); }
  wasm_callback_result take(wasm_call* call) {
    release();
    EXPECT_EQ(wasm_call_promise(call, &raw, nullptr), WASM_STATUS_OK);
    return WASM_CALLBACK_RESULT_PENDING;
  }
  void release() { wasm_promise_release(std::exchange(raw, nullptr)); }
  wasm_status resolve() { return wasm_promise_resolve(raw, nullptr); }
  wasm_status reject(std::string_view why) { return wasm_promise_reject(raw, we::as_slice(why), nullptr); }
  wasm_status reject_record(std::uint32_t index, std::string_view why) {
    return wasm_promise_reject_record(raw, index, we::as_slice(why), nullptr);
  }
};

/// A runtime, a factory and an engine around a table.
struct custom_bench {
  explicit custom_bench(c_engine& e, const wasm_runtime_config& config = {}, std::vector<std::string> topics = {"out"})
      : runtime(we::runtime::create(config).value()) {
    const auto table = e.table();
    const auto transform = with_topics(std::move(topics));
    factory = we::detail::with_raw(transform, {}, [&](const wasm_factory_config& raw) {
      return we::detail::make<we::factory>([&](wasm_factory** out, wasm_error** error) {
        return wasm_factory_create_custom(runtime.get(), &raw, &table, out, error);
      });
    }).value();
    engine = we::engine::create(factory).value();
  }
  outcome start() { return finish(engine.start()); }
  template <typename S>
  outcome transform(kafka::view batch, S& sink, std::uint32_t from = 0) {
    return finish(engine.transform_from(batch, from, sink));
  }
  [[nodiscard]] wasm_engine_state state() const { return engine.state().value(); }

  we::runtime runtime;
  we::factory factory;
  we::engine engine;
};

/// Dummies of one script, with engines as the test wants them.
struct dummies {
  /// Polls are counted: by default none yields because the machine is busy.
  explicit dummies(const wasm_runtime_config& config = unhurried, const std::string& name = "tested")
      : runtime(we::runtime::create(config).value()), factory(another(name)) {}

  /// Another factory of the same script.
  [[nodiscard]] we::factory another(const std::string& name = "tested") {
    auto transform = with_topics({"out"});
    transform.name = name;
    return we::create_dummy_factory(runtime, transform, script).value();
  }
  [[nodiscard]] we::engine shared() const { return we::engine::create_shared(factory).value(); }

  std::shared_ptr<we::dummy_script> script = std::make_shared<we::dummy_script>();
  we::runtime runtime;
  we::factory factory;
};

/// The encoded payload of a record that has only a value.
inline std::vector<std::uint8_t> payload_of(std::string_view value) {
  return kafka::value(std::string(value)).encode();
}

}  // namespace testing_support
