// SPDX-License-Identifier: Apache-2.0
//
// A host that allocates nothing while the library works: what a shortage of memory is tried on.
#pragma once

#include "support/bench.hh"

#include <unistd.h>

#include <wasm_engine/records.hh>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shortage {

namespace we = wasmengine;

/// What a scenario has made, and what the host's callbacks saw.
struct world {
  wasm_runtime* runtime = nullptr;
  wasm_factory* factory = nullptr;
  wasm_engine* engine = nullptr;
  wasm_bytes* bytes = nullptr;
  wasm_promise* promise = nullptr;
  wasm_factory_cache* cache = nullptr;

  kafka::bytes module;
  kafka::bytes batch;
  we::record_list given;            ///< Records that are transformed instead of the batch.
  std::deque<std::string> values;   ///< What they point to.
  bool takes_apart = false;         ///< The sink wants output taken apart.
  bool answers_later = false;

  std::size_t records = 0;
  std::size_t lines = 0;
  std::size_t broken = 0;  ///< Errors without a message.

  /// The status of a call, whose error is looked at and dropped.
  template <typename F>
  wasm_status call(F&& f) {
    wasm_error* error = nullptr;
    const wasm_status status = f(&error);
    if (status != WASM_STATUS_OK) {
      broken += error == nullptr || wasm_error_message(error)[0] == '\0' ? 1 : 0;
      wasm_error_release(error);
    }
    return status;
  }

  wasm_status make_runtime() {
    wasm_runtime_config config{};
    config.size = sizeof(config);
    config.time_slice_ns = 2'000'000'000;
    config.log.data = this;
    config.log.line = [](void* self, const wasm_log_line*) { ++static_cast<world*>(self)->lines; };
    config.core_dumps = core_dumps ? 1 : 0;
    return call([&](auto e) { return wasm_runtime_create(&config, &runtime, e); });
  }

  /// t.report(i32), and a registry in memory.
  wasm_status add_registry() {
    const wasm_value_type i32 = WASM_VALUE_TYPE_I32;
    wasm_host_function f{};
    f.size = sizeof(f);
    f.module = we::as_slice("t");
    f.name = we::as_slice("report");
    f.params = &i32;
    f.param_count = 1;
    f.call = [](void*, wasm_call*, const wasm_value*, wasm_value*) -> wasm_callback_result {
      return WASM_CALLBACK_RESULT_DONE;
    };
    const auto added = call([&](auto e) { return wasm_runtime_register_function(runtime, &f, e); });
    wasm_schema_registry registry{};
    wasm_schema_registry_in_memory(&registry, nullptr);
    const auto set = call([&](auto e) { return wasm_runtime_set_schema_registry(runtime, &registry, e); });
    return added == WASM_STATUS_OK ? set : added;
  }

  /// host.later(i64) -> i64.
  wasm_status add_function() {
    const wasm_value_type i64 = WASM_VALUE_TYPE_I64;
    wasm_host_function f{};
    f.size = sizeof(f);
    f.module = we::as_slice("host");
    f.name = we::as_slice("later");
    f.params = &i64;
    f.param_count = 1;
    f.results = &i64;
    f.result_count = 1;
    f.may_wait = 1;
    f.data = this;
    f.call = [](void* self, wasm_call* call, const wasm_value*, wasm_value* results) -> wasm_callback_result {
      auto& w = *static_cast<world*>(self);
      if (w.answers_later) {
        const bool taken = wasm_call_promise(call, &w.promise, nullptr) == WASM_STATUS_OK;
        return taken ? WASM_CALLBACK_RESULT_PENDING : WASM_CALLBACK_RESULT_FAILED;
      }
      results->i64 = 42;
      return WASM_CALLBACK_RESULT_DONE;
    };
    return call([&](auto e) { return wasm_runtime_register_function(runtime, &f, e); });
  }

  [[nodiscard]] wasm_factory_config config() {
    wasm_factory_config c{};
    c.size = sizeof(c);
    c.module = we::as_slice(module);
    c.name = we::as_slice("tested");
    c.input_topic = we::as_slice("in");
    c.output_topics = &topic;
    c.output_topic_count = 1;
    return c;
  }

  /// Polls until the operation has ended. A promise is kept at once.
  wasm_status finish(wasm_future* future) {
    wasm_poll state = WASM_POLL_YIELDED;
    wasm_status status = WASM_STATUS_OK;
    while (status == WASM_STATUS_OK && state != WASM_POLL_READY) {
      status = call([&](auto e) { return wasm_future_poll(future, nullptr, &state, e); });
      if (promise != nullptr) {
        const wasm_value value{.i64 = 42};
        const auto settled = call([&](auto e) { return wasm_promise_resolve_values(promise, &value, 1, e); });
        wasm_promise_release(std::exchange(promise, nullptr));
        status = status == WASM_STATUS_OK ? settled : status;
      } else if (state == WASM_POLL_PENDING) {
        usleep(200);
      }
    }
    return status;
  }

