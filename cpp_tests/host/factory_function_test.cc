// SPDX-License-Identifier: Apache-2.0
//
// Host functions of one factory: guests of different factories call different ones by the same name, and data is
// dropped exactly once, whatever becomes of the factory.
#include "support/host_guest.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

constexpr wasm_callback_result done = WASM_CALLBACK_RESULT_DONE;

/// `t.f` and `t.report`, whose results go to `reported`.
we::host_module functions(std::vector<std::int32_t>& reported, std::int32_t factor) {
  we::host_module t("t");
  t.add("f", [factor](std::int32_t a, std::int32_t b) { return factor * (a + b); });
  t.add("report", [&reported](std::int32_t n) { reported.push_back(n); });
  return t;
}

we::transform_config named(const std::string& name) { return {name, "in", {"out"}, {}}; }

we::result<we::factory> made(we::result<we::compilation> begun) {
  if (!begun) {
    return begun.err();
  }
  auto done = we::drive(*begun);
  if (!done) {
    return done.err();
  }
  return begun->take();
}

ending call(const we::factory& factory, std::uint32_t a, std::uint32_t b) {
  auto engine = we::engine::create(factory).value();
  if (auto started = drive(engine.start()); started.status != WASM_STATUS_OK) {
    return started;
  }
  const auto batch = pairs({{a, b}});
  world::ignore sink;
  return drive(engine.transform(batch, sink));
}

TEST(FactoryFunction, IsCalledByTheGuestsOfItsFactoryOnly) {
  const auto runtime = we::runtime::create().value();
  std::vector<std::int32_t> reported;
  const auto guest = module("h_call");
  auto one = made(runtime.compile(guest, named("one").add(functions(reported, 1)))).value();
  // Not too late, as it would be for the runtime's.
  auto ten = made(runtime.compile(guest, named("ten").add(functions(reported, 10)))).value();
  EXPECT_EQ(call(one, 1, 2).message, "");
  EXPECT_EQ(call(ten, 1, 2).message, "");
  EXPECT_THAT(reported, ElementsAre(3, 30));
  EXPECT_EQ(one.info().value().code_factories, 2U) << "the code is the same";
  EXPECT_EQ(made(runtime.compile(guest, named("none"))).err().status(), WASM_STATUS_MODULE_UNKNOWN_IMPORT);
}

TEST(FactoryFunction, MayBeAddedToThoseOfTheRuntime) {
  world w;
  w.add_report();
  we::host_module t("t");
  t.add("f", [](std::int32_t a, std::int32_t b) { return a * b; });
  const auto factory = made(w.runtime.compile(module("h_call"), named("t").add(t))).value();
  EXPECT_EQ(call(factory, 6, 7).message, "");
  EXPECT_THAT(w.reported, ElementsAre(42));
}

TEST(FactoryFunction, MayWait) {
  const auto runtime = we::runtime::create().value();
  std::vector<std::int32_t> reported;
  we::host_module t("t");
  t.add("f", [](std::int32_t, std::int32_t, we::later<std::int32_t> answer) {
    std::thread([answer = std::move(answer)]() mutable { (void)answer.resolve(77); }).detach();
  });
  t.add("report", [&reported](std::int32_t n) { reported.push_back(n); });
  const auto waits = made(runtime.compile(module("h_call"), named("t").add(t))).value();
  const auto does_not = made(runtime.compile(module("h_call"), named("t").add(functions(reported, 1)))).value();
  EXPECT_EQ(call(waits, 1, 2).message, "");
  EXPECT_EQ(call(does_not, 1, 2).message, "");
  EXPECT_THAT(reported, ElementsAre(77, 3));
  EXPECT_EQ(waits.info().value().code_factories, 1U) << "code that may wait is other code";
}

TEST(FactoryFunction, IsHeldToItsTypeAndToTheRights) {
  const auto runtime = we::runtime::create().value();
  std::vector<std::int32_t> reported;
  we::host_module wrong("t");
  wrong.add("f", [](std::int64_t a) { return a; });
  wrong.add("report", [](std::int32_t) {});
  const auto guest = module("h_call");
  EXPECT_EQ(made(runtime.compile(guest, named("t").add(wrong))).err().status(), WASM_STATUS_MODULE_IMPORT_SIGNATURE);
  EXPECT_EQ(runtime.validate(guest, named("t").add(wrong)).err().status(), WASM_STATUS_MODULE_IMPORT_SIGNATURE);
  auto denied = named("t").add(functions(reported, 1));
  denied.allow("t", "f");
  EXPECT_EQ(runtime.validate(guest, denied).err().status(), WASM_STATUS_MODULE_IMPORT_DENIED);
  EXPECT_TRUE(runtime.validate(guest, named("t").add(functions(reported, 1))));
  EXPECT_EQ(runtime.validate(guest).err().status(), WASM_STATUS_MODULE_UNKNOWN_IMPORT);
}

