// SPDX-License-Identifier: Apache-2.0
//
// Over and over: engines that start and stop, transforms that are deployed and replaced. What the process has from the
// system after the first of them is what it has after the last. In a process of its own, so that nothing else is
// counted.
#include "support/mappings.hh"
#include "support/memory_modes.hh"

#include <gmock/gmock.h>

using namespace memory_modes;

namespace {

/// What may not grow. Resident memory may, a little: the allocator's.
struct held {
  std::uint64_t resident = resident_bytes();
  std::uint64_t files = open_files();
  mappings mapped = mappings::now();

  static void expect_flat(const held& before) {
    const held now;
    EXPECT_LE(now.resident, before.resident + mib);
    EXPECT_EQ(now.files, before.files);
    // Two neighbours that are mapped alike count as one, and an arena of the allocator's may be split.
    EXPECT_LE(now.mapped.count, before.mapped.count + 8);
    EXPECT_EQ(now.mapped.executable, before.mapped.executable);
  }
};

void complete(we::result<we::future> begun) { we::drive(begun.value()).value(); }

class Soak : public testing::TestWithParam<mode> {};

TEST_P(Soak, AHundredThousandStartsAndStopsTakeNothing) {
  const auto runtime = exactly(GetParam().config()).value();
  ASSERT_TRUE(GetParam().prepare(runtime));
  const auto factory = compile_guest(runtime, "c_identity");
  auto engine = we::engine::create(factory).value();
  const auto batch = built({"a", "b"});
  std::uint64_t records = 0;
  auto sink = [&](we::output_block block) { records += block.size(); };
  const auto cycle = [&](int times) {
    for (int n = 0; n < times; ++n) {
      complete(engine.start());
      complete(engine.transform(batch, sink));
      complete(engine.stop());
    }
  };
  cycle(1'000);
  const held before;
  cycle(100'000);
  held::expect_flat(before);
  EXPECT_EQ(records, 2U * 101'000);
}

INSTANTIATE_TEST_SUITE_P(MemoryModes, Soak, testing::ValuesIn(every_mode.begin(), every_mode.begin() + 4), name_of);

/// The module with a custom section of its own at its end: another module with the same code.
kafka::bytes variant(const kafka::bytes& module, std::uint32_t number) {
  auto out = module;
  const std::uint8_t section[] = {0, 6, 1, 'v'};
  out.insert(out.end(), std::begin(section), std::end(section));
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<std::uint8_t>(number >> shift));
  }
  return out;
}

class Redeploy : public testing::TestWithParam<mode> {};

TEST_P(Redeploy, OfThousandsOfVersionsKeepsNothingOfThem) {
  const auto runtime = exactly(GetParam().config()).value();
  ASSERT_TRUE(GetParam().prepare(runtime));
  const auto cache = we::factory_cache::create(runtime).value();
  const auto module = guest("c_identity");
  const auto batch = built({"a", "b"});
  std::uint64_t records = 0;
  auto sink = [&](we::output_block block) { records += block.size(); };
  std::uint32_t version = 0;
  const auto redeploy = [&](std::uint32_t times) {
    for (const std::uint32_t last = version + times; version < last; ++version) {
      auto compilation = cache.get("v" + std::to_string(version), variant(module, version),
                                   {"transform" + std::to_string(version), "in", {"out"}, {}}).value();
      we::drive(compilation).value();
      auto engine = we::engine::create(compilation.take().value()).value();
      complete(engine.start());
      complete(engine.transform(batch, sink));
      complete(engine.stop());
      engine = {};
      compilation = {};
      ASSERT_EQ(cache.collect().value(), 1U);
    }
  };
  // The allocator finds its size within a thousand versions.
  const std::uint32_t warm_up = 1'500;
  const std::uint32_t times = GetParam().memory == WASM_MEMORY_MODE_ON_DEMAND ? 8'500 : 1'500;
  redeploy(warm_up);
  const held before;
  redeploy(times);
  held::expect_flat(before);
  EXPECT_EQ(records, 2U * (warm_up + times));
  const auto stats = cache.stats().value();
  EXPECT_EQ(stats.compilations, warm_up + times);
  EXPECT_EQ(stats.entries, 0U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().executable_bytes, 0U);
}

INSTANTIATE_TEST_SUITE_P(MemoryModes, Redeploy, testing::ValuesIn(every_mode.begin(), every_mode.begin() + 4), name_of);

}  // namespace
