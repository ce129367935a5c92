// SPDX-License-Identifier: Apache-2.0
//
// What the library says about a guest beyond its trap: why a host call was refused, what the guest wrote to standard
// error, and how large its memory was.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

namespace {

wasm_runtime_config with_output_limit(std::uint64_t bytes) {
  wasm_runtime_config config{};
  config.output_buffer_limit = bytes;
  return config;
}

std::string text_of(const kafka::bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::string at_101(const std::string& text) { return "record 1 of the batch (offset 101): " + text; }

// ---- Refused host calls ----

// The line of the log for a record of odd_bad_write.
std::vector<std::string> line_for(const std::string& value, const wasmengine::transform_config& transform) {
  bench b("odd_bad_write", with_output_limit(64 << 10), transform);
  b.run({"good", value});
  return b.log->texts_from(WASM_LOG_SOURCE_LIBRARY);
}

TEST(Refusal, OfAWriteIsALineOfTheLogWithTheFigures) {
  using std::string_literals::operator""s;
  const auto one = with_topics({"out"});
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"payload:" + text_of(kafka::value(std::string(70'000, 'x')).encode()),
       "write_record returned -3: the record has 70005 bytes and output_buffer_limit is 65536"},
      {"payload:", "write_record returned -2: the 0 bytes are no record: the key's length is malformed or leads outside"},
      {"payload:\x01\x04x",
       "write_record returned -2: the 3 bytes are no record: the value's length is malformed or leads outside"},
      {"payload:\x01\x02x\x01",
       "write_record returned -2: the 4 bytes are no record: the number of headers is malformed or more than there can be"},
      {"payload:\x01\x02x\0y"s,
       "write_record returned -2: the 5 bytes are no record: bytes follow the number of headers, which is 0"},
      {"payload:\x01\x02x\x02\x02y",
       "write_record returned -2: the 6 bytes are no record: the headers are malformed or do not end with it"},
      {"options:\x02\x02t",
       "write_record_with_options returned -2: its options are malformed: the only option is 1, a topic's name"},
      {"options:\x01\x04t",
       "write_record_with_options returned -2: its options are malformed: the length of the topic's name is not that of the "
       "rest"},
      {"options:\x01\x02\xff", "write_record_with_options returned -2: its options are malformed: the topic's name is not UTF-8"},
      {"options:\x01\x02t",
       "write_record_with_options returned -3: \"t\" is no output topic: the transform has \"out\""},
  };
  for (const auto& [value, text] : cases) {
    EXPECT_THAT(line_for(value, one), ElementsAre(at_101(text)));
  }
}

TEST(Refusal, OfATopicNamesTheFirstEightChoices) {
  EXPECT_THAT(line_for("options:\x01\x02t", with_topics({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})),
              ElementsAre(at_101("write_record_with_options returned -3: \"t\" is no output topic: the transform has \"a\", "
                                 "\"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\" and 2 more")));
  bench b("odd_bad_write", {}, with_topics({}));
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"any"}), out);
  EXPECT_EQ(end.why->refusal(), "write_record returned -3: the transform has no output topic");
}