TEST(FactoryFunction, OfAnArtifactIsThatOfTheFactoryThatLoadsIt) {
  const auto runtime = we::runtime::create().value();
  std::vector<std::int32_t> reported;
  const auto guest = module("h_call");
  auto precompiling = runtime.precompile(guest, named("t").add(functions(reported, 1))).value();
  we::drive(precompiling).value();
  const auto artifact = precompiling.take().value();
  const auto factory = made(runtime.load(artifact.bytes(), named("t").add(functions(reported, 5)))).value();
  EXPECT_EQ(call(factory, 1, 2).message, "");
  EXPECT_THAT(reported, ElementsAre(15));
  EXPECT_EQ(made(runtime.load(artifact.bytes(), named("t"))).err().status(), WASM_STATUS_MODULE_UNKNOWN_IMPORT);
  auto without = runtime.precompile(guest).value();
  EXPECT_EQ(we::drive(without).err().status(), WASM_STATUS_MODULE_UNKNOWN_IMPORT);
}

TEST(FactoryFunction, OfACacheIsFoundByFunctionAndData) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  std::vector<std::int32_t> reported;
  const auto guest = module("h_call");
  const auto one = functions(reported, 1);
  const auto first = made(cache.get({}, guest, named("t").add(one))).value();
  const auto again = made(cache.get({}, guest, named("t").add(one))).value();
  EXPECT_EQ(cache.stats().value().hits, 1U);
  const auto other = made(cache.get({}, guest, named("t").add(functions(reported, 2)))).value();
  EXPECT_EQ(cache.stats().value().entries, 2U);
  const auto keyed = made(cache.get("key", guest, named("t").add(one))).value();
  const auto refused = cache.get("key", guest, named("t").add(functions(reported, 3)));
  EXPECT_EQ(refused.err().status(), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(refused.err().what(), HasSubstr("another list of functions"));
  EXPECT_EQ(call(again, 1, 2).message, "");
  EXPECT_EQ(call(other, 1, 2).message, "");
  EXPECT_THAT(reported, ElementsAre(3, 6));
}

/// Two functions of the C ABI and a config that has them.
struct raw_config {
  std::atomic<int> drops{0};
  std::vector<wasm_host_function> functions;
  std::vector<const wasm_host_function*> pointers;
  bytes guest = module("h_call");
  wasm_factory_config config{};

  raw_config() {
    functions.push_back(raw_host_function([](auto...) { return done; }, &drops, "f", two_i32, one_i32, false));
    functions.push_back(raw_host_function([](auto...) { return done; }, &drops, "report", one_i32, {}, false));
    for (const auto& function : functions) {
      pointers.push_back(&function);
    }
    config.size = sizeof(config);
    config.module = we::as_slice(guest);
    config.name = we::as_slice("t");
    config.functions = pointers.data();
    config.function_count = pointers.size();
  }
};

struct told {
  wasm_status status;
  std::string why;
};

template <typename F>
told tell(F f) {
  wasm_error* error = nullptr;
  const auto status = f(&error);
  told out{status, error != nullptr ? wasm_error_message(error) : ""};
  wasm_error_release(error);
  return out;
}

TEST(FactoryFunction, DataIsDroppedWithTheFactoryAndItsEngines) {
  const auto runtime = we::runtime::create().value();
  raw_config raw;
  we::future begun;
  ASSERT_EQ(wasm_factory_create(runtime.get(), &raw.config, begun.out(), nullptr), WASM_STATUS_OK);
  ASSERT_TRUE(we::drive(begun));
  we::factory factory;
  ASSERT_EQ(wasm_future_take_factory(begun.get(), factory.out(), nullptr), WASM_STATUS_OK);
  begun = {};
  auto engine = we::engine::create(factory).value();
  ASSERT_EQ(drive(engine.start()).status, WASM_STATUS_OK);
  factory = {};
  EXPECT_EQ(raw.drops, 0);
  engine = {};
  EXPECT_EQ(raw.drops, 2);
}

