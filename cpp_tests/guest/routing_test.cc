// SPDX-License-Identifier: Apache-2.0
//
// Guests that write nothing, many records, to several topics, or what they should not.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <numeric>

using namespace testing_support;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

TEST(Routing, TeeWritesZeroOneAndManyRecords) {
  bench b("c_tee");
  EXPECT_THAT(b.run({"0 never", "1 once", "3 thrice", "x"}).values(),
              ElementsAre("1 once", "3 thrice", "3 thrice", "3 thrice", "x"));
  EXPECT_THAT(b.run({"0", "0"}).values(), IsEmpty());
}

TEST(Routing, OutputSaysWhichInputRecordItCameFrom) {
  bench b("c_tee");
  const auto out = b.run({"2", "0", "1"});
  ASSERT_THAT(out.records, SizeIs(3));
  EXPECT_EQ(out.records[0].input_offset, 100);
  EXPECT_EQ(out.records[1].input_offset, 100);
  EXPECT_EQ(out.records[2].input_offset, 102);
}

TEST(Routing, AFilterInCppKeepsWhatItsEnvironmentSays) {
  auto transform = with_topics({"out"});
  transform.env = {{"FILTER_FIELD", "colour"}, {"FILTER_VALUE", "red"}};
  bench b("cpp_filter", {}, transform);
  EXPECT_THAT(b.run({R"({"colour":"red","n":1})", R"({"colour":"blue"})", R"({"colour":"red","n":2})"}).values(),
              ElementsAre(R"({"colour":"red","n":1})", R"({"colour":"red","n":2})"));
  EXPECT_THAT(b.run({R"({"colour":"blue"})"}).values(), IsEmpty());
}

TEST(Routing, ARedactorInRustReadsItsEnvironment) {
  auto transform = with_topics({"out"});
  transform.env = {{"REDACT_FIELDS", "secret"}};
  bench b("rust_redact", {}, transform);
  const auto out = b.run({R"({"secret":"1234","open":"abcd"})"}).values();
  ASSERT_THAT(out, SizeIs(1));
  EXPECT_THAT(out[0], HasSubstr("abcd"));
  EXPECT_THAT(out[0], Not(HasSubstr("1234")));
}

TEST(GoGuestRouting, RoutesByAFieldSlow) {
  auto transform = with_topics({"small", "large"});
  transform.env = {{"REKEY_FIELD", "id"}, {"ROUTE_FIELD", "n"}, {"ROUTE_MIN", "10"}};
  bench b("go_rekey", {}, transform);
  const auto out = b.run({R"({"id":"a","n":1})", R"({"id":"b","n":11})"});
  ASSERT_THAT(out.records, SizeIs(2));
  EXPECT_EQ(out.records[0].topic, 0U);
  EXPECT_EQ(out.records[0].content.key, "a");
  EXPECT_EQ(out.records[1].topic, 1U);
  EXPECT_EQ(out.records[1].content.key, "b");
}

TEST(Routing, TopicsGoByNameAndTheFirstIsTheDefault) {
  bench b("c_route", {}, with_topics({"first", "second", "dritter-grün"}));
  const auto out = b.run({"plain", "t:second\nx", "t:first\ny", "t:dritter-grün\nz"});
  ASSERT_THAT(out.records, SizeIs(4));
  EXPECT_EQ(out.records[0].topic, 0U);
  EXPECT_EQ(out.records[1].topic, 1U);
  EXPECT_EQ(out.records[2].topic, 0U);
  EXPECT_EQ(out.records[3].topic, 2U);
}

TEST(Routing, ATopicThatIsNoOutputIsRefusedWithMinusThree) {
  bench b("c_route", {}, with_topics({"first"}));
  EXPECT_THAT(b.run({"t:unknown\nx", "t:First\nx", "still alive"}).values(), ElementsAre("still alive"));
  EXPECT_THAT(b.log->texts_from(WASM_LOG_SOURCE_GUEST),
              ElementsAre("route: topic \"unknown\" refused: -3", "route: topic \"First\" refused: -3"));
}

TEST(Routing, WithoutOutputTopicsEveryWriteIsRefused) {
  bench b("c_route", {}, with_topics({}));
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(kafka::values({"t:in\nx"}), out)));
  EXPECT_THAT(b.log->texts_from(WASM_LOG_SOURCE_GUEST), ElementsAre("route: topic \"in\" refused: -3"));
  EXPECT_THAT(out.records, IsEmpty());
}

