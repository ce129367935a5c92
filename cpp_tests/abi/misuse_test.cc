// SPDX-License-Identifier: Apache-2.0
//
// Arguments that are wrong: NULL everywhere, structs of a wrong size. Each gives a status, and nothing else happens.
// Calls at the wrong time or place are in wrong_state_test.cc.
#include "support/begin_transform.hh"
#include "support/c_sink.hh"

#include <gmock/gmock.h>

#include <cstring>

using namespace testing_support;
using testing::AllOf;
using testing::HasSubstr;

namespace {

wasm_callback_result done(output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; }

/// An error out-parameter that checks what came into it.
class story {
 public:
  ~story() { wasm_error_release(_error); }
  story() = default;
  story(const story&) = delete;
  story& operator=(const story&) = delete;
  wasm_error** out() { return &_error; }
  /// Whether the error goes with the status and says something.
  testing::AssertionResult tells(wasm_status status, std::string_view about = "") const {
    if (_error == nullptr || wasm_error_status(_error) != status) {
      return testing::AssertionFailure() << "no error, or one with another status";
    }
    if (std::string_view(wasm_error_message(_error)).find(about) == std::string_view::npos) {
      return testing::AssertionFailure() << "the message is: " << wasm_error_message(_error);
    }
    return testing::AssertionSuccess();
  }

 private:
  wasm_error* _error = nullptr;
};

// The call must give NULL_ARGUMENT, with a story that names the argument and without.
#define EXPECT_NULL_REFUSED(name, ...)                                                 \
  do {                                                                                 \
    story s;                                                                           \
    wasm_error** error = s.out();                                                      \
    EXPECT_EQ((__VA_ARGS__), WASM_STATUS_NULL_ARGUMENT) << #__VA_ARGS__;               \
    EXPECT_TRUE(s.tells(WASM_STATUS_NULL_ARGUMENT, name)) << #__VA_ARGS__;             \
    error = nullptr;                                                                   \
    EXPECT_EQ((__VA_ARGS__), WASM_STATUS_NULL_ARGUMENT) << "without a story: " << #__VA_ARGS__; \
  } while (false)

template <typename T>
T* poison() {
  return reinterpret_cast<T*>(std::uintptr_t{0xABCDEF00});
}

TEST(Null, IsRefusedByEveryFunctionOfRuntimesAndFactories) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto guest = module("c_identity");
  wasm_factory_config config{};
  config.size = sizeof config;
  config.module = wasmengine::as_slice(guest);
  config.name = wasmengine::as_slice("n");
  const wasm_slice bad{nullptr, 7};
  auto* future = poison<wasm_future>();
  auto* text = poison<wasm_bytes>();

  EXPECT_NULL_REFUSED("runtime", wasm_runtime_create(nullptr, nullptr, error));
  EXPECT_NULL_REFUSED("runtime", wasm_runtime_validate(nullptr, config.module, error));
  EXPECT_NULL_REFUSED("module", wasm_runtime_validate(runtime.get(), bad, error));
  EXPECT_NULL_REFUSED("runtime", wasm_runtime_inspect(nullptr, config.module, &text, error));
  EXPECT_NULL_REFUSED("module", wasm_runtime_inspect(runtime.get(), bad, &text, error));
  EXPECT_NULL_REFUSED("json", wasm_runtime_inspect(runtime.get(), config.module, nullptr, error));
  EXPECT_NULL_REFUSED("runtime", wasm_factory_create(nullptr, &config, &future, error));
  EXPECT_NULL_REFUSED("config", wasm_factory_create(runtime.get(), nullptr, &future, error));
  EXPECT_NULL_REFUSED("future", wasm_factory_create(runtime.get(), &config, nullptr, error));
  for (auto* field : {&config.module, &config.name, &config.input_topic}) {
    const auto good = std::exchange(*field, bad);
    EXPECT_NULL_REFUSED("", wasm_factory_create(runtime.get(), &config, &future, error));
    *field = good;
  }
  config.output_topic_count = 1;
  EXPECT_NULL_REFUSED("output_topics", wasm_factory_create(runtime.get(), &config, &future, error));
  config.output_topics = &bad;
  EXPECT_NULL_REFUSED("output_topics", wasm_factory_create(runtime.get(), &config, &future, error));
  config.output_topic_count = 0;
  config.env_count = 1;
  EXPECT_NULL_REFUSED("env", wasm_factory_create(runtime.get(), &config, &future, error));
  const wasm_env env{bad, {}};
  config.env = &env;
  EXPECT_NULL_REFUSED("env", wasm_factory_create(runtime.get(), &config, &future, error));

