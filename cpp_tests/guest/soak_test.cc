// SPDX-License-Identifier: Apache-2.0
//
// Guests that do a little of everything, many times, in each language: they allocate, start goroutines, sleep, set
// timers, log, use maps and strings, ask for the time and for random numbers. What they write is the same in each
// language, and their memory stays as it is. A hundred thousand records; `make soak` has a million.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <cstdlib>

using namespace testing_support;
using testing::SizeIs;

namespace {

constexpr std::uint64_t mib = 1 << 20;

std::uint64_t records_to_soak() {
  const char* records = std::getenv("WASM_ENGINE_SOAK_RECORDS");
  return records == nullptr ? 100'000 : std::strtoull(records, nullptr, 10);
}

struct language {
  const char* name;
  const char* guest;
  std::uint64_t most_memory;
};

std::ostream& operator<<(std::ostream& to, const language& l) { return to << l.name; }

/// The timestamp of a batch. One in ten has microseconds where milliseconds should be, of which no nanoseconds can be
/// made: for guests it is the end of time.
std::int64_t timestamp_of(std::uint64_t batch) {
  const auto milliseconds = 1'700'000'000'000 + static_cast<std::int64_t>(batch);
  return batch % 10 == 3 ? milliseconds * 1'000 : milliseconds;
}
constexpr std::int64_t end_of_time = 18'446'744'073'709;

/// Transforms so many records, a thousand a batch, and compares all that is written. Returns the most memory.
std::uint64_t soak(bench& b, std::uint64_t records) {
  constexpr std::uint64_t batch_size = 1'000;
  std::uint64_t next = 0;
  std::uint64_t wrong = 0;
  std::uint64_t memory = 0;
  std::string first_wrong;
  auto sink = [&](output_block block) {
    for (const auto& raw : block) {
      // Values are numbers from 1,000, so each ending comes once in a batch.
      const auto batch = next / batch_size;
      const auto expected = std::to_string(batch_size + next) + ":" + std::to_string(batch + 1) + ":" +
                            std::to_string(std::min(timestamp_of(batch), end_of_time));
      const auto p = wasmengine::payload::read(wasmengine::output_record(raw).payload()).value();
      if (p.value != expected && ++wrong == 1) {
        first_wrong = std::string(p.value.value_or("(null)")) + " instead of " + expected;
      }
      ++next;
    }
  };
  for (std::uint64_t first = 0; first < records; first += batch_size) {
    kafka::batch batch;
    batch.base_timestamp = timestamp_of(first / batch_size);
    batch.max_timestamp = batch.base_timestamp;
    for (std::uint64_t n = 0; n < batch_size; ++n) {
      const auto value = std::to_string(batch_size + first + n);
      batch.records.push_back({static_cast<std::int32_t>(n), 0, {std::nullopt, value, {}}});
    }
    const auto encoded = batch.encode();
    const auto done = b.transform(encoded, sink);
    if (!succeeded(done)) {
      ADD_FAILURE() << "behind record " << first << ": " << done.message();
      break;
    }
    memory = std::max<std::uint64_t>(memory, b.engine.memory_size().value());
  }
  EXPECT_EQ(next, records);
  EXPECT_EQ(wrong, 0U) << first_wrong;
  return memory;
}

class GuestSoak : public testing::TestWithParam<language> {};

TEST_P(GuestSoak, WritesWhatItShouldAndItsMemoryStaysSmall) {
  const auto records = records_to_soak();
  bench b(GetParam().guest);
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_LE(soak(b, records), GetParam().most_memory);
  const auto lines = b.log->texts(WASM_LOG_SEVERITY_WARN);
  ASSERT_THAT(lines, SizeIs(records / 10'000));
  EXPECT_EQ(lines.back(), std::to_string(records - 9'999) + " records, 1000 words");
}

// Go's collector is the one that goes by the clock.
TEST_P(GuestSoak, DoesSoWhenReplayedToo) {
  wasm_runtime_config config{};
  config.replay_seed = 1;
  bench b(GetParam().guest, config);
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_LE(soak(b, records_to_soak()), GetParam().most_memory);
}

INSTANTIATE_TEST_SUITE_P(Languages, GuestSoak,
                         testing::Values(language{"Cpp", "cpp_soak", 2 * mib}, language{"Rust", "rust_soak", 3 * mib},
                                         language{"Go", "go_soak", 16 * mib}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