TEST(Routing, ThousandsOfTopics) {
  std::vector<std::string> topics;
  for (int i = 0; i < 3'000; ++i) {
    topics.push_back("topic-" + std::to_string(i));
  }
  bench b("c_route", {}, with_topics(topics));
  const auto out = b.run({"t:topic-2999\n"});
  ASSERT_THAT(out.records, SizeIs(1));
  EXPECT_EQ(out.records[0].topic, 2'999U);
}

// ---- What odd_bad_write is told to write ----

std::vector<std::string> reports_for(const std::vector<std::string>& values, const wasm_runtime_config& config = {}) {
  bench b("odd_bad_write", config, with_topics({"out", "t"}));
  return b.run(values).reports();
}

std::string payload_bytes(const kafka::bytes& bytes) { return "payload:" + kafka::text(bytes); }
std::string option_bytes(std::string_view bytes) { return "options:" + std::string(bytes); }

TEST(Payloads, ValidOnesAreTakenAndGiveTheirLength) {
  const kafka::payload full{"k", "v", {{"h", "w"}, {"", std::nullopt}}};
  EXPECT_THAT(reports_for({payload_bytes(full.encode()), payload_bytes(kafka::payload{}.encode())}),
              ElementsAre(std::to_string(full.encode().size()), "3"));
}

TEST(Payloads, EveryTruncationIsRefused) {
  const auto whole = kafka::payload{"key", "value", {{"h", "w"}, {"g", std::nullopt}}}.encode();
  std::vector<std::string> cut;
  for (std::size_t size = 1; size < whole.size(); ++size) {
    cut.push_back(payload_bytes({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}));
  }
  EXPECT_THAT(reports_for(cut), AllOf(SizeIs(cut.size()), Each("-2")));
}

TEST(Payloads, BytesThatFollowAreRefused) {
  auto bytes = kafka::value("v").encode();
  bytes.push_back(0);
  EXPECT_THAT(reports_for({payload_bytes(bytes)}), ElementsAre("-2"));
}

TEST(Payloads, LengthsAndCountsThatLieAreRefused) {
  const std::vector<kafka::bytes> lies = {
      {},                                                                       // nothing
      {3, 1, 0},                                                                // key length -2
      {1, 3, 0},                                                                // value length -2
      {1, 1, 1},                                                                // header count -1
      {1, 1, 2, 1, 1},                                                          // a null header key
      {1, 1, 2, 3, 1},                                                          // header key length -2
      {1, 1, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F},                                     // 2^31 - 1 headers
      {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 1, 0},       // key length 2^63 - 1
      {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0}  // a varint of eleven bytes
  };
  std::vector<std::string> values;
  for (const auto& lie : lies) {
    values.push_back(payload_bytes(lie));
  }
  EXPECT_THAT(reports_for(values), AllOf(SizeIs(lies.size()), Each("-2")));
}

TEST(Payloads, ABadOneLeavesNothingInTheOutput) {
  bench b("odd_bad_write");
  const auto out = b.run({payload_bytes({1, 1}), "copied"});
  ASSERT_THAT(out.records, SizeIs(2));
  EXPECT_EQ(out.records[0].content.key, "report");
  EXPECT_EQ(out.records[1].content.value, "copied");
}

TEST(Payloads, OnesLargerThanTheOutputBufferAreRefusedWithMinusThree) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 64 << 10;
  const auto sized = [](std::size_t size) {
    const auto overhead = kafka::value(std::string(20'000, 'x')).encode().size() - 20'000;
    return payload_bytes(kafka::value(std::string(size - overhead, 'x')).encode());
  };
  EXPECT_THAT(reports_for({sized(64 << 10), sized((64 << 10) + 1), "payload:"}, config),
              ElementsAre("65536", "-3", "-2"));
}

TEST(Payloads, ASizeOutsideOfMemoryEndsTheGuest) {
  for (const auto* value : {"payload-size:-1", "payload-size:max", "options-size:-1", "options-size:max"}) {
    bench b("odd_bad_write");
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    const auto end = b.transform(kafka::values({"good", value}), out);
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL) << value << ": " << end.message();
    EXPECT_THAT(out.values(), ElementsAre("good"));
    EXPECT_TRUE(works(b));
  }
}

TEST(RoutingOptions, NoneMeansTheDefaultTopicAndAKnownNameThatTopic) {
  bench b("odd_bad_write", {}, with_topics({"out", "t"}));
  const auto out = b.run({"options:", option_bytes("\x01\x02t"), "options-size:0"});
  EXPECT_THAT(out.reports(), ElementsAre("4", "4", "4"));
  std::vector<std::uint32_t> topics;
  for (const auto& r : out.records) {
    if (r.content.value == "x") {
      topics.push_back(r.topic);
    }
  }
  EXPECT_THAT(topics, ElementsAre(0U, 1U, 0U));
}

TEST(RoutingOptions, MalformedOnesAreRefusedWithMinusTwo) {
  using std::string_view_literals::operator""sv;
  std::vector<std::string> values;
  for (const auto bad : {
           "\x02\x02t"sv,                                   // an unknown tag
           "\x00"sv,                                        // a tag that is none
           "\x01"sv,                                        // no length
           "\x01\x80"sv,                                    // half a length
           "\x01\x02"sv,                                    // no name
           "\x01\x04t"sv,                                   // a name that is cut off
           "\x01\x02tt"sv,                                  // bytes that follow
           "\x01\x02t\x01\x02t"sv,                          // a second option
           "\x01\x01"sv,                                    // length -1
           "\x01\x01t"sv,                                   //
           "\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01t"sv,  // a length of 2^63 - 1
           "\x01\x02\xff"sv,                                // a name that is not UTF-8
       }) {
    values.push_back(option_bytes(bad));
  }
  EXPECT_THAT(reports_for(values), AllOf(SizeIs(values.size()), Each("-2")));
}

TEST(RoutingOptions, AnEmptyTopicNameIsNoTopic) {
  using std::string_view_literals::operator""sv;
  EXPECT_THAT(reports_for({option_bytes("\x01\x00"sv)}), ElementsAre("-3"));
}

TEST(Protocol, CallsAtTheWrongTimeGetTheErrorsOfTheAbi) {
  bench b("t_protocol");
  const auto size = kafka::value("one").encode().size();
  const auto out = b.run({"one"});
  ASSERT_THAT(out.records, SizeIs(2));
  EXPECT_EQ(out.records[0].content.value, "x") << "writing after the last record is allowed until the batch ends";
  std::vector<int> results;
  for (const char c : out.records[1].content.value.value()) {
    results.push_back(static_cast<signed char>(c));
  }
  EXPECT_THAT(results, ElementsAre(-1, -1, -2, static_cast<int>(size), -1, -2, 4));
}

TEST(Protocol, EveryWayOfCallingTheHostCanWaitForRoomInTheOutput) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4 << 10;
  bench b("t_indirect", config);
  const std::string value(1'000, 'v');
  const auto out = b.run({value, "short", value});
  ASSERT_THAT(out.records, SizeIs(300));
  EXPECT_EQ(out.records[0].content.value, value);
  EXPECT_EQ(out.records[150].content.value, "short");
  EXPECT_EQ(out.records[299].content.value, value);
  EXPECT_THAT(out.block_bytes, Each(testing::Le(4U << 10)));
}

TEST(RoutingSchemaRegistry, AGuestMayImportItWithoutUsingIt) {
  bench b("rust_sr_unused");
  EXPECT_THAT(b.run({"a", "b"}).values(), ElementsAre("a", "b"));
}

TEST(RoutingSchemaRegistry, AGuestThatUsesItIsToldThatThereIsNone) {
  bench b("rust_sr_unused");
  const auto out = b.run({"sr", "after"}).values();
  ASSERT_THAT(out, SizeIs(2));
  EXPECT_THAT(out[0], HasSubstr("error"));
  EXPECT_EQ(out[1], "after");
}

TEST(RoutingOutput, IsNeverMoreThanTheBufferLimitHoweverMuchAGuestWrites) {
  for (const std::uint64_t limit : {std::uint64_t{1} << 10, std::uint64_t{16} << 10, std::uint64_t{512} << 10}) {
    wasm_runtime_config config{};
    config.output_buffer_limit = limit;
    bench b("c_tee", config);
    const std::vector<std::string> in(200, "9" + std::string(900, 'x'));
    const auto out = b.run(in);
    EXPECT_THAT(out.records, SizeIs(1'800)) << limit;
    EXPECT_THAT(out.block_bytes, Each(testing::Le(limit)));
    EXPECT_GE(std::accumulate(out.block_bytes.begin(), out.block_bytes.end(), std::size_t{0}), 1'800 * 900U);
  }
}

TEST(RoutingOutput, OfOneInputRecordComesInOneBlockIfItFitsTheLimit) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 16 << 10;
  bench b("c_tee", config);
  ASSERT_TRUE(succeeded(b.start()));
  std::vector<std::pair<std::int64_t, std::int64_t>> blocks;
  auto sink = [&](output_block block) { blocks.emplace_back(block.front().input_offset, block.back().input_offset); };
  const auto batch = built(std::vector<std::string>(100, "9" + std::string(900, 'x')));
  ASSERT_TRUE(succeeded(b.transform(batch, sink)));
  for (std::size_t i = 1; i < blocks.size(); ++i) {
    EXPECT_LT(blocks[i - 1].second, blocks[i].first) << "no input record's output is split";
  }
}

}  // namespace