  EXPECT_EQ(future, poison<wasm_future>()) << "out-parameters are written on success only";
  EXPECT_EQ(text, poison<wasm_bytes>());
  EXPECT_EQ(wasm_factory_clone(nullptr), nullptr);
  EXPECT_EQ(wasm_bytes_view(nullptr).size, 0U);
  wasm_runtime_release(nullptr);
  wasm_factory_release(nullptr);
  wasm_bytes_release(nullptr);
}

TEST(Null, IsRefusedByEveryFunctionOfEnginesAndFutures) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  auto* engine = poison<wasm_engine>();
  auto* future = poison<wasm_future>();
  auto* factory = poison<wasm_factory>();
  auto* promise = poison<wasm_promise>();
  wasm_engine_state state{};
  wasm_poll polled{};
  std::uint64_t bytes = 0;
  const auto batch = built({"a"});
  const auto slice = wasmengine::as_slice(batch);
  c_sink sink(done);
  const auto raw = sink.raw();
  auto incomplete = raw;
  incomplete.records = nullptr;

  EXPECT_NULL_REFUSED("factory", wasm_engine_create(nullptr, nullptr, &engine, error));
  EXPECT_NULL_REFUSED("engine", wasm_engine_create(b.factory.get(), nullptr, nullptr, error));
  EXPECT_NULL_REFUSED("engine", wasm_engine_start(nullptr, &future, error));
  EXPECT_NULL_REFUSED("future", wasm_engine_start(b.engine.get(), nullptr, error));
  EXPECT_NULL_REFUSED("engine", begin_transform(nullptr, slice, &raw, &future, error));
  EXPECT_NULL_REFUSED("batch", begin_transform(b.engine.get(), {nullptr, 70}, &raw, &future, error));
  EXPECT_NULL_REFUSED("sink", begin_transform(b.engine.get(), slice, nullptr, &future, error));
  EXPECT_NULL_REFUSED("records", begin_transform(b.engine.get(), slice, &incomplete, &future, error));
  EXPECT_NULL_REFUSED("future", begin_transform(b.engine.get(), slice, &raw, nullptr, error));
  EXPECT_EQ(sink.drops, 8) << "each sink that came in was dropped: two calls each, four of them with a sink";
  EXPECT_NULL_REFUSED("engine", wasm_engine_stop(nullptr, &future, error));
  EXPECT_NULL_REFUSED("future", wasm_engine_stop(b.engine.get(), nullptr, error));
  EXPECT_NULL_REFUSED("engine", wasm_engine_get_state(nullptr, &state, error));
  EXPECT_NULL_REFUSED("state", wasm_engine_get_state(b.engine.get(), nullptr, error));
  EXPECT_NULL_REFUSED("engine", wasm_engine_get_memory_size(nullptr, &bytes, error));
  EXPECT_NULL_REFUSED("bytes", wasm_engine_get_memory_size(b.engine.get(), nullptr, error));
  EXPECT_EQ(wasm_engine_release(nullptr, nullptr), WASM_STATUS_OK);

  auto stop = b.engine.stop().value();
  EXPECT_NULL_REFUSED("future", wasm_future_poll(nullptr, nullptr, &polled, error));
  EXPECT_NULL_REFUSED("state", wasm_future_poll(stop.get(), nullptr, nullptr, error));
  EXPECT_NULL_REFUSED("future", wasm_future_take_factory(nullptr, &factory, error));
  EXPECT_NULL_REFUSED("factory", wasm_future_take_factory(stop.get(), nullptr, error));
  EXPECT_EQ(wasm_future_release(nullptr, nullptr), WASM_STATUS_OK);

  EXPECT_NULL_REFUSED("call", wasm_call_promise(nullptr, &promise, error));
  EXPECT_NULL_REFUSED("promise", wasm_promise_resolve(nullptr, error));
  EXPECT_NULL_REFUSED("promise", wasm_promise_reject(nullptr, {}, error));
  wasm_promise_release(nullptr);
  EXPECT_NULL_REFUSED("runtime", wasm_thread_prepare(nullptr, nullptr, error));
  EXPECT_NULL_REFUSED("runtime", wasm_thread_release(nullptr, error));
  EXPECT_NULL_REFUSED("runtime", wasm_thread_unblock_signals(nullptr, error));
  EXPECT_NULL_REFUSED("runtime", wasm_thread_reclaim(nullptr, 1, nullptr, error));
  EXPECT_NULL_REFUSED("runtime", wasm_thread_get_pool(nullptr, nullptr, error));

  EXPECT_EQ(engine, poison<wasm_engine>());
  EXPECT_EQ(future, poison<wasm_future>());
  EXPECT_EQ(factory, poison<wasm_factory>());
  EXPECT_EQ(promise, poison<wasm_promise>());
  EXPECT_TRUE(works(b));
}