TEST(Refusal, IsInTheErrorOfAGuestThatEndsAtThatRecordAndOfNoOther) {
  bench b("odd_bad_write", with_output_limit(64 << 10));
  const std::string large(70'000, 'x');
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  auto end = b.transform(kafka::values({"payload:", large}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
  EXPECT_EQ(end.why->refusal(), "write_record returned -3: the record has 70005 bytes and output_buffer_limit is 65536");
  EXPECT_THAT(end.message(), HasSubstr(std::string(end.why->refusal())));
  EXPECT_EQ(end.why->guest_stderr(), "bad_write: write failed");

  ASSERT_TRUE(succeeded(b.start()));
  end = b.transform(kafka::values({"payload:", "payload-size:-1"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL);
  EXPECT_EQ(end.why->refusal(), "") << "that was another record";

  ASSERT_TRUE(succeeded(b.start()));
  ASSERT_TRUE(succeeded(b.transform(kafka::values({"payload:"}), out)));
  end = b.transform(kafka::values({"payload-size:-1"}), out);
  EXPECT_EQ(end.why->refusal(), "") << "that was the same record of another batch";
}

TEST(Refusal, OfManyWritesIsFewLines) {
  bench b("odd_bad_write");
  const auto out = b.run(std::vector<std::string>(5'000, "payload:"));
  EXPECT_THAT(out.reports(), AllOf(SizeIs(5'000), Each("-2")));
  const auto lines = b.log->texts_from(WASM_LOG_SOURCE_LIBRARY);
  EXPECT_GE(lines.size(), 1U);
  EXPECT_LT(lines.size(), 1'000U) << "one a second";
}

TEST(Refusal, OfTheSchemaRegistryAndOfRandomBytesIsToldToo) {
  {
    bench b("rust_sr_unused");
    b.run({"sr"});
    EXPECT_THAT(b.log->texts_from(WASM_LOG_SOURCE_LIBRARY),
                ElementsAre(testing::MatchesRegex(".* returned -1: the host has no schema registry")));
  }
  bench b("t_last_words");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"r"}), out);
  EXPECT_EQ(end.why->refusal(), "random_get returned 28: 262145 bytes are more than 262144");
}

// ---- Standard error ----

outcome ends_with(bench& b, const std::vector<std::string>& values) {
  EXPECT_TRUE(succeeded(b.start()));
  recorder out;
  return b.transform(kafka::values(values), out);
}

TEST(LastWords, OfARustPanicAreItsPlaceAndItsText) {
  bench b("rust_panic");
  const auto end = ends_with(b, {"a", "boom"});
  EXPECT_THAT(std::string(end.why->guest_stderr()),
              AllOf(StartsWith("thread 'main'"), HasSubstr("panicked at panic/src/main.rs:"),
                    testing::EndsWith(":\nboom, as the record asked")));
  EXPECT_THAT(end.message(), HasSubstr("\n  stderr: boom, as the record asked\n"));
}

TEST(GoGuestLastWords, OfAGoPanicAreItsFirstLineSlow) {
  auto transform = with_topics({"out"});
  transform.env = {{"ROUTE_MIN", "none"}};
  bench b("go_rekey", {}, transform);
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_EXIT);
  EXPECT_EQ(end.why->guest_stderr(), "panic: ROUTE_MIN must be a number");
}

TEST(LastWords, AreThoseOfTheRecordAndNotOfAnother) {
  bench b("t_last_words");
  EXPECT_EQ(ends_with(b, {"w one", "w two", "d"}).why->guest_stderr(), "");
  EXPECT_EQ(ends_with(b, {"w one", "n two"}).why->guest_stderr(), "n two") << "also without a newline";
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(kafka::values({"w one"}), out)));
  EXPECT_EQ(b.transform(kafka::values({"d"}), out).why->guest_stderr(), "") << "another batch";
}

TEST(LastWords, AreUtf8WithoutControlCharacters) {
  bench b("t_last_words");
  EXPECT_EQ(ends_with(b, {"n \xff\x1b[1m \xc3\xa9"}).why->guest_stderr(), "n \\xff\\u{1b}[1m \xc3\xa9");
}

TEST(LastWords, AreKeptWhenTheLogsLimitLeavesThemOut) {
  wasm_runtime_config config{};
  config.log_lines_per_second = 1;
  config.log_burst_lines = 1;
  bench b("t_last_words", config);
  std::vector<std::string> values(1'000, "w flood");
  values.push_back("n the reason");
  const auto end = ends_with(b, values);
  EXPECT_THAT(b.log->texts_from(WASM_LOG_SOURCE_GUEST), Not(testing::Contains("n the reason")));
  EXPECT_EQ(end.why->guest_stderr(), "n the reason");
}

// ---- Memory ----

TEST(MemoryFigures, AreTheSizeThatWasReachedTheWantedOneAndTheLimit) {
  wasm_runtime_config config{};
  config.memory_limit = 8 << 20;
  bench b("t_last_words", config);
  const auto end = ends_with(b, {"m"});
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_MEMORY_LIMIT);
  EXPECT_EQ(end.why->memory_size(), 262'144U);
  EXPECT_EQ(end.why->memory_wanted(), 262'144U + (1ULL << 30));
  EXPECT_THAT(end.message(), HasSubstr("after its memory of 262144 bytes was not allowed to grow to 1074003968 bytes "
                                       "(memory_limit is 8388608)"));
  const auto other = ends_with(b, {"d"});
  EXPECT_EQ(other.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(other.why->memory_size(), 262'144U);
  EXPECT_EQ(other.why->memory_wanted(), 0U);
}

TEST(MemoryFigures, OfATableAreInTheMessage) {
  wasm_runtime_config config{};
  config.table_limit = 1'000;
  bench b("t_last_words", config);
  const auto end = ends_with(b, {"t"});
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(end.message(), HasSubstr("after its tables of 1 elements were not allowed to grow to 10000001 elements "
                                       "(table_limit is 1000)"));
  EXPECT_EQ(end.why->memory_wanted(), 0U);
}

TEST(LastWords, AreEmptyForErrorsWithoutAGuest) {
  bench b("c_identity");
  recorder out;
  ASSERT_TRUE(succeeded(b.start()));
  auto broken = kafka::values({"a"}).encode();
  broken[20] ^= 0xFF;
  const auto end = finish(b.engine.transform(broken, out));
  ASSERT_NE(end.status, WASM_STATUS_OK);
  EXPECT_THAT(std::string(end.why->guest_stderr()), IsEmpty());
  EXPECT_EQ(end.why->memory_size(), 0U);
}

}  // namespace