TEST(FactoryFunction, DataIsDroppedOnEachPathThatFails) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  using change = void (*)(raw_config&);
  const struct {
    change wrong;
    wasm_status status;
    const char* says;
    int drops;
  } paths[]{
      {[](raw_config& r) { r.config.name = {}; }, WASM_STATUS_INVALID_ARGUMENT, "no name", 2},
      {[](raw_config& r) { r.config.memory_limit = 1; }, WASM_STATUS_INVALID_ARGUMENT, "memory_limit", 2},
      {[](raw_config& r) { r.config.wasi_rights = 1U << 30; }, WASM_STATUS_INVALID_ARGUMENT, "wasi_rights", 2},
      {[](raw_config& r) { r.functions[1].name = we::as_slice("f"); }, WASM_STATUS_INVALID_ARGUMENT, "listed twice", 2},
      {[](raw_config& r) { r.functions[0].module = we::as_slice("redpanda_transform"); }, WASM_STATUS_INVALID_ARGUMENT,
       "reserved", 2},
      {[](raw_config& r) { r.functions[0].call = nullptr; }, WASM_STATUS_NULL_ARGUMENT, "call is NULL", 2},
      {[](raw_config& r) { r.functions[0].may_wait = 2; }, WASM_STATUS_INVALID_ARGUMENT, "may_wait", 2},
      {[](raw_config& r) { r.functions[0].param_count = 33; }, WASM_STATUS_INVALID_ARGUMENT, "params", 2},
      // What cannot be read is not the library's.
      {[](raw_config& r) { r.pointers[0] = nullptr; }, WASM_STATUS_NULL_ARGUMENT, "function is NULL", 1},
      {[](raw_config& r) { r.functions[0].size = 8; }, WASM_STATUS_INVALID_STRUCT_SIZE, "function", 1},
      {[](raw_config& r) { r.config.functions = nullptr; }, WASM_STATUS_NULL_ARGUMENT, "functions", 0},
      {[](raw_config& r) { r.config.size = 8; }, WASM_STATUS_INVALID_STRUCT_SIZE, "config", 0},
  };
  const auto rest = [](raw_config& raw) {
    // The test's own, so that nothing leaks.
    const int left = 2 - raw.drops;
    for (int i = 0; i < left; ++i) {
      const auto& function = raw.functions[static_cast<std::size_t>(i)];
      function.drop(function.data);
    }
  };
  for (const auto& [wrong, status, says, drops] : paths) {
    const auto check = [&, wrong = wrong, status = status, says = says, drops = drops](auto f) {
      raw_config raw;
      wrong(raw);
      wasm_future* future = nullptr;
      const auto [got, why] = tell([&](wasm_error** e) { return f(&raw.config, &future, e); });
      EXPECT_EQ(got, status) << why;
      EXPECT_THAT(why, HasSubstr(says));
      EXPECT_EQ(raw.drops, drops) << says;
      EXPECT_EQ(future, nullptr);
      rest(raw);
    };
    check([&](auto* c, auto* f, auto* e) { return wasm_factory_create(runtime.get(), c, f, e); });
    check([&](auto* c, auto* f, auto* e) { return wasm_factory_load(runtime.get(), c, f, e); });
    check([&](auto* c, auto* f, auto* e) { return wasm_factory_cache_get(cache.get(), {}, c, f, e); });
  }
  // NULL elsewhere.
  raw_config raw;
  EXPECT_EQ(wasm_factory_create(nullptr, &raw.config, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(raw.drops, 2);
  raw_config of_cache;
  EXPECT_EQ(wasm_factory_cache_get(nullptr, {}, &of_cache.config, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(of_cache.drops, 2);
  raw_config without_module;
  without_module.config.module = {};
  wasm_future* future = nullptr;
  EXPECT_EQ(wasm_factory_cache_get(cache.get(), we::as_slice("key"), &without_module.config, &future, nullptr),
            WASM_STATUS_NOT_CACHED);
  EXPECT_EQ(without_module.drops, 2);
}

TEST(FactoryFunction, DataIsDroppedWhenTheModuleIsRefusedOrNobodyWaits) {
  const auto runtime = we::runtime::create().value();
  raw_config refused;
  refused.functions[0].param_count = 1;
  we::future begun;
  ASSERT_EQ(wasm_factory_create(runtime.get(), &refused.config, begun.out(), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(we::drive(begun).err().status(), WASM_STATUS_MODULE_IMPORT_SIGNATURE);
  const auto dropped = [](const raw_config& raw) {
    for (int i = 0; i < 60'000 && raw.drops < 2; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return raw.drops.load();
  };
  EXPECT_EQ(dropped(refused), 2);
  raw_config given_up;
  ASSERT_EQ(wasm_factory_create(runtime.get(), &given_up.config, begun.out(), nullptr), WASM_STATUS_OK);
  begun = {};
  EXPECT_EQ(dropped(given_up), 2);
}

TEST(FactoryFunction, WithANameOfTheRuntimeIsRefused) {
  world w;
  w.add_report();
  const auto cache = we::factory_cache::create(w.runtime).value();
  const auto check = [&](auto f, int drops) {
    raw_config raw;
    wasm_future* future = nullptr;
    const auto [status, why] = tell([&](wasm_error** e) { return f(&raw.config, &future, e); });
    EXPECT_EQ(status, WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(why, HasSubstr("t.report is registered on the runtime already"));
    EXPECT_EQ(raw.drops, drops);
    if (drops == 0) {
      for (const auto& function : raw.functions) {
        function.drop(function.data);
      }
    }
  };
  check([&](auto* c, auto* f, auto* e) { return wasm_factory_create(w.runtime.get(), c, f, e); }, 2);
  check([&](auto* c, auto* f, auto* e) { return wasm_factory_load(w.runtime.get(), c, f, e); }, 2);
  check([&](auto* c, auto* f, auto* e) { return wasm_factory_cache_get(cache.get(), {}, c, f, e); }, 2);
  check([&](auto* c, auto* f, auto* e) { return wasm_factory_precompile(w.runtime.get(), c, f, e); }, 0);
  check([&](auto* c, auto*, auto* e) { return wasm_factory_validate(w.runtime.get(), c, e); }, 0);
}

TEST(FactoryFunction, ThatIsOnlyLookedAtStaysTheHosts) {
  const auto runtime = we::runtime::create().value();
  raw_config raw;
  EXPECT_EQ(wasm_factory_validate(runtime.get(), &raw.config, nullptr), WASM_STATUS_OK);
  we::future begun;
  ASSERT_EQ(wasm_factory_precompile(runtime.get(), &raw.config, begun.out(), nullptr), WASM_STATUS_OK);
  EXPECT_TRUE(we::drive(begun));
  begun = {};
  EXPECT_EQ(raw.drops, 0);
  ASSERT_EQ(wasm_factory_create(runtime.get(), &raw.config, begun.out(), nullptr), WASM_STATUS_OK);
  EXPECT_TRUE(we::drive(begun));
  begun = {};
  for (int i = 0; i < 60'000 && raw.drops < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(raw.drops, 2) << "once";
}

TEST(FactoryFunction, OfACustomEngineIsRefusedAndDropped) {
  const auto runtime = we::runtime::create().value();
  raw_config raw;
  raw.config.module = {};
  wasm_custom_engine engine{};
  engine.size = sizeof(engine);
  engine.transform = [](void*, wasm_slice, std::uint32_t, wasm_work*, wasm_call*) noexcept { return WASM_CALLBACK_RESULT_DONE; };
  const auto create = [&] {
    return tell([&](wasm_error** e) {
      wasm_factory* factory = nullptr;
      const auto status = wasm_factory_create_custom(runtime.get(), &raw.config, &engine, &factory, e);
      wasm_factory_release(factory);
      return status;
    });
  };
  const auto [status, why] = create();
  EXPECT_EQ(status, WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(why, HasSubstr("no functions"));
  EXPECT_EQ(raw.drops, 2);
  raw_config other;
  wasm_factory* none = nullptr;
  EXPECT_EQ(wasm_factory_create_custom(runtime.get(), &other.config, nullptr, &none, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(other.drops, 2) << "functions are taken over whatever else is refused";
  raw.config.functions = nullptr;
  raw.config.function_count = 0;
  raw.config.table_limit = 1;
  EXPECT_THAT(create().why, HasSubstr("no table_limit"));
  raw.config.table_limit = 0;
  raw.config.record_time_limit_ns = 1'000'000;
  EXPECT_THAT(create().why, HasSubstr("no record_time_limit_ns"));
  raw.config.record_time_limit_ns = 0;
  raw.config.wasi_rights = 1;
  EXPECT_THAT(create().why, HasSubstr("no wasi_rights"));
  raw.config.wasi_rights = 0;
  raw.config.output_buffer_limit = 4'096;
  raw.config.memory_limit = 1U << 20;
  EXPECT_EQ(create().status, WASM_STATUS_OK);
}

}  // namespace
