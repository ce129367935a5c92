// SPDX-License-Identifier: Apache-2.0
//
// Compressed batches: made by the library, made by other implementations (fixtures/make.py), and made to do harm.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;

namespace {

struct fixture {
  const char* name;
  std::int16_t code;
  const char* hex;
};

void PrintTo(const fixture& f, std::ostream* out) { *out << f.name; }

constexpr fixture fixtures[] = {
#include "fixtures/compressed.inc"
};

kafka::bytes from_hex(std::string_view hex) {
  kafka::bytes out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

// The values that make.py compressed.
std::vector<std::string> fixture_values() {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < 120; ++i) {
    values.push_back("record " + std::to_string(i) + " " + std::string(i % 40, 'x'));
  }
  return values;
}

kafka::batch of_fixture(const fixture& f) {
  auto batch = kafka::values(fixture_values());
  batch.attributes = f.code;
  batch.body = from_hex(f.hex);
  return batch;
}

wasm_status status_of(bench& b, kafka::view batch) {
  recorder out;
  return b.transform(batch, out).status;
}

class OtherImplementations : public testing::TestWithParam<fixture> {};

TEST_P(OtherImplementations, CompressedBatchesAreRead) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(of_fixture(GetParam()), out)));
  EXPECT_EQ(out.values(), fixture_values());
}

TEST_P(OtherImplementations, DataThatIsCutOffAnywhereGivesAStatus) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = of_fixture(GetParam());
  const auto whole = *batch.body;
  for (std::size_t size = 0; size < whole.size(); size += size < 64 ? 1 : 7) {
    batch.body->assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    recorder out;
    const auto status = b.transform(batch, out).status;
    if (status == WASM_STATUS_OK) {
      EXPECT_EQ(out.values(), fixture_values()) << "an end mark or a checksum is all that may be missing";
    } else {
      EXPECT_THAT(status, testing::AnyOf(WASM_STATUS_BATCH_DECOMPRESS, WASM_STATUS_BATCH_MALFORMED)) << size;
    }
  }
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
}

TEST_P(OtherImplementations, DamagedDataGivesAStatusOrIsFine) {
  bench b("t_skip");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = of_fixture(GetParam());
  const auto whole = *batch.body;
  std::uint32_t seed = 1;
  for (int i = 0; i < 600; ++i) {
    seed = seed * 1'664'525 + 1'013'904'223;
    *batch.body = whole;
    (*batch.body)[(seed >> 8) % whole.size()] ^= static_cast<std::uint8_t>(1U << (seed >> 29));
    const auto status = status_of(b, batch.encode());
    EXPECT_THAT(status, testing::AnyOf(WASM_STATUS_OK, WASM_STATUS_BATCH_DECOMPRESS, WASM_STATUS_BATCH_MALFORMED,
                                       WASM_STATUS_BATCH_TOO_LARGE));
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, OtherImplementations, testing::ValuesIn(fixtures),
                         [](const auto& info) { return std::string(info.param.name); });

class EveryCodec : public testing::TestWithParam<wasm_compression> {};

TEST_P(EveryCodec, RoundTripsThroughTheBuilderAndAGuest) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  std::vector<std::string> values(2'000, "the same again and again");
  values.push_back(std::string(100'000, 'z'));
  for (const auto& in : {std::vector<std::string>{}, std::vector<std::string>{"one"}, values}) {
    const auto batch = built(in, {100, GetParam()});
    const auto decoded = kafka::batch::decode(batch);
    EXPECT_EQ(decoded.attributes & 7, GetParam());
    EXPECT_EQ(decoded.record_count, static_cast<std::int32_t>(in.size()));
    if (GetParam() != WASM_COMPRESSION_NONE && in.size() > 1) {
      EXPECT_LT(batch.size(), 40'000U) << "it is compressed indeed";
    }
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(batch, out)));
    EXPECT_EQ(out.values(), in);
  }
}

TEST_P(EveryCodec, DataThatDecompressesToMoreThanTheLimitIsRefusedAndCostsNoMemory) {
  wasm_runtime_config config{};
  config.max_batch_size = 100'000;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  const auto bomb = built({std::string(50 << 20, '\0')}, {100, GetParam()});
  EXPECT_EQ(status_of(b, bomb), WASM_STATUS_BATCH_TOO_LARGE);
  const auto small = built({std::string(90'000, '\0')}, {100, GetParam()});
  EXPECT_EQ(status_of(b, small), WASM_STATUS_OK);
}

INSTANTIATE_TEST_SUITE_P(Codecs, EveryCodec,
                         testing::Values(WASM_COMPRESSION_NONE, WASM_COMPRESSION_GZIP, WASM_COMPRESSION_SNAPPY,
                                         WASM_COMPRESSION_LZ4, WASM_COMPRESSION_ZSTD),
                         [](const auto& info) { return codec_name(info.param); });

TEST(Compression, WithAnUnknownCodeIsRefused) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  for (const std::int16_t code : {5, 6, 7}) {
    auto batch = kafka::values({"a"});
    batch.attributes = code;
    EXPECT_EQ(status_of(b, batch.encode()), WASM_STATUS_BATCH_COMPRESSION) << code;
  }
}

TEST(Compression, OfSomethingElseThanTheCodeSaysIsRefused) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  for (const auto& f : fixtures) {
    for (const std::int16_t code : {1, 2, 3, 4}) {
      if (code != f.code) {
        auto batch = of_fixture(f);
        batch.attributes = code;
        EXPECT_EQ(status_of(b, batch.encode()), WASM_STATUS_BATCH_DECOMPRESS) << f.name << " as " << code;
      }
    }
  }
}

TEST(Compression, ASnappyBlockThatClaimsGigabytesIsRefused) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = kafka::values({"a"});
  batch.attributes = 2;
  batch.body = kafka::bytes{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x00, 'a'};  // raw: 4 GiB, then a literal of one byte
  EXPECT_THAT(status_of(b, batch.encode()), testing::AnyOf(WASM_STATUS_BATCH_DECOMPRESS, WASM_STATUS_BATCH_TOO_LARGE));
  kafka::bytes framed;
  kafka::append(framed, std::string_view("\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16));
  kafka::put_int(framed, 7, 4);
  kafka::append(framed, *batch.body);
  batch.body = framed;
  EXPECT_THAT(status_of(b, batch.encode()), testing::AnyOf(WASM_STATUS_BATCH_DECOMPRESS, WASM_STATUS_BATCH_TOO_LARGE));
  batch.body->resize(16 + 4);
  EXPECT_EQ(status_of(b, batch.encode()), WASM_STATUS_BATCH_DECOMPRESS) << "a block that is not there";
}

}  // namespace
