// SPDX-License-Identifier: Apache-2.0
//
// Metrics of transforms that come and go between two scrapes: nothing that was counted is lost, and nothing stays for
// ever.
#include "support/metrics.hh"
#include "support/replace.hh"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>

using namespace testing_support;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

namespace {

we::factory named(const we::runtime& runtime, const std::string& name) {
  return we::create_dummy_factory(runtime, {name, "in", {"out"}, {}}, std::make_shared<we::dummy_script>()).value();
}

void deploy_and_release(const we::factory& factory, const std::vector<std::string>& values) {
  auto engine = we::engine::create(factory).value();
  run(engine, values);
}

TEST(ReleasedTransforms, AreReadOnceMoreByASnapshotOrAsText) {
  const auto runtime = we::runtime::create().value();
  const auto factory = named(runtime, "tested");
  deploy_and_release(factory, {"1", "2"});
  const auto m = only(runtime);
  EXPECT_EQ(m.raw.input_records, 2U);
  EXPECT_EQ(m.raw.engines, 0U);
  EXPECT_EQ(m.raw.since_progress_ns, UINT64_MAX);
  EXPECT_EQ(m.raw.code_count, 0U);
  EXPECT_THAT(all(runtime), IsEmpty());

  deploy_and_release(factory, {"3"});
  EXPECT_THAT(text(runtime), HasSubstr("wasm_input_records_total{transform=\"tested\",shard=\"0\"} 1\n"));
  EXPECT_THAT(text(runtime), Not(HasSubstr("transform=")));

  auto snapshot = we::metrics::create(runtime).value();
  deploy_and_release(factory, {"4"});
  ASSERT_TRUE(snapshot.update());
  ASSERT_EQ(snapshot.size(), 1U);
  EXPECT_EQ(snapshot[0]->output_records, 1U);
  ASSERT_TRUE(snapshot.update());
  EXPECT_EQ(snapshot.size(), 0U);
}

TEST(ReleasedTransforms, GoOnCountingIfTheyAreDeployedAgainBeforeTheyAreRead) {
  const auto runtime = we::runtime::create().value();
  const auto factory = named(runtime, "tested");
  deploy_and_release(factory, {"1", "2"});
  deploy_and_release(factory, {"3"});
  auto third = we::engine::create(factory).value();
  run(third, {"4"});
  EXPECT_EQ(only(runtime).raw.input_records, 4U);
  EXPECT_EQ(only(runtime).raw.input_records, 4U) << "it is there: it stays";
  EXPECT_EQ(only(runtime).raw.engines, 1U);
}

TEST(ReleasedTransforms, CountTheirErrorsAndTopicsToo) {
  const auto runtime = we::runtime::create().value();
  auto script = std::make_shared<we::dummy_script>();
  script->fails_at = 1;
  const auto factory = we::create_dummy_factory(runtime, with_topics({"out"}), script).value();
  {
    auto engine = we::engine::create(factory).value();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    EXPECT_EQ(finish(engine.transform(built({"a", "b"}), out)).status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  }
  const auto snapshot = we::metrics::create(runtime).value();
  ASSERT_EQ(snapshot.size(), 1U);
  EXPECT_EQ(snapshot[0].errors(WASM_STATUS_CUSTOM_ENGINE_FAILED), 1U);
  ASSERT_EQ(snapshot[0].topics().size(), 1U);
  EXPECT_EQ(snapshot[0].topics()[0].output_records, 1U);
}

TEST(ReleasedTransforms, AHotSwapToAnotherNameLosesNoCount) {
  deployed d(false, "other");
  d.start();
  EXPECT_TRUE(d.user::run());
  const auto batch = built({"1", "2", "3"});
  d.transform(batch);
  EXPECT_TRUE(d.user::run());
  auto replacing = d.engine.replace(d.new_factory).value();
  EXPECT_TRUE(succeeded(finish(replacing)));
  d.transform(batch);
  EXPECT_TRUE(d.user::run());
  const auto m = all(d.runtime);
  ASSERT_EQ(m.size(), 2U);
  EXPECT_EQ(m.at({"tested", 0}).raw.input_records, 3U);
  EXPECT_EQ(m.at({"tested", 0}).raw.engines, 0U);
  EXPECT_EQ(m.at({"other", 0}).raw.input_records, 3U);
  EXPECT_EQ(all(d.runtime).size(), 1U);
}

TEST(ReleasedTransforms, AreBoundedInNumber) {
  const auto runtime = we::runtime::create().value();
  constexpr int many = 3'000;
  constexpr std::size_t kept = 1'024;
  for (int i = 0; i < many; ++i) {
    (void)we::engine::create(named(runtime, "t" + std::to_string(i))).value();
  }
  const auto snapshot = we::metrics::create(runtime).value();
  EXPECT_EQ(snapshot.size(), kept);
  EXPECT_TRUE(std::none_of(snapshot.begin(), snapshot.end(), [](const auto& m) { return m.transform() == "t0"; }));
  EXPECT_TRUE(std::any_of(snapshot.begin(), snapshot.end(), [](const auto& m) { return m.transform() == "t2999"; }));
  EXPECT_THAT(all(runtime), IsEmpty());
  // The same one, again and again, is one.
  for (int i = 0; i < many; ++i) {
    (void)we::engine::create(named(runtime, "tested")).value();
  }
  EXPECT_EQ(only(runtime).raw.engines, 0U);
}

TEST(ReleasedTransforms, ThatComeAndGoWhileTheyAreReadAreAllTold) {
  const auto runtime = we::runtime::create().value();
  constexpr int many = 600;
  std::atomic<bool> done = false;
  std::thread worker([&] {
    for (int i = 0; i < many; ++i) {
      deploy_and_release(named(runtime, "t" + std::to_string(i)), {"x", "y"});
    }
    done = true;
  });
  std::map<std::string, std::uint64_t> last;
  std::map<std::string, int> without_engine;
  for (bool over = false; !over;) {
    over = done;
    for (const auto& [name, numbers] : all(runtime)) {
      last[name.first] = numbers.raw.input_records;
      without_engine[name.first] += numbers.raw.engines == 0 ? 1 : 0;
    }
  }
  worker.join();
  EXPECT_EQ(last.size(), static_cast<std::size_t>(many));
  for (const auto& [name, records] : last) {
    EXPECT_EQ(records, 2U) << name;
    EXPECT_EQ(without_engine[name], 1) << name;
  }
  EXPECT_THAT(all(runtime), IsEmpty());
}

}  // namespace
