// SPDX-License-Identifier: Apache-2.0
//
// Profiles: what they say about guests that compute, for long at a stretch or never for long.
#include "support/bench.hh"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <set>
#include <unistd.h>

using namespace testing_support;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// A profile, read as Firefox does.
struct profile {
  explicit profile(const std::string& text) : document(nlohmann::json::parse(text)), thread(document["threads"][0]) {}

  [[nodiscard]] std::size_t samples() const { return thread["samples"]["length"]; }
  /// The functions of each sample, outermost first.
  [[nodiscard]] std::vector<std::vector<std::string>> stacks() const {
    std::vector<std::vector<std::string>> all;
    for (const auto& sampled : thread["samples"]["stack"]) {
      std::vector<std::string> names;
      for (nlohmann::json at = sampled; !at.is_null(); at = thread["stackTable"]["prefix"][at.get<std::size_t>()]) {
        const std::size_t frame = thread["stackTable"]["frame"][at.get<std::size_t>()];
        const std::size_t function = thread["frameTable"]["func"][frame];
        names.insert(names.begin(), thread["stringArray"][thread["funcTable"]["name"][function].get<std::size_t>()]);
      }
      all.push_back(names);
    }
    return all;
  }

  nlohmann::json document;
  nlohmann::json thread;
};

const wasm_runtime_config short_limit = [] {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 100'000'000;
  return config;
}();

TEST(Profile, OfALoopHasTheFunctionsOnItsStack) {
  bench b("wat_traps", short_limit);
  b.engine.start_profile().value();
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"l"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT);
  const profile p(b.engine.finish_profile().value());
  EXPECT_GT(p.samples(), 0U);
  EXPECT_EQ(p.thread["samples"]["weight"].size(), p.samples());
  EXPECT_EQ(p.document["meta"]["interval"], 1.0) << "milliseconds";
  EXPECT_EQ(p.document["meta"]["product"], "tested");
  const auto stacks = p.stacks();
  EXPECT_THAT(stacks, testing::Contains(std::vector<std::string>{"start", "on_record", "loop"}));
}

