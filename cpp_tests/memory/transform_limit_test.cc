// SPDX-License-Identifier: Apache-2.0
//
// A transform's own memory limit in every memory mode: pools have memories of the runtime's size, and each guest gets
// its own limit within them.
#include "support/host_allocator.hh"

using namespace memory_modes;

namespace {

constexpr std::uint64_t of_runtime = 4 * mib;

we::factory compile_with(const we::runtime& runtime, std::uint64_t limit) {
  we::transform_config transform{"tested", "in", {"out"}, {}};
  transform.limits.memory = limit;
  auto compilation = runtime.compile(guest(memory_guest), transform).value();
  we::drive(compilation).value();
  return compilation.take().value();
}

class TransformLimit : public testing::TestWithParam<mode> {};

TEST_P(TransformLimit, HoldsWithinTheMemoryThatThereIs) {
  wasm_runtime_config config{};
  config.memory_limit = of_runtime;
  const auto runtime = exactly(GetParam().config(config)).value();
  ASSERT_TRUE(GetParam().prepare(runtime, 2));
  // One after the other in the same memory, and with another beside it.
  const std::uint64_t limits[]{of_runtime, mib, of_runtime, 128 * kib, 65'536, mib + 4'096};
  auto beside = started(compile_with(runtime, of_runtime));
  for (const auto limit : limits) {
    const auto whole = limit / 65'536 * 65'536;
    auto engine = started(compile_with(runtime, limit));
    expect_clean(engine, whole);
    EXPECT_EQ(ask(engine, grow, 1), -1) << "not one page beyond " << limit;
    EXPECT_EQ(ask(engine, pages), static_cast<std::int64_t>(whole / 65'536));
    EXPECT_GT(ask(engine, fill, 0x5a), 0);
    // Behind its memory is what the limit keeps it from.
    const auto [answer, end] = try_ask(engine, load, static_cast<std::uint32_t>(whole));
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
    EXPECT_EQ(end.why->trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
  }
  EXPECT_EQ(ask(beside, dirty_bytes), 4);
}

INSTANTIATE_TEST_SUITE_P(Modes, TransformLimit, testing::ValuesIn(every_mode), name_of);

TEST(HostMemoryLimit, IsAsLargeAsTheLimitOfTheTransform) {
  host_allocators host;
  wasm_runtime_config config{};
  config.memory_limit = of_runtime;
  const auto runtime = exactly(host.config(WASM_MEMORY_MODE_HOST, config)).value();
  auto small = started(compile_with(runtime, mib + 100));
  ASSERT_EQ(host.memory.live(), 1U);
  EXPECT_EQ(host.memory.held().at(0).bytes, mib);
  auto large = started(compile_with(runtime, 0));
  EXPECT_EQ(host.memory.live(), 2U);
  EXPECT_EQ(ask(large, grow, of_runtime / 65'536 - 1), 1);
  EXPECT_EQ(ask(small, grow, mib / 65'536 - 1), 1);
  EXPECT_EQ(ask(small, grow, 1), -1);
}

}  // namespace
