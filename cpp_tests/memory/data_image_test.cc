// SPDX-License-Identifier: Apache-2.0
//
// Guests with much data. In mode ON_DEMAND it is mapped at a start and not copied: what guests see of their memories is
// the same in every mode.
#include "support/cache.hh"
#include "support/data_guest.hh"
#include "support/mappings.hh"

#include <gmock/gmock.h>

#include <sys/resource.h>

#include <optional>

using namespace data_guest;
using testing::AllOf;
using testing::HasSubstr;

namespace {

class DataInMode : public testing::TestWithParam<mode> {
 protected:
  we::runtime runtime = exactly(GetParam().config()).value();
  void SetUp() override { GetParam().prepare(runtime).value(); }
};

TEST_P(DataInMode, IsWhatTheSpecificationSays) {
  const auto factory = compiled(runtime, with_data(pages_of_much, much()));
  auto engine = started(factory);
  EXPECT_EQ(ask_data(engine, hash_from, first), expected_hash());
  EXPECT_EQ(engine.memory_size().value(), pages_of_much * 64 * kib);
  // What is added is zero.
  EXPECT_EQ(ask_data(engine, grow_data, 3), pages_of_much);
  EXPECT_EQ(ask_data(engine, hash_from, pages_of_much * 64 * kib), hash(std::string(3 * 64 * kib, '\0')));
  EXPECT_EQ(engine.memory_size().value(), (pages_of_much + 3) * 64 * kib);
}

TEST_P(DataInMode, IsOnePerEngineAndStart) {
  const auto factory = compiled(runtime, with_data(pages_of_much, much()));
  auto one = started(factory);
  auto other = started(factory);
  const auto memory = memory_of(pages_of_much, much());
  // In the image, in a page that has both, outside of it.
  for (const std::uint32_t at : {9'001U, 8'192U, 700'000U, 1'054'096U, 1'054'097U, 2'000'000U}) {
    const auto before = static_cast<std::uint8_t>(memory[at]);
    EXPECT_EQ(ask_data(one, exchange, at), before) << at;
    EXPECT_EQ(ask_data(one, exchange, at), 0xee) << at;
  }
  EXPECT_NE(ask_data(one, hash_from, first), expected_hash());
  EXPECT_EQ(ask_data(other, hash_from, first), expected_hash());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(succeeded(finish(one.stop())));
    ASSERT_TRUE(succeeded(finish(one.start())));
    EXPECT_EQ(ask_data(one, hash_from, first), expected_hash());
    EXPECT_EQ(ask_data(one, exchange, 9'005 + i), static_cast<std::uint8_t>(memory[9'005 + i]));
  }
  expect_much(factory);
}