TEST(Profile, StillLetsTheGuestYieldAndEndsItInTime) {
  bench b("wat_traps", short_limit);
  ASSERT_TRUE(succeeded(b.start()));
  b.engine.start_profile(std::chrono::nanoseconds(1)).value();
  recorder out;
  const auto end = b.transform(kafka::values({"l"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT) << end.message();
  EXPECT_GT(end.yields, 0);
  const profile p(b.engine.finish_profile().value());
  EXPECT_EQ(p.document["meta"]["interval"], 0.25) << "half a slice, the shortest that there is";
  EXPECT_GE(p.samples(), static_cast<std::size_t>(end.yields)) << "each yield, and most ticks between them";
}

TEST(Profile, OfAGuestThatNeverHasTheThreadForLongHasSamplesToo) {
  // Ticks are half a second apart, so one has to be enough for a look.
  wasm_runtime_config config{};
  config.time_slice_ns = 1'000'000'000;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = kafka::values(std::vector<std::string>(100, "x")).encode();
  auto ignore = [](output_block) {};
  std::size_t samples = 0;
  const auto begun = std::chrono::steady_clock::now();
  // A tick may come while no guest runs.
  while (samples == 0 && std::chrono::steady_clock::now() - begun < patience) {
    b.engine.start_profile().value();
    for (int i = 0; i < 10'000; ++i) {
      ASSERT_TRUE(succeeded(b.transform(batch, ignore)));
    }
    samples = profile(b.engine.finish_profile().value()).samples();
  }
  EXPECT_GT(samples, 0U);
}

TEST(Profile, GoesOnWhenTheGuestIsStartedAgain) {
  bench b("wat_traps", short_limit);
  b.engine.start_profile().value();
  recorder out;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(succeeded(b.start()));
    EXPECT_EQ(b.transform(kafka::values({"l"}), out).status, WASM_STATUS_GUEST_TIMEOUT);
  }
  EXPECT_GT(profile(b.engine.finish_profile().value()).samples(), 0U);
}

TEST(Profile, OfAGuestWithoutNamesHasTheIndicesOfItsFunctionsAndTheNamesOfImports) {
  bench b("t_nameless", short_limit);
  ASSERT_TRUE(succeeded(b.start()));
  b.engine.start_profile().value();
  recorder out;
  EXPECT_EQ(b.transform(kafka::values({"x"}), out).status, WASM_STATUS_GUEST_TIMEOUT);
  const profile p(b.engine.finish_profile().value());
  ASSERT_GT(p.samples(), 0U);
  for (const auto& stack : p.stacks()) {
    ASSERT_FALSE(stack.empty());
    EXPECT_EQ(stack.front(), "function 4") << "the three imports, and one before it";
    EXPECT_THAT(stack.back(), AnyOf("function 4", "function 3", "redpanda_transform.write_record"));
  }
}

TEST(Profile, IsEmptyIfNoGuestRan) {
  bench b("c_identity");
  b.engine.start_profile().value();
  const profile p(b.engine.finish_profile().value());
  EXPECT_EQ(p.samples(), 0U);
}

TEST(Profile, IsRefusedTwiceAndItsEndBeforeItsBeginning) {
  bench b("c_identity");
  auto none = b.engine.finish_profile();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_THAT(none.err().what(), HasSubstr("no profile is in progress"));
  ASSERT_TRUE(b.engine.start_profile());
  const auto twice = b.engine.start_profile();
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_THAT(twice.err().what(), HasSubstr("in progress already"));
  ASSERT_TRUE(b.engine.finish_profile());
  EXPECT_FALSE(b.engine.finish_profile()) << "once";
  ASSERT_TRUE(b.engine.start_profile()) << "and then again";
}

TEST(Profile, OfAnImpossibleIntervalIsRefused) {
  bench b("c_identity");
  for (const auto interval : {std::chrono::nanoseconds(-1), std::chrono::nanoseconds(10'000'000'001)}) {
    const auto started = b.engine.start_profile(interval);
    ASSERT_FALSE(started);
    EXPECT_EQ(started.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(started.err().what(), HasSubstr("the maximum is 10000000000"));
  }
  EXPECT_FALSE(b.engine.finish_profile());
}

TEST(Profile, FromACallbackOfTheEngineIsRefusedAsBusy) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  std::set<wasm_status> answers;
  auto sink = [&](output_block) {
    answers.insert(wasm_engine_start_profile(b.engine.get(), 0, nullptr));
    wasm_bytes* text = nullptr;
    answers.insert(wasm_engine_finish_profile(b.engine.get(), &text, nullptr));
    EXPECT_EQ(text, nullptr);
  };
  ASSERT_TRUE(succeeded(b.transform(kafka::values({"x"}).encode(), sink)));
  EXPECT_THAT(answers, ElementsAre(WASM_STATUS_BUSY));
}

TEST(Profile, WithoutAnEngineOrAPlaceForTheTextIsRefused) {
  EXPECT_EQ(wasm_engine_start_profile(nullptr, 0, nullptr), WASM_STATUS_NULL_ARGUMENT);
  wasm_bytes* text = nullptr;
  EXPECT_EQ(wasm_engine_finish_profile(nullptr, &text, nullptr), WASM_STATUS_NULL_ARGUMENT);
  bench b("c_identity");
  ASSERT_TRUE(b.engine.start_profile());
  EXPECT_EQ(wasm_engine_finish_profile(b.engine.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_TRUE(b.engine.finish_profile()) << "and the profile is not lost";
}

// ---- For perf ----

TEST(PerfMap, HasTheGuestsFunctionsIfAskedForAndIsNotThereOtherwise) {
  const std::string path = "/tmp/perf-" + std::to_string(::getpid()) + ".map";
  ::unlink(path.c_str());
  { bench b("wat_traps"); }
  EXPECT_FALSE(std::ifstream(path)) << path;
  wasm_runtime_config config{};
  config.perf_map = 1;
  bench b("wat_traps", config);
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::set<std::string> names;
  std::uintptr_t at = 0;
  std::size_t size = 0;
  for (std::string name; file >> std::hex >> at >> size && std::getline(file >> std::ws, name);) {
    EXPECT_NE(at, 0U);
    EXPECT_NE(size, 0U);
    names.insert(name);
  }
  EXPECT_TRUE(file.eof());
  EXPECT_THAT(names, testing::IsSupersetOf({HasSubstr("on_record"), HasSubstr("recurse"), HasSubstr("start")}));
  ::unlink(path.c_str());
}

}  // namespace