TEST(Null, InsideACallbackIsRefusedToo) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink([](output_block, wasm_call* call) -> wasm_callback_result {
    EXPECT_NULL_REFUSED("promise", wasm_call_promise(call, nullptr, error));
    return WASM_CALLBACK_RESULT_DONE;
  });
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
}

TEST(Null, IsRefusedByEveryFunctionOfBatches) {
  wasm_batch_config config{};
  config.size = sizeof config;
  auto* none = poison<wasm_batch_builder>();
  wasm_batch_builder* builder = nullptr;
  ASSERT_EQ(wasm_batch_builder_create(&config, &builder, nullptr), WASM_STATUS_OK);
  wasm_slice batch{};
  wasm_batch_header header{};
  wasm_payload payload{};
  wasm_header headers[1];
  const wasm_field bad{nullptr, 3};
  const std::uint8_t encoded[] = {1, 1, 0};

  EXPECT_NULL_REFUSED("builder", wasm_batch_builder_create(&config, nullptr, error));
  EXPECT_NULL_REFUSED("builder", wasm_batch_builder_reset(nullptr, &config, error));
  EXPECT_EQ(wasm_batch_builder_reset(builder, nullptr, nullptr), WASM_STATUS_OK) << "the defaults";
  EXPECT_NULL_REFUSED("builder", wasm_batch_builder_add(nullptr, -1, 0, &payload, error));
  EXPECT_NULL_REFUSED("payload", wasm_batch_builder_add(builder, -1, 0, nullptr, error));
  payload = {bad, {}, nullptr, 0};
  EXPECT_NULL_REFUSED("key", wasm_batch_builder_add(builder, -1, 0, &payload, error));
  payload = {{}, bad, nullptr, 0};
  EXPECT_NULL_REFUSED("value", wasm_batch_builder_add(builder, -1, 0, &payload, error));
  payload = {{}, {}, nullptr, 1};
  EXPECT_NULL_REFUSED("headers", wasm_batch_builder_add(builder, -1, 0, &payload, error));
  headers[0] = {bad, {}};
  payload = {{}, {}, headers, 1};
  EXPECT_NULL_REFUSED("header", wasm_batch_builder_add(builder, -1, 0, &payload, error));
  headers[0] = {{}, bad};
  EXPECT_NULL_REFUSED("header", wasm_batch_builder_add(builder, -1, 0, &payload, error));
  EXPECT_NULL_REFUSED("builder", wasm_batch_builder_add_encoded(nullptr, -1, 0, {encoded, 3}, error));
  EXPECT_NULL_REFUSED("payload", wasm_batch_builder_add_encoded(builder, -1, 0, {nullptr, 3}, error));
  EXPECT_NULL_REFUSED("builder", wasm_batch_builder_finish(nullptr, &batch, error));
  EXPECT_NULL_REFUSED("batch", wasm_batch_builder_finish(builder, nullptr, error));
  EXPECT_NULL_REFUSED("bytes", wasm_batch_read_header({nullptr, 61}, &header, error));
  EXPECT_NULL_REFUSED("header", wasm_batch_read_header({encoded, 3}, nullptr, error));
  EXPECT_NULL_REFUSED("bytes", wasm_payload_read({nullptr, 3}, &payload, headers, 1, error));
  EXPECT_NULL_REFUSED("payload", wasm_payload_read({encoded, 3}, nullptr, headers, 1, error));
  EXPECT_NULL_REFUSED("headers", wasm_payload_read({encoded, 3}, &payload, nullptr, 1, error));
  EXPECT_EQ(wasm_payload_read({encoded, 3}, &payload, nullptr, 0, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(none, poison<wasm_batch_builder>());
  wasm_batch_builder_release(builder);
  wasm_batch_builder_release(nullptr);
}

TEST(Null, IsAnEmptyErrorToTheFunctionsOfErrors) {
  EXPECT_EQ(wasm_error_status(nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_STREQ(wasm_error_message(nullptr), "");
  wasm_error_info info{};
  info.size = sizeof(info);
  EXPECT_EQ(wasm_error_get_info(nullptr, &info), WASM_STATUS_NULL_ARGUMENT);
  wasm_frame frame{};
  EXPECT_EQ(wasm_error_frame(nullptr, 0, &frame), WASM_STATUS_NULL_ARGUMENT);
  wasm_location location{};
  location.size = sizeof(location);
  EXPECT_EQ(wasm_error_location(nullptr, 0, &location), WASM_STATUS_NULL_ARGUMENT);
  wasm_error_release(nullptr);

  bench b("wat_start_trap", unhurried);
  auto operation = b.engine.start().value();
  wasm_error* error = nullptr;
  wasm_poll state{};
  ASSERT_EQ(wasm_future_poll(operation.get(), nullptr, &state, &error), WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(wasm_error_frame(error, 0, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_error_frame(error, 99, &frame), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(wasm_error_frame(error, 0, &frame), WASM_STATUS_OK);
  EXPECT_EQ(wasm_error_location(error, 0, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_error_location(error, 99, &location), WASM_STATUS_INVALID_ARGUMENT);
  location.line = 7;
  EXPECT_EQ(wasm_error_location(error, 0, &location), WASM_STATUS_OK);
  EXPECT_EQ(location.size, sizeof(location));
  EXPECT_EQ(location.file.size, 0U) << "this guest has no debug information";
  EXPECT_EQ(location.line, 0U);
  location.size = 3;
  EXPECT_EQ(wasm_error_location(error, 0, &location), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(wasm_error_get_info(error, nullptr), WASM_STATUS_NULL_ARGUMENT);
  ASSERT_EQ(wasm_error_get_info(error, &info), WASM_STATUS_OK);
  EXPECT_EQ(info.size, sizeof(info));
  EXPECT_EQ(info.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_NE(info.trap, WASM_TRAP_NONE);
  EXPECT_EQ(wasmengine::as_text(info.message), wasm_error_message(error));
  EXPECT_FALSE(info.has_exit_code || info.has_record);
  EXPECT_GT(info.frame_count, 0U);
  EXPECT_EQ(info.core_dump.size, 0U);
  info.size = 1;
  EXPECT_EQ(wasm_error_get_info(error, &info), WASM_STATUS_INVALID_STRUCT_SIZE);
  info.size = sizeof(info);
  wasm_error_release(error);

  bench exits("wat_returns", unhurried);
  operation = exits.engine.start().value();
  ASSERT_EQ(wasm_future_poll(operation.get(), nullptr, &state, &error), WASM_STATUS_GUEST_EXIT);
  ASSERT_EQ(wasm_error_get_info(error, &info), WASM_STATUS_OK);
  EXPECT_TRUE(info.has_exit_code);
  EXPECT_EQ(info.exit_code, 0);
  EXPECT_EQ(info.trap, WASM_TRAP_NONE);
  wasm_error_release(error);
}

TEST(StatusName, NamesAreKnownForEveryNumberOfTheHeader) {
  for (std::uint32_t status = 0; status < 200; ++status) {
    EXPECT_NE(wasm_status_name(wasm_status{status}), nullptr);
  }
  EXPECT_STREQ(wasm_status_name(WASM_STATUS_OK), "ok");
  EXPECT_STREQ(wasm_status_name(WASM_STATUS_GUEST_TRAP), "guest-trap");
  EXPECT_STREQ(wasm_status_name(WASM_STATUS_MODULE_TABLE_LIMIT), "module-table-limit");
  EXPECT_STREQ(wasm_status_name(WASM_STATUS_OUT_OF_MEMORY), "out-of-memory");
  EXPECT_STREQ(wasm_status_name(wasm_status{12'345}), "unknown");
  EXPECT_STREQ(wasm_status_name(wasm_status{UINT32_MAX}), "unknown");
}

TEST(StructSize, OfZeroOrTooLittleIsRefused) {
  const auto runtime = wasmengine::runtime::create().value();
  wasm_runtime_config config{};
  wasm_runtime* made = nullptr;
  EXPECT_EQ(wasm_runtime_create(&config, &made, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  // Without the last byte of the last field; padding may follow it.
  config.size = offsetof(wasm_runtime_config, avoid_real_time) + sizeof config.avoid_real_time - 1;
  EXPECT_EQ(wasm_runtime_create(&config, &made, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  wasm_factory_config transform{};
  wasm_future* future = nullptr;
  EXPECT_EQ(wasm_factory_create(runtime.get(), &transform, &future, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  wasm_batch_config batch{};
  wasm_batch_builder* builder = nullptr;
  EXPECT_EQ(wasm_batch_builder_create(&batch, &builder, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(made, nullptr);
}

TEST(StructSize, OfALaterVersionIsFineIfItsNewFieldsAreZero) {
  struct later {
    wasm_runtime_config known;
    std::uint64_t unknown;
  } config{};
  config.known.size = sizeof config;
  wasm_runtime* runtime = nullptr;
  EXPECT_EQ(wasm_runtime_create(&config.known, &runtime, nullptr), WASM_STATUS_OK);
  wasm_runtime_release(runtime);
  config.unknown = 1;
  story s;
  EXPECT_EQ(wasm_runtime_create(&config.known, &runtime, s.out()), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_TRUE(s.tells(WASM_STATUS_INVALID_STRUCT_SIZE, "does not know"));
}

TEST(LogSink, IsDroppedOnceWhenTheLastUserIsGoneOrAtOnceIfTheRuntimeCannotBeMade) {
  int drops = 0;
  wasm_runtime_config config{};
  config.size = sizeof config;
  config.log = {&drops, [](void* data) { ++*static_cast<int*>(data); }, nullptr};
  wasm_runtime* raw = nullptr;
  ASSERT_EQ(wasm_runtime_create(&config, &raw, nullptr), WASM_STATUS_OK);
  {
    // Adopt it, so that the helpers of this suite can be used.
    wasmengine::runtime runtime;
    *runtime.out() = raw;
    auto factory = compile(runtime, "c_identity");
    auto engine = wasmengine::engine::create(factory).value();
    runtime = wasmengine::runtime();
    factory = wasmengine::factory();
    EXPECT_EQ(drops, 0) << "the engine still needs it";
  }
  EXPECT_EQ(drops, 1);
  config.memory_limit = 1;
  EXPECT_EQ(wasm_runtime_create(&config, &raw, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(drops, 2);
  config.memory_limit = 0;
  EXPECT_EQ(wasm_runtime_create(&config, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(drops, 3);
}

}  // namespace
