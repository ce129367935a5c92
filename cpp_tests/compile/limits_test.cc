// SPDX-License-Identifier: Apache-2.0
//
// Limits of one transform within those of its runtime: what a config may say, what a factory tells, and what guests
// get.
#include "support/cache.hh"
#include "support/metrics.hh"

#include <gmock/gmock.h>

using namespace cache_tests;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

using std::chrono::milliseconds;
constexpr std::uint64_t mib = 1U << 20;

we::transform_config with(we::transform_limits limits) {
  auto transform = with_topics({"out"});
  transform.limits = limits;
  return transform;
}

std::string message(const we::result<void>& r) { return r ? "" : r.err().what(); }

TEST(TransformLimits, AreTheRuntimesUnlessTheyAreGiven) {
  wasm_runtime_config config{};
  config.memory_limit = 8 * mib;
  config.log_lines_per_second = 7;
  const auto runtime = we::runtime::create(config).value();
  const auto of_runtime = compile(runtime, "c_identity").info().value();
  EXPECT_EQ(of_runtime.memory_limit, 8 * mib);
  EXPECT_EQ(of_runtime.table_limit, 1U << 20);
  EXPECT_EQ(of_runtime.record_time_limit_ns, 3'000'000'000U);
  EXPECT_EQ(of_runtime.output_buffer_limit, mib);
  EXPECT_EQ(of_runtime.log_lines_per_second, 7U);
  EXPECT_EQ(of_runtime.log_burst_lines, 5'000U);
  EXPECT_GT(of_runtime.guest_stack_size, 0U);
  const auto own = compile(runtime, "c_identity", with({2 * mib, 100, milliseconds(5), 4'096, 3, 9})).info().value();
  EXPECT_EQ(own.memory_limit, 2 * mib);
  EXPECT_EQ(own.table_limit, 100U);
  EXPECT_EQ(own.record_time_limit_ns, 5'000'000U);
  EXPECT_EQ(own.output_buffer_limit, 4'096U);
  EXPECT_EQ(own.log_lines_per_second, 3U);
  EXPECT_EQ(own.log_burst_lines, 9U);
  EXPECT_EQ(own.guest_stack_size, of_runtime.guest_stack_size);
}

TEST(TransformLimits, AboveTheRuntimesAreRefusedByName) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const struct {
    we::transform_limits limits;
    const char* says;
  } refused[]{
      {{64 * mib + 1}, "memory_limit is 67108865: the runtime allows no more than 67108864"},
      {{1}, "memory_limit is 1: the value must be at least 65536"},
      {{0, (1U << 20) + 1}, "table_limit is 1048577: the runtime allows no more than 1048576"},
      {{0, 0, milliseconds(3'001)}, "record_time_limit_ns is 3001000000: the runtime allows no more than 3000000000"},
      {{0, 0, std::chrono::nanoseconds(1)}, "record_time_limit_ns is 1: the value must be at least 20000"},
      {{0, 0, {}, mib + 1}, "output_buffer_limit is 1048577: the runtime allows no more than 1048576"},
      {{0, 0, {}, 1}, "output_buffer_limit is 1: the value must be at least 1024"},
      {{0, 0, {}, 0, 1'001}, "log_lines_per_second is 1001: the runtime allows no more than 1000"},
      {{0, 0, {}, 0, 0, 5'001}, "log_burst_lines is 5001: the runtime allows no more than 5000"},
  };
  const auto guest = module("c_identity");
  for (const auto& [limits, says] : refused) {
    const auto transform = with(limits);
    const auto expect = [&, says = says](const wasmengine::error& e) {
      EXPECT_EQ(e.status(), WASM_STATUS_INVALID_ARGUMENT);
      EXPECT_THAT(e.what(), HasSubstr(says));
    };
    expect(runtime.compile(guest, transform).err());
    expect(runtime.load(guest, transform).err());
    expect(runtime.precompile(guest, transform).err());
    expect(runtime.validate(guest, transform).err());
    expect(cache.get({}, guest, transform).err());
  }
}

TEST(TransformLimits, RefuseModulesThatStartLargerWhereverTheyComeFrom) {
  scratch dir;
  const auto runtime = we::runtime::create().value();
  runtime.set_code_cache({dir.cache.string()}).value();
  const auto guest = module("rust_identity");
  auto precompiling = runtime.precompile(guest).value();
  we::drive(precompiling).value();
  const auto taken = precompiling.take().value();
  const auto bytes = taken.bytes();
  const kafka::bytes artifact{bytes.begin(), bytes.end()};
  const auto kept = compile(runtime, "rust_identity");
  const struct {
    we::transform_limits limits;
    wasm_status status;
    const char* says;
  } refused[]{{{65'536}, WASM_STATUS_MODULE_MEMORY_LIMIT, "memory_limit (65536)"},
              {{0, 1}, WASM_STATUS_MODULE_TABLE_LIMIT, "table_limit (1)"}};
  for (const auto& [limits, status, says] : refused) {
    const auto transform = with(limits);
    const auto expect = [&, status = status, says = says](wasm_status got, const std::string& why) {
      EXPECT_EQ(got, status) << why;
      EXPECT_THAT(why, AllOf(HasSubstr(says), HasSubstr("transform \"tested\"")));
    };
    const auto validated = runtime.validate(guest, transform);
    expect(validated.err().status(), message(validated));
    auto compiling = runtime.compile(guest, transform).value();
    auto loading = runtime.load(artifact, transform).value();
    for (auto* future : {&compiling, &loading}) {
      const auto end = finish(*future);
      expect(end.status, end.message());
    }
    // What the runtime's limits are for is unchanged.
    EXPECT_TRUE(runtime.validate(guest));
  }
}

TEST(TransformLimits, OfMemoryHoldForEachGuestAndAreWhatTheErrorSays) {
  const auto log = std::make_shared<log_lines>();
  const auto runtime = we::runtime::create().value();
  const auto factory = compile(runtime, "rust_panic", with({8 * mib}));
  auto engine = we::engine::create(factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built({"a", "hog"});
  const auto end = finish(engine.transform(batch, out));
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_MEMORY_LIMIT) << end.message();
  EXPECT_THAT(end.message(), HasSubstr("memory_limit is 8388608"));
  // Another factory of the same code has the runtime's.
  auto other = we::engine::create(compile(runtime, "rust_panic")).value();
  ASSERT_TRUE(succeeded(finish(other.start())));
  recorder more;
  const auto large = finish(other.transform(batch, more));
  EXPECT_THAT(large.message(), HasSubstr("memory_limit is 67108864"));
}

TEST(TransformLimits, OfTablesHoldForEachGuest) {
  const auto runtime = we::runtime::create().value();
  for (const auto& [limit, grown] : {std::pair<std::uint64_t, const char*>{5'500, "5000"}, {7'500, "7000"}}) {
    auto engine = we::engine::create(compile(runtime, "odd_hog", with({0, limit}))).value();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    const auto batch = built({"table"});
    ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
    EXPECT_THAT(out.values(), ElementsAre(grown));
  }
}

TEST(TransformLimits, OfRecordTimeEndAGuestAndAreWhatTheErrorSays) {
  const auto runtime = we::runtime::create().value();
  const auto factory = compile(runtime, "odd_busy", with({0, 0, milliseconds(20)}));
  auto engine = we::engine::create(factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built({"spin"});
  const auto begun = std::chrono::steady_clock::now();
  const auto end = finish(engine.transform(batch, out));
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT) << end.message();
  EXPECT_THAT(end.message(), HasSubstr("more than 20 ms"));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, milliseconds(20));
}

TEST(TransformLimits, OfOutputAreTheLargestRecordAndWhatTheErrorSays) {
  const auto runtime = we::runtime::create().value();
  const std::string value(2'000, 'x');
  auto narrow = we::engine::create(compile(runtime, "rust_identity", with({0, 0, {}, 1'024}))).value();
  ASSERT_TRUE(succeeded(finish(narrow.start())));
  recorder out;
  const auto batch = built({value});
  const auto end = finish(narrow.transform(batch, out));
  EXPECT_THAT(end.message(), HasSubstr("output_buffer_limit is 1024"));
  EXPECT_TRUE(out.records.empty());
  auto wide = we::engine::create(compile(runtime, "rust_identity", with({0, 0, {}, 4'096}))).value();
  ASSERT_TRUE(succeeded(finish(wide.start())));
  EXPECT_TRUE(succeeded(finish(wide.transform(batch, out))));
  EXPECT_THAT(out.values(), ElementsAre(value));
}

TEST(TransformLimits, OfTheLogAreThoseOfTheTransformAndTold) {
  const auto log = std::make_shared<log_lines>();
  const auto runtime = we::runtime::create({}, [log](const we::log_line& line) { log->add(line); }).value();
  const std::vector<std::string> values(100, "x");
  const auto lines = [&](const char* name, we::transform_limits limits) {
    auto transform = with(limits);
    transform.name = name;
    {
      auto engine = we::engine::create(compile(runtime, "c_logger", transform)).value();
      EXPECT_TRUE(succeeded(finish(engine.start())));
      recorder out;
      const auto batch = built(values);
      EXPECT_TRUE(succeeded(finish(engine.transform(batch, out))));
    }
    std::size_t guests = 0;
    for (const auto& line : log->all()) {
      guests += line.transform == name && line.source == WASM_LOG_SOURCE_GUEST ? 1 : 0;
    }
    return guests;
  };
  EXPECT_EQ(lines("wide", {}), 200U);
  EXPECT_LT(lines("narrow", {0, 0, {}, 0, 1, 10}), 100U);
  EXPECT_THAT(log->texts_from(WASM_LOG_SOURCE_LIBRARY),
              ElementsAre(AllOf(HasSubstr("transform \"narrow\""), HasSubstr("log_lines_per_second (1)"))));
}

TEST(TransformLimits, ComeWithTheNewVersionOfAHotSwap) {
  const auto runtime = we::runtime::create().value();
  auto engine = we::engine::create(compile(runtime, "odd_hog", with({2 * mib}))).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  const auto pages = [&] {
    recorder out;
    const auto batch = built({"memory"});
    EXPECT_TRUE(succeeded(finish(engine.transform(batch, out))));
    return out.values().at(0);
  };
  EXPECT_EQ(pages(), "32");
  EXPECT_EQ(numbers(we::metrics::create(runtime).value()[0]).raw.memory_limit_bytes, 2 * mib);
  ASSERT_TRUE(succeeded(finish(engine.replace(compile(runtime, "odd_hog", with({4 * mib}))))));
  EXPECT_EQ(pages(), "64");
  EXPECT_EQ(numbers(we::metrics::create(runtime).value()[0]).raw.memory_limit_bytes, 4 * mib);
}

TEST(TransformLimits, AreThoseOfTheFactoryForAllUsersOfASharedEngine) {
  const auto runtime = we::runtime::create().value();
  const auto factory = compile(runtime, "odd_hog", with({2 * mib}));
  auto one = we::engine::create_shared(factory).value();
  auto other = we::engine::create_shared(factory).value();
  ASSERT_TRUE(succeeded(finish(one.start())));
  ASSERT_TRUE(succeeded(finish(other.start())));
  recorder out;
  const auto batch = built({"memory"});
  EXPECT_TRUE(succeeded(finish(other.transform(batch, out))));
  EXPECT_THAT(out.values(), ElementsAre("32"));
}

TEST(TransformLimits, AreInTheMetricsForEachEngine) {
  const auto runtime = we::runtime::create().value();
  const auto one = we::engine::create(compile(runtime, "c_identity", with({2 * mib}))).value();
  const auto other = we::engine::create(compile(runtime, "c_identity", with({3 * mib}))).value();
  const auto third = we::engine::create(compile(runtime, "c_identity")).value();
  EXPECT_EQ(only(runtime).raw.memory_limit_bytes, 69 * mib);
}

TEST(TransformLimits, AreAnotherFactoryInACache) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const auto get = [&](std::string_view key, const we::transform_config& transform) {
    auto compiling = cache.get(key, module("c_identity"), transform).value();
    we::drive(compiling).value();
    return compiling.take().value();
  };
  const auto one = get({}, with({2 * mib}));
  const auto other = get({}, with({3 * mib}));
  EXPECT_EQ(one.info().value().memory_limit, 2 * mib);
  EXPECT_EQ(other.info().value().memory_limit, 3 * mib);
  EXPECT_EQ(cache.stats().value().entries, 2U);
  const auto kept = get("key", with({2 * mib}));
  const auto refused = cache.get("key", module("c_identity"), with({3 * mib}));
  EXPECT_EQ(refused.err().status(), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(refused.err().what(), HasSubstr("another set of limits"));
}

TEST(FactoryInfo, IsWrittenAsFarAsTheCallerKnowsIt) {
  const auto runtime = we::runtime::create().value();
  const auto factory = compile(runtime, "c_identity");
  wasm_factory_info info{};
  EXPECT_EQ(wasm_factory_get_info(factory.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_get_info(factory.get(), &info, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  info.size = sizeof(info);
  EXPECT_EQ(wasm_factory_get_info(nullptr, &info, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(info.memory_limit, 0U);
  struct newer {
    wasm_factory_info info;
    std::uint64_t more;
  } larger{};
  larger.info.size = sizeof(larger);
  larger.more = 7;
  ASSERT_EQ(wasm_factory_get_info(factory.get(), &larger.info, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(larger.more, 0U) << "what the library does not know is zeroed";
  EXPECT_EQ(we::as_text(larger.info.name), "tested");
  EXPECT_EQ(larger.info.module_size, module("c_identity").size());
  EXPECT_GT(larger.info.code_size, 0U);
  EXPECT_EQ(larger.info.code_factories, 1U);
  EXPECT_EQ(larger.info.is_custom, 0U);
}

}  // namespace
