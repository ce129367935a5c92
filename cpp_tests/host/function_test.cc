// SPDX-License-Identifier: Apache-2.0
//
// Host functions over the C ABI: what they get, how they fail, and what registering refuses.
#include "support/begin_transform.hh"
#include "support/host_guest.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

constexpr wasm_callback_result done = WASM_CALLBACK_RESULT_DONE;
constexpr std::uint32_t minus_one = 0xffff'ffffU;

/// Registers and gives the status; the error's text goes to `why`.
wasm_status add(world& w, const wasm_host_function& f, std::string* why = nullptr) {
  wasm_error* raw = nullptr;
  const auto status = wasm_runtime_register_function(w.runtime.get(), &f, &raw);
  if (why != nullptr) {
    *why = wasm_error_message(raw);
  }
  EXPECT_EQ(status == WASM_STATUS_OK, raw == nullptr);
  EXPECT_EQ(wasm_error_status(raw), raw == nullptr ? WASM_STATUS_NULL_ARGUMENT : status);
  wasm_error_release(raw);
  return status;
}

wasm_host_function nothing(std::atomic<int>& drops, std::string_view name = "f") {
  return raw_host_function([](auto...) { return done; }, &drops, name, two_i32, one_i32, false);
}

TEST(HostFunction, IsCalledWithItsArguments) {
  world w;
  w.add([](wasm_call*, const wasm_value* args, wasm_value* results) {
    results[0].i32 = static_cast<std::int32_t>(std::int64_t{args[0].i32} - args[1].i32);
    return done;
  }, false);
  w.start();
  EXPECT_EQ(drive(w.begin({{5, 3}, {3, 5}, {0x8000'0000U, minus_one}})).message, "");
  EXPECT_THAT(w.reported, ElementsAre(2, -2, std::numeric_limits<std::int32_t>::min() + 1));
}

TEST(HostFunction, ThatMayWaitAndDoesNotIsCalledOnceToo) {
  world w;
  int calls = 0;
  w.add([&](wasm_call*, const wasm_value* args, wasm_value* results) {
    ++calls;
    results[0].i32 = args[0].i32 * 2;
    return done;
  }, true);
  w.start();
  EXPECT_EQ(w.call(21, 0).message, "");
  EXPECT_THAT(w.reported, ElementsAre(42));
  EXPECT_EQ(calls, 1);
}

TEST(HostFunction, GetsValuesOfEachType) {
  constexpr auto i32 = WASM_VALUE_TYPE_I32, i64 = WASM_VALUE_TYPE_I64, f32 = WASM_VALUE_TYPE_F32,
                 f64 = WASM_VALUE_TYPE_F64;
  for (const bool may_wait : {false, true}) {
    world w;
    std::vector<std::int64_t> reported;
    const auto add_one = [&](std::string_view name, std::vector<wasm_value_type> params,
                             std::vector<wasm_value_type> results, raw_function f) {
      ASSERT_EQ(add(w, raw_host_function(std::move(f), &w.drops, name, params, results, may_wait)), WASM_STATUS_OK);
    };
    const auto echo = [](wasm_call*, const wasm_value* a, wasm_value* r) {
      r[0] = a[0];
      return done;
    };
    add_one("i64", {i64}, {i64}, echo);
    add_one("u64", {i64}, {i64}, echo);
    add_one("f32", {f32}, {f32}, echo);
    add_one("f64", {f64}, {f64}, echo);
    add_one("u32", {i32}, {i32}, echo);
    add_one("nothing", {}, {}, [](auto...) { return done; });
    add_one("many", {i32, i64, f32, f64, i32}, {i32, i64, f32, f64}, [](wasm_call*, const wasm_value* a, wasm_value* r) {
      r[0].i32 = a[0].i32;
      r[1].i64 = a[1].i64 + a[4].i32;
      r[2].f32 = a[2].f32 * 2;
      r[3].f64 = a[3].f64 * 2;
      return done;
    });
    add_one("report", {i64}, {}, [&](wasm_call*, const wasm_value* a, wasm_value*) {
      reported.push_back(a[0].i64);
      return done;
    });
    w.start("h_types");
    EXPECT_THAT(reported, ElementsAre(std::numeric_limits<std::int64_t>::min(), -1, 0x8000'0000LL,
                                      0x7ff8'0000'0000'0123LL, -1, 7, 3, -5, 0xffff'ffffLL))
        << "may_wait " << may_wait;
  }
}

TEST(HostFunction, ReadsAndWritesTheGuestsMemory) {
  for (const bool may_wait : {false, true}) {
    world w;
    w.add([](wasm_call* call, const wasm_value* args, wasm_value* results) {
      std::uint8_t* first = nullptr;
      EXPECT_EQ(wasm_call_memory(call, static_cast<std::uint32_t>(args[0].i32), static_cast<std::uint32_t>(args[1].i32),
                                 &first, nullptr),
                WASM_STATUS_OK);
      if (first[0] != 'H') {
        EXPECT_EQ(std::string_view(reinterpret_cast<char*>(first), 5), "hello");
      }
      first[0] = 'H';
      results[0].i32 = first[0];
      return done;
    }, may_wait);
    w.start();
    EXPECT_EQ(drive(w.begin({{1024, 11}, {1024, 11}})).message, "");
    EXPECT_THAT(w.reported, ElementsAre('H', 'H'));
  }
}

TEST(HostFunction, IsLentNothingOutsideOfTheMemory) {
  world w;
  std::vector<wasm_status> statuses;
  w.add([&](wasm_call* call, const wasm_value* args, wasm_value*) -> wasm_callback_result {
    std::uint8_t* first = nullptr;
    const auto status = wasm_call_memory(call, static_cast<std::uint32_t>(args[0].i32),
                                         static_cast<std::uint32_t>(args[1].i32), &first, nullptr);
    statuses.push_back(status);
    EXPECT_EQ(status == WASM_STATUS_OK, first != nullptr);
    return status == WASM_STATUS_OK ? WASM_CALLBACK_RESULT_DONE : WASM_CALLBACK_RESULT_FAILED;
  }, false);
  w.start();
  EXPECT_EQ(drive(w.begin({{0, 0}, {65535, 1}, {65536, 0}, {0, 65536}})).message, "");
  for (const auto& [a, b] : std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
           {65536, 1}, {65535, 2}, {0xffff'ffffU, 0}, {0xffff'ffffU, 0xffff'ffffU}, {1, 0xffff'ffffU}, {0, 65537}}) {
    const auto end = w.call(a, b);
    EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED) << a << " " << b;
    EXPECT_THAT(end.message, HasSubstr("t.f"));
    EXPECT_THAT(end.message, HasSubstr("outside of its memory"));
    EXPECT_EQ(drive(w.engine.start()).message, "");
  }
  EXPECT_EQ(statuses.back(), WASM_STATUS_GUEST_BAD_CALL);
}

TEST(HostFunction, FailsWithItsReason) {
  for (const bool may_wait : {false, true}) {
    world w;
    w.add([](wasm_call* call, const wasm_value* args, wasm_value*) -> wasm_callback_result {
      switch (args[0].i32) {
        case 0:
          EXPECT_EQ(wasm_call_fail(call, we::as_slice("the teapot is empty"), nullptr), WASM_STATUS_OK);
          return WASM_CALLBACK_RESULT_FAILED;
        case 1:
          return WASM_CALLBACK_RESULT_FAILED;
        case 2:
          return wasm_callback_result{77};
        case 3:
          return WASM_CALLBACK_RESULT_PENDING;
        default:
          EXPECT_EQ(wasm_call_fail(call, we::as_slice("zeroth"), nullptr), WASM_STATUS_OK);
          EXPECT_EQ(wasm_call_fail(call, we::as_slice("first"), nullptr), WASM_STATUS_OK);
          EXPECT_EQ(wasm_call_fail(call, we::as_slice(std::string_view("a\0b\xff", 4)), nullptr), WASM_STATUS_OK);
          return WASM_CALLBACK_RESULT_FAILED;
      }
    }, may_wait);
    w.start();
    for (const auto& [a, text] : std::initializer_list<std::pair<std::uint32_t, const char*>>{
             {0, "the teapot is empty"}, {1, "failed"}, {2, "77"}, {3, "pending"}, {4, "a b\\xff"}}) {
      const auto end = w.call(a, 0);
      EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
      EXPECT_THAT(end.message, HasSubstr("t.f"));
      EXPECT_THAT(end.message, HasSubstr(text));
      EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
      EXPECT_EQ(drive(w.engine.start()).message, "");
    }
  }
}

TEST(HostFunction, KnowsItsEngineAndItsUserData) {
  world w;
  std::vector<wasm_engine*> engines;
  std::vector<void*> data;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value*) {
    engines.push_back(wasm_call_engine(call));
    data.push_back(wasm_call_user_data(call));
    return done;
  }, false);
  w.start();
  auto other = we::engine::create(w.factory).value();
  ASSERT_EQ(drive(other.start()).message, "");
  int one = 1, two = 2;
  ASSERT_TRUE(other.set_user_data(&two));
  const auto batch = pairs({{0, 0}});
  EXPECT_EQ(w.call(0, 0).message, "");
  ASSERT_TRUE(w.engine.set_user_data(&one));
  EXPECT_EQ(w.call(0, 0).message, "");
  EXPECT_EQ(drive(other.transform(batch, w.sink)).message, "");
  // It outlives a stop.
  EXPECT_EQ(drive(w.engine.stop()).message, "");
  EXPECT_EQ(drive(w.engine.start()).message, "");
  EXPECT_EQ(w.call(0, 0).message, "");
  EXPECT_THAT(engines, ElementsAre(w.engine.get(), w.engine.get(), other.get(), w.engine.get()));
  EXPECT_THAT(data, ElementsAre(nullptr, &one, &two, &one));
}

TEST(HostFunction, MayNotReenterItsEngine) {
  world w;
  we::future operation;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value*) {
    auto* engine = wasm_call_engine(call);
    wasm_future* other = nullptr;
    EXPECT_EQ(wasm_engine_start(engine, &other, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_stop(engine, &other, nullptr), WASM_STATUS_BUSY);
    const auto batch = pairs({});
    wasm_output_sink sink{};
    sink.size = sizeof(sink);
    sink.records = [](auto...) { return WASM_CALLBACK_RESULT_DONE; };
    EXPECT_EQ(begin_transform(engine, we::as_slice(std::span<const std::uint8_t>(batch)), &sink, &other, nullptr),
              WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_release(engine, nullptr), WASM_STATUS_BUSY);
    wasm_poll state{};
    EXPECT_EQ(wasm_future_poll(operation.get(), nullptr, &state, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_future_release(operation.get(), nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(other, nullptr);
    return done;
  }, true);
  w.start();
  operation = w.begin({{0, 0}}).value();
  EXPECT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_EQ(w.reported.size(), 1U);
}

TEST(HostFunction, MayUseAnotherEngine) {
  world w;
  we::engine other;
  const auto batch = pairs({{1, 0}});
  w.add([&](wasm_call*, const wasm_value* args, wasm_value* results) {
    if (args[0].i32 == 0) {
      EXPECT_EQ(drive(other.transform(batch, w.sink)).message, "");
    }
    results[0].i32 = args[0].i32;
    return done;
  }, false);
  w.start();
  other = we::engine::create(w.factory).value();
  ASSERT_EQ(drive(other.start()).message, "");
  EXPECT_EQ(w.call(0, 0).message, "");
  EXPECT_THAT(w.reported, ElementsAre(1, 0));
}

TEST(HostFunction, IsDroppedOnceWithTheLastThatCouldCallIt) {
  world w;
  w.add([](auto...) { return done; }, true);
  w.start();
  w.runtime = {};
  EXPECT_EQ(w.drops, 0);
  w.factory = {};
  EXPECT_EQ(w.drops, 0);
  EXPECT_EQ(w.call(0, 0).message, "");
  w.engine = {};
  EXPECT_EQ(w.drops, 1);
}

TEST(HostFunction, IsDroppedWithARuntimeThatMadeNothing) {
  world w;
  w.add([](auto...) { return done; }, false);
  w.runtime = {};
  EXPECT_EQ(w.drops, 1);
}

TEST(Registering, RefusesWhatMakesNoSense) {
  world w;
  std::string why;
  int drops = 0;
  const auto refused = [&](auto&& change, wasm_status status) {
    auto f = nothing(w.drops);
    change(f);
    EXPECT_EQ(add(w, f, &why), status) << why;
    EXPECT_EQ(w.drops, ++drops) << why;
  };
  refused([](auto& f) { f.call = nullptr; }, WASM_STATUS_NULL_ARGUMENT);
  refused([](auto& f) { f.params = nullptr; }, WASM_STATUS_NULL_ARGUMENT);
  refused([](auto& f) { f.param_count = 33; }, WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(why, HasSubstr("32"));
  refused([](auto& f) { f.result_count = 17; }, WASM_STATUS_INVALID_ARGUMENT);
  refused([](auto& f) { f.param_count = std::numeric_limits<std::size_t>::max(); }, WASM_STATUS_INVALID_ARGUMENT);
  const wasm_value_type wrong{4};
  refused([&](auto& f) { f.results = &wrong; }, WASM_STATUS_INVALID_ARGUMENT);
  refused([](auto& f) { f.may_wait = 2; }, WASM_STATUS_INVALID_ARGUMENT);
  refused([](auto& f) { f.name = we::as_slice("\xff"); }, WASM_STATUS_INVALID_UTF8);
  refused([](auto& f) { f.module = we::as_slice("\xff"); }, WASM_STATUS_INVALID_UTF8);
  refused([](auto& f) { f.name.data = nullptr; }, WASM_STATUS_NULL_ARGUMENT);
  for (const char* module : {"redpanda_transform", "redpanda_schema_registry", "wasi_snapshot_preview1"}) {
    refused([&](auto& f) { f.module = we::as_slice(module); }, WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(why, HasSubstr(module));
  }
  auto f = nothing(w.drops);
  EXPECT_EQ(wasm_runtime_register_function(nullptr, &f, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(w.drops, ++drops);
  EXPECT_EQ(wasm_runtime_register_function(w.runtime.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
}

TEST(Registering, RefusesATableThatIsTooShort) {
  // Too short to say where its drop is, so its data stays the caller's.
  world w;
  auto f = nothing(w.drops);
  for (const std::size_t size : {std::size_t{0}, sizeof(f) - 1, std::size_t{1} << 20U}) {
    f.size = size;
    EXPECT_EQ(add(w, f), WASM_STATUS_INVALID_STRUCT_SIZE);
  }
  EXPECT_EQ(w.drops, 0);
  f.drop(f.data);
}

TEST(Registering, TakesALargerTableWhoseRestIsZero) {
  world w;
  struct {
    wasm_host_function f;
    std::uint64_t more;
  } larger{nothing(w.drops), 0};
  larger.f.size = sizeof(larger);
  EXPECT_EQ(add(w, larger.f), WASM_STATUS_OK);
}

TEST(Registering, RefusesANameThatIsTaken) {
  world w;
  w.add([](auto...) { return done; }, false);
  std::string why;
  std::atomic<int> drops{0};
  EXPECT_EQ(add(w, nothing(drops), &why), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(why, HasSubstr("t.f"));
  EXPECT_EQ(drops, 1);
  EXPECT_EQ(w.drops, 0);
  // The first one works still.
  w.start();
  EXPECT_EQ(w.call(0, 0).message, "");
}

TEST(Registering, IsOverWithTheFirstFactory) {
  world w;
  w.add([](auto...) { return done; }, false);
  w.start();
  std::string why;
  std::atomic<int> drops{0};
  EXPECT_EQ(add(w, nothing(drops, "g"), &why), WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(drops, 1);
  EXPECT_NE(why, "");
}

TEST(Registering, IsOverWithTheFirstValidation) {
  world w;
  (void)w.runtime.validate(module("h_spin"));
  std::atomic<int> drops{0};
  EXPECT_EQ(add(w, nothing(drops)), WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(drops, 1);
}

TEST(Registering, AGuestWithAnotherSignatureIsRefused) {
  for (const bool may_wait : {false, true}) {
    world w;
    constexpr std::array i64{WASM_VALUE_TYPE_I64};
    ASSERT_EQ(add(w, raw_host_function([](auto...) { return done; }, &w.drops, "f", two_i32, i64, may_wait)),
              WASM_STATUS_OK);
    w.add_report();
    const auto made = w.compile("h_call");
    ASSERT_FALSE(made);
    EXPECT_EQ(made.err().status(), WASM_STATUS_MODULE_IMPORT_SIGNATURE);
    EXPECT_THAT(made.err().what(), HasSubstr("t.f"));
    EXPECT_THAT(made.err().what(), HasSubstr("(i32, i32) -> (i32)"));
    EXPECT_THAT(made.err().what(), HasSubstr("(i32, i32) -> (i64)"));
  }
}

TEST(Registering, AGuestThatImportsWhatIsNotThereIsRefused) {
  world w;
  w.add_report();
  const auto made = w.compile("h_call");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.err().status(), WASM_STATUS_MODULE_UNKNOWN_IMPORT);
  EXPECT_THAT(made.err().what(), HasSubstr("t.f"));
}

TEST(Registering, RuntimesDoNotShareFunctions) {
  world one, two;
  one.add([](wasm_call*, const wasm_value*, wasm_value* r) { r[0].i32 = 1; return done; }, false);
  two.add([](wasm_call*, const wasm_value*, wasm_value* r) { r[0].i32 = 2; return done; }, true);
  one.start();
  two.start();
  EXPECT_EQ(one.call(0, 0).message, "");
  EXPECT_EQ(two.call(0, 0).message, "");
  EXPECT_THAT(one.reported, ElementsAre(1));
  EXPECT_THAT(two.reported, ElementsAre(2));
}

}  // namespace