TEST_P(DataInMode, OfPassiveSegmentsStays) {
  const auto factory = compiled(runtime, with_data(pages_of_much, much()));
  auto engine = started(factory);
  std::int64_t passive = 0;
  std::memcpy(&passive, "passive!", 8);
  EXPECT_EQ(ask_data(engine, init, 9'001), passive);
  EXPECT_EQ(ask_data(engine, init, 2'000'000), passive);
  EXPECT_EQ(ask_data(engine, drop), 0);
  const auto end = try_ask(engine, static_cast<memory_work>(init), 9'001).second;
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
  EXPECT_EQ(end.why.value().trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST_P(DataInMode, BeyondTheMemoryIsATrap) {
  for (const auto& beyond : {segment{2 * 64 * kib - 4, "beyond"}, segment{2 * 64 * kib + 1, ""},
                             segment{0xffff'fffeU, "beyond"}, segment{std::nullopt, text(50'000, 1)}}) {
    const auto factory = compiled(runtime, with_data(2, {{first, text(80'000, 2)}, beyond}));
    auto engine = we::engine::create(factory).value();
    const auto end = finish(engine.start());
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
    EXPECT_EQ(end.why.value().trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
  }
}

INSTANTIATE_TEST_SUITE_P(All, DataInMode, testing::ValuesIn(every_mode), name_of);

// ---- Mode ON_DEMAND ----

constexpr mode on_demand = every_mode[0];

wasm_runtime_config with_helper(wasm_runtime_config config = {}) {
  config.compile_helper = we::as_slice(WASM_ENGINE_TEST_COMPILE_HELPER);
  return config;
}

kafka::bytes artifact(const we::runtime& runtime, const kafka::bytes& module) {
  auto making = runtime.precompile(module).value();
  we::drive(making).value();
  const auto made = making.take().value();
  return {made.bytes().begin(), made.bytes().end()};
}

outcome loaded(const we::runtime& runtime, const kafka::bytes& artifact) {
  auto loading = runtime.load(artifact, with_topics({"out"})).value();
  return finish(loading);
}

TEST(DataImage, IsInArtifacts) {
  const auto module = with_data(pages_of_much, much());
  const auto here = artifact(exactly({}).value(), module);
  EXPECT_EQ(artifact(exactly(with_helper()).value(), module), here);
  const auto runtime = exactly({}).value();
  auto loading = runtime.load(here, with_topics({"out"})).value();
  we::drive(loading).value();
  expect_much(loading.take().value());
  // Not much is there twice.
  EXPECT_LT(here.size(), 2'000'000U);
}

TEST(DataImage, IsOnlyInArtifactsOfItsMode) {
  const auto module = with_data(pages_of_much, much());
  wasm_runtime_config plain{};
  plain.host_record_calls = 1;
  std::vector<wasm_runtime_config> others{plain};
  for (const auto& mode : every_mode) {
    if (mode.name != on_demand.name) {
      others.push_back(mode.config());
    }
  }
  const auto runtime = exactly({}).value();
  const auto ours = artifact(runtime, module);
  for (const auto& config : others) {
    const auto other = exactly(config).value();
    EXPECT_EQ(loaded(other, ours).status, WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE);
    EXPECT_EQ(loaded(runtime, artifact(other, module)).status, WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE);
  }
}

TEST(DataImage, IsInTheCodeCache) {
  const auto module = with_data(pages_of_much, much());
  const cache_tests::scratch directory;
  for (const bool helped : {true, false}) {
    // All modes in one directory.
    for (const auto& mode : every_mode) {
      const auto config = mode.config(helped ? with_helper() : wasm_runtime_config{});
      const auto runtime = exactly(config).value();
      runtime.set_code_cache({directory.cache.string()}).value();
      mode.prepare(runtime).value();
      expect_much(compiled(runtime, module));
      if (!helped) {
        EXPECT_EQ(we::runtime_metrics(runtime).value().code_cache_hits, 1U) << mode.name;
      }
      EXPECT_EQ(we::runtime_metrics(runtime).value().code_cache_faults, 0U) << mode.name;
    }
  }
}

TEST(DataImage, HasOneDescriptorPerModule) {
  const auto runtime = exactly({}).value();
  const auto small = compiled(runtime, with_data(1, {{60'000, "little"}}));
  auto engine = started(small);
  const auto before = open_files();
  {
    const auto factory = compiled(runtime, with_data(pages_of_much, much()));
    EXPECT_EQ(open_files(), before + 1);
    const auto clone = factory;
    auto one = started(factory);
    auto other = started(clone);
    EXPECT_EQ(open_files(), before + 1);
    ASSERT_TRUE(succeeded(finish(one.stop())));
    ASSERT_TRUE(succeeded(finish(one.start())));
  }
  EXPECT_EQ(open_files(), before);
  // An engine keeps it.
  std::optional<we::engine> last;
  {
    const auto factory = compiled(runtime, with_data(pages_of_much, much()));
    last = started(factory);
  }
  ASSERT_TRUE(succeeded(finish(last->stop())));
  ASSERT_TRUE(succeeded(finish(last->start())));
  EXPECT_EQ(ask_data(*last, hash_from, first), expected_hash());
  last.reset();
  EXPECT_EQ(open_files(), before);
}

/// A limit of the process until the end of a scope.
class limited {
 public:
  limited(int what, rlim_t value) : _what(what) {
    getrlimit(_what, &_before);
    const rlimit now{value, _before.rlim_max};
    setrlimit(_what, &now);
  }
  limited(const limited&) = delete;
  limited& operator=(const limited&) = delete;
  ~limited() { setrlimit(_what, &_before); }

 private:
  int _what;
  rlimit _before{};
};

TEST(DataImage, ThatCannotBeMadeIsAnErrorOfTheFactory) {
  const auto module = with_data(pages_of_much, much());
  const auto little = with_data(1, {{60'000, "little"}});
  const auto runtime = exactly({}).value();
  expect_much(compiled(runtime, module));
  {
    const limited descriptors(RLIMIT_NOFILE, 0);
    auto compilation = runtime.compile(module, {"the-fourth", "in", {"out"}, {}}).value();
    const auto end = finish(compilation);
    EXPECT_EQ(end.status, WASM_STATUS_SYSTEM);
    EXPECT_THAT(end.message(), AllOf(HasSubstr("\"the-fourth\""), HasSubstr("its data could not be laid out"),
                                     HasSubstr("Too many open files")));
    // It needs none.
    auto engine = started(compiled(runtime, little));
  }
  expect_much(compiled(runtime, module));
}

TEST(DataImage, LargerThanTheProcessMayWriteIsAnErrorAndNoSignal) {
  const auto module = with_data(pages_of_much, much());
  const auto runtime = exactly({}).value();
  const limited size(RLIMIT_FSIZE, 512 * kib);
  auto compilation = runtime.compile(module, {"tested", "in", {"out"}, {}}).value();
  const auto end = finish(compilation);
  EXPECT_EQ(end.status, WASM_STATUS_SYSTEM);
  EXPECT_THAT(end.message(), HasSubstr("its data could not be laid out"));
}

TEST(DataImage, IsInCoreDumps) {
  wasm_runtime_config config{};
  config.core_dumps = 1;
  const auto runtime = exactly(config).value();
  auto segments = much();
  segments[0].bytes.replace(200'000, 11, "found again");
  auto engine = started(compiled(runtime, with_data(pages_of_much, segments)));
  const auto end = try_ask(engine, static_cast<memory_work>(fail)).second;
  const auto dump = end.why.value().coredump().value();
  const std::string_view bytes(reinterpret_cast<const char*>(dump.data()), dump.size());
  EXPECT_NE(bytes.find("found again"), bytes.npos);
  EXPECT_GT(bytes.size(), 1'000'000U);
}

}  // namespace
