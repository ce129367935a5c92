// SPDX-License-Identifier: Apache-2.0
//
// Batches, their output and their ends: expanded code for records does what the calls do.
#include "support/policy.hh"
#include "support/scripts.hh"

using namespace record_calls;
using testing_support::deaths;

namespace {

/// Values for wat/p_guest.wat: `k1-…`, but these letters at their places.
std::vector<std::string> letters(std::size_t count,
                                 const std::vector<std::pair<std::size_t, std::string>>& others = {}) {
  auto values = values_with('k', count, {});
  for (const auto& [at, letter] : others) {
    values[at] = letter + values[at].substr(letter.size());
  }
  return values;
}

TEST(RecordBatches, OfEachLengthAndCodecAreTheSameFromAnyRecordOn) {
  in_both([](world& w) {
    std::uint64_t expected = 0;
    for (const std::size_t count : {0, 1, 2, 3, 4, 5, 6, 7, 100, 1'021, 1'022, 1'023, 1'024, 1'025, 1'637, 1'638, 1'639,
                                    2'043, 2'044, 2'045, 2'046, 3'000}) {
      const auto values = letters(count);
      for (const auto codec : {WASM_COMPRESSION_NONE, WASM_COMPRESSION_LZ4}) {
        const auto batch = with_gaps(values, codec);
        std::vector<std::size_t> firsts;
        for (const std::size_t from : {0, 1, 3, 5, 1'020, 1'021, 1'022, 1'023, 2'040, 2'999}) {
          if (from == 0 || (from < count && (count > 1'000) == (from > 1'000))) {
            EXPECT_TRUE(succeeded(w.transform(batch, static_cast<word>(from))));
            expected += count - from;
          }
        }
      }
    }
    EXPECT_EQ(w.output_records, expected);
  }, unhurried, "p_guest");
}

TEST(RecordBatches, OfMoreRecordsThanHavePlacesAreTheSame) {
  in_both([](world& w) {
    const auto batch = built(letters(140'000));
    EXPECT_TRUE(succeeded(w.transform(batch)));
    EXPECT_TRUE(succeeded(w.transform(batch, 131'000)));
    EXPECT_EQ(w.output_records, 149'000U);
  }, wasm_runtime_config{}, "p_guest");
}

TEST(RecordBatches, WithOutputOrAnEndBeforeTheirFirstRecordAreTheSame) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    in_both([&](world& w) {
      w.engine.set_policy({.on_error = on_error}).value();
      for (const std::size_t at : {0, 1, 3, 29}) {
        // What wat/p_guest.wat makes of leader epochs.
        for (const std::uint8_t epoch : {1, 2, 3}) {
          auto batch = with_gaps(letters(30, {{at, "u1"}}), WASM_COMPRESSION_NONE);
          batch[12] = batch[13] = batch[14] = 0;
          batch[15] = epoch;
          w.transform(batch);
          w.transform(batch, 4);
        }
      }
      EXPECT_GT(w.output_records, 100U);
    }, wasm_runtime_config{}, "p_guest");
  }
}

TEST(RecordBatches, OfOneCallAreTheSame) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    for (const std::uint64_t limit : {std::uint64_t{20'000}, std::uint64_t{1} << 20}) {
      wasm_runtime_config config{};
      config.output_buffer_limit = limit;
      // Where a slice ends output is delivered sooner. So none ends here.
      config.time_slice_ns = 10'000'000'000;
      in_both([&](world& w) {
        w.engine.set_policy({.on_error = on_error}).value();
        for (const std::size_t failing : {99, 0, 2, 3, 5, 7}) {
          std::vector<kafka::bytes> all;
          for (const std::size_t count : {1, 3, 6, 40, 0, 1'500, 1, 2'100, 5}) {
            auto others = letters(count);
            if (all.size() == failing) {
              others[count / 2].replace(0, 1, "u");
              others.back().replace(0, 1, "p");
            }
            all.push_back(with_gaps(others, all.size() % 3 == 2 ? WASM_COMPRESSION_LZ4 : WASM_COMPRESSION_NONE));
          }
          if (w.engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
            w.start();
          }
          w.ended(finish(w.engine.transform_many(all, w)));
        }
        EXPECT_GT(w.output_records, 7'000U);
      }, config, "p_guest");
    }
  }
}

TEST(RecordBatches, OfTheBrokersTimeAreTheSame) {
  in_both([](world& w) {
    auto builder = we::batch_builder::create({77, WASM_COMPRESSION_ZSTD, 1'700'000'123'456}).value();
    for (const auto& value : letters(50)) {
      builder.add(5, {std::nullopt, value, {}}).value();
    }
    const auto made = builder.finish().value();
    EXPECT_TRUE(succeeded(w.transform({made.begin(), made.end()})));
  }, wasm_runtime_config{}, "p_guest");
}

/// Limits of output that do and do not have room for a whole block.
constexpr std::uint64_t limits[] = {1 << 10, 5'000, 64 << 10, 100'000, 128 << 10, (128 << 10) + 1, 1 << 20};

/// A batch of records whose attributes, timestamps and offsets are not what producers make.
kafka::bytes odd(std::int64_t base_offset, std::int64_t base_timestamp) {
  kafka::batch b;
  b.base_offset = base_offset;
  b.base_timestamp = base_timestamp;
  b.max_timestamp = base_timestamp;
  kafka::bytes body;
  const auto all = letters(40);
  for (std::size_t i = 0; i < all.size(); ++i) {
    kafka::bytes one;
    one.push_back(static_cast<std::uint8_t>(i * 37));
    kafka::put_varint(one, (i % 2 == 0 ? 1 : -1) * static_cast<std::int64_t>(i * i));
    kafka::put_varint(one, static_cast<std::int64_t>(3 * i));
    kafka::append(one, kafka::view(kafka::value(all[i]).encode()));
    kafka::put_varint(body, static_cast<std::int64_t>(one.size()));
    kafka::append(body, kafka::view(one));
  }
  b.body = body;
  b.record_count = static_cast<std::int32_t>(all.size());
  b.last_offset_delta = static_cast<std::int32_t>(3 * all.size() - 3);
  return b.encode();
}

TEST(RecordBatches, OfOddNumbersAreTheSame) {
  wasm_runtime_config config{};
  config.core_dumps = 1;
  in_both([](world& w) {
    const std::int64_t offsets[] = {0, 5'000'000'000, INT64_MAX - 200};
    const std::int64_t timestamps[] = {0, -1, 1'700'000'000'000, INT64_MIN + 2'000, INT64_MAX - 2'000};
    for (const auto offset : offsets) {
      for (const auto timestamp : timestamps) {
        EXPECT_TRUE(succeeded(w.transform(odd(offset, timestamp))));
      }
    }
    EXPECT_EQ(w.output_records, 600U);
  }, config, "p_guest");
}

TEST(RecordOutput, IsDeliveredInTheSameBlocks) {
  for (const auto limit : {limits[0], limits[2], limits[3], limits[6]}) {
    SCOPED_TRACE(limit);
    wasm_runtime_config config = unhurried;
    config.output_buffer_limit = limit;
    in_both([&](world& w) {
      for (const std::size_t size : {3, 40, 500, 998, 6'000, 20'000, 40'000}) {
        for (const word times : {1, 2, 7}) {
          script s;
          s.read();
          s.unless_over(4);
          s.hash();
          s.end();
          for (word i = 0; i < times; ++i) {
            s.write_last();
          }
          s.again(0, many);
          EXPECT_TRUE(succeeded(w.run(s, small(std::min<std::size_t>(1'500, 200'000 / size) + 7, size))));
        }
      }
      EXPECT_GT(w.output_records, 4'000U);
    }, config);
  }
}

TEST(RecordOutput, FillsABlockAtEachPlace) {
  for (const auto limit : {std::uint64_t{64} << 10, std::uint64_t{1} << 20}) {
    wasm_runtime_config config = unhurried;
    config.output_buffer_limit = limit;
    in_both([&](world& w) {
      // One large record first, so that the others end at other places.
      for (word first = 0; first < 40; ++first) {
        script s;
        s.read();
        s.put(buffer + 4'096, kafka::value(std::string(65'000 - 2'000 + first * 13, 'f')).encode());
        s.write(buffer + 4'096, 65'000 - 2'000 + first * 13 + 5);
        s.read();
        s.write_last();
        s.unless_over(3);
        EXPECT_TRUE(succeeded(w.run(s, small(400, 20))));
      }
    }, config);
  }
}

TEST(RecordOutput, BehindALargeRecordIsDeliveredInTheSameBlocks) {
  for (const auto limit : {std::uint64_t{300'000}, std::uint64_t{1} << 20}) {
    SCOPED_TRACE(limit);
    wasm_runtime_config config = unhurried;
    config.output_buffer_limit = limit;
    in_both([&](world& w) {
      for (const word size : {65'536, 65'537, 200'000, 290'000}) {
        for (const word before : {0, 1, 3}) {
          script s;
          s.read();
          s.fill(buffer, 0, size);
          s.put(buffer, kafka::bytes{1, 0x80, 0x80, 0});
          // The length of the value, so that there is no rest.
          kafka::bytes head = {1};
          kafka::put_varint(head, static_cast<std::int64_t>(size - 5));
          s.put(buffer, head);
          for (word i = 0; i < before; ++i) {
            s.write(s.data(kafka::view(kafka::value("before").encode())), 9);
          }
          s.write(buffer, size);
          s.read();
          s.write_last();
          s.unless_over(s.size() - 2);
          EXPECT_TRUE(succeeded(w.run(s, small(3'000, 200))));
        }
      }
      EXPECT_GT(w.output_records, 30'000U);
    }, config);
  }
}

TEST(RecordOutput, OfOneRecordMayBeFarMoreThanItsInput) {
  for (const auto limit : limits) {
    SCOPED_TRACE(limit);
    wasm_runtime_config config = unhurried;
    config.output_buffer_limit = limit;
    in_both([&](world& w) {
      for (const auto& [times, size] : {std::pair<word, word>{5'000, 9}, {300, 700}, {40, 8'000}}) {
        script s;
        s.write(s.data(kafka::view(kafka::value("early").encode())), 8);
        s.read();
        s.put(buffer + 4'096, kafka::value(std::string(size, 'x')).encode());
        const word length = static_cast<word>(kafka::value(std::string(size, 'x')).encode().size());
        for (int records = 0; records < 3; ++records) {
          const auto first = s.write(buffer + 4'096, length);
          s.again(first, times);
          s.read();
          s.write_last();
          s.read();
        }
        const auto last = s.read();
        s.unless_over(last);
        s.write(buffer + 4'096, length);
        s.write(buffer + 4'096, length);
        EXPECT_TRUE(succeeded(w.run(s, small(30))));
      }
    }, config);
  }
}

/// What ends a guest at a record.
TEST(RecordEnds, LoseTheOutputOfTheirRecordAndNoOther) {
  for (const auto limit : limits) {
    SCOPED_TRACE(limit);
    wasm_runtime_config config{};
    config.core_dumps = limit == 1 << 20 ? 1 : 0;
    config.output_buffer_limit = limit;
    in_both([&](world& w) {
      for (const word record : {1, 2, 3, 7, 100}) {
        for (const word writes : {0, 1, 3, 40, 2'100}) {
          const word how = (record + writes / 3) % 4;
          script s;
          // All records before write once, the one before it much more.
          const auto read = s.read();
          s.write_last();
          s.again(read, record - 1);
          if (writes > 0) {
            const auto first = s.write(buffer, 14);
            s.again(first, writes - 1);
          }
          s.read();
          if (writes < 40) {
            s.write_last();
          }
          s.time();
          s.log("the last words");
          switch (how) {
            case 0: s.trap(); break;
            case 1: s.exit(3); break;
            case 2: s.write(memory_end - 4, 5); break;
            default: s.exit(0); break;
          }
          w.output_records = 0;
          const auto end = w.run(s, small(120));
          ASSERT_TRUE(end.why && end.why->record()) << end.message();
          EXPECT_EQ(end.why->record()->index, record + 1);
          EXPECT_EQ(end.why->record()->offset, 1'000 + 3 * (record + 1));
          EXPECT_EQ(end.why->guest_stderr(), "the last words");
          EXPECT_EQ(w.output_records, record + writes) << "record " << record << ", " << writes << " writes";
        }
      }
    }, config);
  }
}

TEST(RecordEnds, ByTheTimeLimitNameTheRecord) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 20'000'000;
  config.time_slice_ns = 1'000'000;
  in_both([&](world& w) {
    for (const word record : {1, 2, 9, 60}) {
      script s;
      const auto read = s.read();
      s.write_last();
      s.again(read, record);
      s.log("it never ends");
      s.spin();
      const auto end = w.run(s, small(100));
      EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT);
      ASSERT_TRUE(end.why && end.why->record());
      EXPECT_EQ(end.why->record()->index, record + 1);
      EXPECT_EQ(end.why->guest_stderr(), "it never ends");
    }
  }, config);
}

TEST(RecordEnds, UnderEachPolicyAreTheSame) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    for (const std::uint64_t limit : {std::uint64_t{20'000}, std::uint64_t{1} << 20}) {
      if (limit < 1 << 20 && on_error != WASM_ON_ERROR_SKIP) {
        continue;
      }
      wasm_runtime_config config{};
      config.record_time_limit_ns = 20'000'000;
      config.output_buffer_limit = limit;
      in_both([&](world& w) {
        w.engine.set_policy({.on_error = on_error}).value();
        for (const auto& death : deaths) {
          const std::string letter{death.letter, '2'};
          for (const std::size_t at : {0, 1, 2, 5, 11, 16, 19}) {
            if (death.letter == 'l' && at != 11) {
              continue;
            }
            const auto codec = at % 2 == 0 ? WASM_COMPRESSION_NONE : WASM_COMPRESSION_LZ4;
            const auto batch = with_gaps(letters(20, {{at, letter}}), codec);
            w.transform(batch);
            w.transform(batch, static_cast<word>(at));
          }
          if (death.letter == 'l') {
            continue;
          }
          // Several, one behind the other, and as the guest asks for the next record.
          w.transform(with_gaps(letters(40, {{1, letter}, {2, letter}, {9, "b3"}, {30, letter}, {39, letter}})));
          w.transform(with_gaps(letters(2'100, {{1'021, letter}, {1'022, letter}, {1'023, letter}, {2'044, letter}})));
        }
        const auto stats = w.engine.stats().value();
        w.note("skipped", stats.skipped);
        w.note("letters", stats.dead_lettered);
        EXPECT_EQ(stats.skipped + stats.dead_lettered > 50, on_error != WASM_ON_ERROR_FAIL);
      }, config, "p_guest");
    }
  }
}

TEST(RecordRefusals, NameTheirRecord) {
  for (const word record : {1, 2, 3, 10}) {
    in_both([&](world& w) {
      w.notes_library = true;
      script s;
      const auto read = s.read();
      s.write_last();
      s.again(read, record - 1);
      s.write(buffer, 15);
      s.read();
      w.run(s, small(30));
      const auto named = std::find_if(w.trace.begin(), w.trace.end(), [&](const auto& line) {
        return line.find("record " + std::to_string(record) + " of the batch (offset " +
                         std::to_string(1'000 + 3 * record) + "): write_record returned -2") != std::string::npos;
      });
      EXPECT_NE(named, w.trace.end());
      script fails;
      fails.read();
      fails.read();
      fails.write(buffer, 15);
      // It is told with an error of the same record only.
      if (record % 2 == 0) {
        fails.read();
      }
      fails.trap();
      w.notes_library = false;
      const auto end = w.run(fails, small(30));
      EXPECT_EQ(end.why->refusal().empty(), record % 2 == 0);
    });
  }
}

TEST(RecordClock, IsThatOfTheRecordInProgress) {
  in_both([](world& w) {
    script s;
    s.time();
    const auto read = s.read();
    s.time();
    s.log("a line of a record");
    s.unless_over(s.size() + 2);
    s.end();
    s.write_last();
    s.time();
    s.again(read, 30);
    EXPECT_TRUE(succeeded(w.run(s, small(60))));
    // The first number is the script's time. Then come those of the records: the second behind each reading.
    ASSERT_GT(w.last_report.size(), 4U * 40);
    std::vector<std::int32_t> results(w.last_report.size() / 4);
    std::memcpy(results.data(), w.last_report.data(), 4 * results.size());
    const auto time = [](std::int64_t at) { return static_cast<std::int32_t>(1'700'000'000'000 + 7 * at); };
    EXPECT_EQ(results[0], time(0));
    EXPECT_EQ(results[2], time(1));
  });
}

TEST(RecordGrowth, BetweenReadingAndWritingIsTheSame) {
  wasm_runtime_config config{};
  config.memory_limit = (guest_pages + 6) * page;
  config.core_dumps = 1;
  in_both([](world& w) {
    for (const word record : {1, 2, 5, 9}) {
      script s;
      const auto read = s.read();
      s.write_last();
      s.grow(record % 3);
      s.write_last(0x90000);
      s.again(read, record);
      for (word i = 0; i < 5; ++i) {
        s.grow(2);
        s.read();
        // At the new end.
        s.write(memory_end, 14);
        s.copy(memory_end + 2 * page - 14, buffer, 14);
        s.write(memory_end + 2 * page - 14, 14);
      }
      // Refused at one record and told only if that one fails.
      s.grow(1'000);
      if (record % 2 == 0) {
        s.read();
      }
      s.write(buffer, 14);
      s.trap();
      const auto end = w.run(s, small(40));
      ASSERT_TRUE(end.why);
      EXPECT_EQ(end.why->memory_wanted() != 0, record % 2 != 0);
      script other;
      for (word i = 0; i < 6; ++i) {
        other.read_to(memory_end - 8 + i * page, 8, 16, memory_end + i * page, 64);
        other.grow(1);
        other.write(memory_end + i * page, 14);
      }
      w.run(other, small(40));
    }
  }, config);
}

}  // namespace