  wasm_status end(wasm_future* future, wasm_status status) {
    const auto released = call([&](auto e) { return wasm_future_release(future, e); });
    return status == WASM_STATUS_OK ? released : status;
  }

  wasm_status take_factory(wasm_future* future) {
    auto status = finish(future);
    if (status == WASM_STATUS_OK) {
      status = call([&](auto e) { return wasm_future_take_factory(future, &factory, e); });
    }
    return end(future, status);
  }

  wasm_status compile() {
    const auto c = config();
    wasm_future* future = nullptr;
    const auto begun = call([&](auto e) { return wasm_factory_create(runtime, &c, &future, e); });
    return begun == WASM_STATUS_OK ? take_factory(future) : begun;
  }

  wasm_status precompile() {
    wasm_future* future = nullptr;
    auto status = call([&](auto e) { return wasm_runtime_precompile(runtime, we::as_slice(module), &future, e); });
    if (status != WASM_STATUS_OK) {
      return status;
    }
    status = finish(future);
    if (status == WASM_STATUS_OK) {
      status = call([&](auto e) { return wasm_future_take_artifact(future, &bytes, e); });
    }
    return end(future, status);
  }

  wasm_status load() {
    auto c = config();
    c.module = wasm_bytes_view(bytes);
    wasm_future* future = nullptr;
    const auto begun = call([&](auto e) { return wasm_factory_load(runtime, &c, &future, e); });
    return begun == WASM_STATUS_OK ? take_factory(future) : begun;
  }

  wasm_status make_engine() {
    return call([&](auto e) { return wasm_engine_create(factory, nullptr, &engine, e); });
  }

  wasm_status set_policy(wasm_on_error on_error) {
    wasm_engine_policy policy{};
    policy.size = sizeof(policy);
    policy.on_error = on_error;
    return call([&](auto e) { return wasm_engine_set_policy(engine, &policy, e); });
  }

  wasm_status start() {
    wasm_future* future = nullptr;
    const auto begun = call([&](auto e) { return wasm_engine_start(engine, &future, e); });
    return begun == WASM_STATUS_OK ? end(future, finish(future)) : begun;
  }

  wasm_status stop() {
    wasm_future* future = nullptr;
    const auto begun = call([&](auto e) { return wasm_engine_stop(engine, &future, e); });
    return begun == WASM_STATUS_OK ? end(future, finish(future)) : begun;
  }

  wasm_status transform() {
    records = 0;
    wasm_output_sink sink{sizeof(sink), this, [](void*) {}, nullptr, nullptr};
    if (takes_apart) {
      sink.parsed = [](void* self, const wasm_parsed_record*, std::size_t count, wasm_call*) {
        static_cast<world*>(self)->records += count;
        return wasm_callback_result{WASM_CALLBACK_RESULT_DONE};
      };
    } else {
      sink.records = [](void* self, const wasm_output_record*, std::size_t count, wasm_call*) {
        static_cast<world*>(self)->records += count;
        return wasm_callback_result{WASM_CALLBACK_RESULT_DONE};
      };
    }
    wasm_future* future = nullptr;
    const auto begun = call([&](auto e) {
      if (!given.empty()) {
        const auto all = given.all();
        const wasm_transform_records_args args{sizeof(args), all.data(), all.size(), &sink, 0};
        return wasm_engine_transform_records(engine, &args, &future, e);
      }
      const wasm_transform_args args{sizeof(args), we::as_slice(batch), &sink, 0};
      return wasm_engine_transform(engine, &args, &future, e);
    });
    return begun == WASM_STATUS_OK ? end(future, finish(future)) : begun;
  }

  [[nodiscard]] wasm_engine_state state() const {
    wasm_engine_state now = WASM_ENGINE_STATE_STOPPED;
    wasm_engine_get_state(engine, &now, nullptr);
    return now;
  }

  /// A factory of the cache.
  wasm_status compile_cached() {
    const auto c = config();
    wasm_future* future = nullptr;
    const auto begun = call([&](auto e) { return wasm_factory_cache_get(cache, we::as_slice("key"), &c, &future, e); });
    return begun == WASM_STATUS_OK ? take_factory(future) : begun;
  }

  void release() {
    wasm_factory_cache_release(std::exchange(cache, nullptr));
    wasm_bytes_release(std::exchange(bytes, nullptr));
    wasm_engine_release(std::exchange(engine, nullptr), nullptr);
    wasm_factory_release(std::exchange(factory, nullptr));
    if (runtime != nullptr) {
      // What the thread keeps for the next batch is no leak, and not always the same.
      (void)wasm_thread_release(runtime, nullptr);
    }
    wasm_runtime_release(std::exchange(runtime, nullptr));
  }

  bool core_dumps = false;
  wasm_slice topic = we::as_slice("out");
};

}  // namespace shortage
