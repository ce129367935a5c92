// SPDX-License-Identifier: Apache-2.0
//
// Payloads, options and pointers: expanded code for records does what the calls do.
#include "support/scripts.hh"

#include <random>

using namespace record_calls;

namespace {

/// Reads each record and writes it.
script copies_all() {
  script s;
  s.read();
  s.unless_over(4);
  s.hash();
  s.end();
  s.write_last();
  s.again(0, many);
  return s;
}

TEST(RecordPayloads, OfEachSizeAreReadAndWritten) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4 << 20;
  in_both([](world& w) {
    const std::vector<std::pair<std::size_t, std::size_t>> ranges[] = {
        {{0, 300}},
        {{8'185, 8'200}, {0, 3}},
        {{65'520, 65'540}, {0, 200}},
        {{60'000, 60'003}, {131'060, 131'072}, {0, 100}},
        {{131'073, 131'074}, {0, 5}, {200'000, 200'000}},
    };
    for (const auto& of : ranges) {
      std::vector<kafka::payload> records;
      for (const auto& [from, to] : of) {
        for (auto size = from; size <= to; ++size) {
          std::string value(size, 0);
          for (std::size_t i = 0; i < size; ++i) {
            value[i] = static_cast<char>(i * 7 + size);
          }
          records.push_back(kafka::value(std::move(value)));
        }
      }
      EXPECT_TRUE(succeeded(w.run(copies_all(), records)));
    }
    EXPECT_EQ(w.output_records, 301 + 20 + 222 + 118 + 9);
  }, config);
}

TEST(RecordPayloads, OfEachShapeAreReadAndWritten) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4 << 20;
  in_both([](world& w) {
    const std::vector<std::vector<std::pair<std::string, kafka::field>>> headers = {
        {}, {{"", std::nullopt}}, {{"a", "b"}}, {60, {"name", "value"}}, {9'000, {"", ""}}};
    for (const std::size_t value : {-2, -1, 0, 1, 63, 64, 8'191, 8'192, 16'384, 60'000, (1 << 20) - 1, 1 << 20}) {
      std::vector<kafka::payload> records;
      // Without a value as large as those, more of the batch is read without a call.
      for (const std::size_t key : {-1, 0, 1, 62, 63, 64, 200, 300}) {
        for (const auto& h : headers) {
          if (value < 60'000 || value > 1 << 20 || key < 64) {
            const auto field = [](std::size_t size) {
              return size > 1 << 20 ? std::nullopt : kafka::field(std::string(size, 'x'));
            };
            records.push_back({field(key), field(value), h});
          }
        }
      }
      EXPECT_TRUE(succeeded(w.run(copies_all(), records)));
    }
    EXPECT_GT(w.output_records, 300U);
  }, config);
}

/// A record that is written before each of which that is not sure: a call that is refused is followed by calls until
/// one succeeds.
constexpr word good = 0x70000;

void put_good(script& s) { s.put(good, kafka::view(kafka::bytes{1, 2, 'g', 0})); }

/// Writes payloads, each where the guest's memory ends and in the middle of it.
void write_all(world& w, const std::vector<kafka::bytes>& payloads) {
  for (std::size_t next = 0; next < payloads.size();) {
    script s(2'400);
    put_good(s);
    s.read();
    for (; next < payloads.size() && s.has_room(6); ++next) {
      const auto size = static_cast<word>(payloads[next].size());
      s.put(memory_end - size, payloads[next]);
      s.write(good, 4);
      s.write(memory_end - size, size);
      // What follows would make other payloads of them.
      s.copy(buffer + 1, memory_end - size, size);
      s.write(good, 4);
      s.write(buffer + 1, size);
    }
    s.hash();
    EXPECT_TRUE(succeeded(w.run(s)));
  }
}

TEST(RecordPayloads, OfFourBytesAreValidOrNot) {
  in_both([](world& w) {
    constexpr std::uint8_t bytes[] = {0, 1, 2, 3, 4, 0x7e, 0x80, 0x81, 0xff};
    std::vector<kafka::bytes> payloads = {{}, {0}, {1}, {1, 1}, {1, 1, 0}, {0, 0, 0}, {1, 1, 1}, {3, 1, 0}};
    for (const auto a : bytes) {
      for (const auto b : bytes) {
        for (const auto c : bytes) {
          payloads.push_back({a, b, c, 0});
          payloads.push_back({a, b, c, 2});
          payloads.push_back({a, b, c, 0x80, 0});
          payloads.push_back({a, b, c, 1, 0});
        }
      }
    }
    write_all(w, payloads);
    EXPECT_GT(w.output_records, 30U);
  });
}

TEST(RecordPayloads, ThatAreMalformedAreRefused) {
  in_both([](world& w) {
    std::vector<kafka::bytes> payloads;
    const auto number = [](std::int64_t value, int padding) {
      kafka::bytes out;
      kafka::put_varint(out, value);
      for (; padding > 0; --padding) {
        out.back() |= 0x80;
        out.push_back(0);
      }
      return out;
    };
    for (const std::int64_t key : {-2, -1, 0, 1, 62, 63, 64, 300}) {
      for (const std::int64_t value : {-2, -1, 0, 1, 63, 64, 127, 128, 8'191, 8'192}) {
        for (const int key_padding : {0, 1, 9}) {
          for (const int padding : {0, 1, 2, 3, 8}) {
            if (key_padding > 0 && padding > 1) {
              continue;
            }
            // So many bytes more or less than there should be.
            for (const int more : {-1, 0, 1}) {
              kafka::bytes p = number(key, key_padding);
              p.resize(p.size() + static_cast<std::size_t>(std::max<std::int64_t>(key, 0)), 'k');
              kafka::append(p, kafka::view(number(value, padding)));
              const auto content = std::max<std::int64_t>(std::min<std::int64_t>(value, 200) + more, 0);
              p.resize(p.size() + static_cast<std::size_t>(content), 2);
              p.push_back(0);
              payloads.push_back(std::move(p));
            }
          }
        }
      }
    }
    // Cut everywhere.
    for (const auto& whole : {kafka::payload{"key", "value", {}}, kafka::payload{"key", "value", {{"h", "v"}}},
                              kafka::value(std::string(70, 'v'))}) {
      const auto bytes = whole.encode();
      for (std::size_t size = 0; size < bytes.size(); ++size) {
        payloads.emplace_back(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      }
    }
    write_all(w, payloads);
    EXPECT_GT(w.output_records, 100U);
  });
}

TEST(RecordPayloads, OfRandomBytesAreValidOrNot) {
  in_both([](world& w) {
    std::mt19937 random(16);
    constexpr std::uint8_t bytes[] = {0, 0, 0, 1, 1, 2, 4, 6, 8, 10, 12, 16, 0x7e, 0x80, 0x81, 0x82, 0x90, 0xff};
    std::vector<kafka::bytes> payloads(6'000);
    for (auto& p : payloads) {
      p.resize(4 + random() % 10);
      for (auto& b : p) {
        b = bytes[random() % std::size(bytes)];
      }
      p.back() = random() % 4 == 0 ? p.back() : 0;
    }
    write_all(w, payloads);
    EXPECT_GT(w.output_records, 100U);
  });
}

/// Numbers for pointers and lengths, mostly wrong ones, for a memory that ends there.
std::vector<word> places(std::uint64_t end) {
  std::vector<word> out = {0, 1, 0x7fff'ffff, 0x8000'0000, 0xffff'fff7, 0xffff'ffff};
  for (const std::uint64_t before : {0, 1, 3, 4, 7, 8, 13, 14}) {
    out.push_back(static_cast<word>(end - before));
    if (before < 2) {
      out.push_back(static_cast<word>(end + before));
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

/// The script for one pointer or length of a call.
using placed = std::function<void(script&, word)>;

const placed calls_with_a_place[] = {
    [](script& s, word at) { s.read_to(at, 8, 16, buffer, buffer_size); },
    [](script& s, word at) { s.read_to(0, at, 16, buffer, buffer_size); },
    [](script& s, word at) { s.read_to(0, 8, at, buffer, buffer_size); },
    [](script& s, word at) { s.read_to(0, 8, 16, at, 64); },
    [](script& s, word at) { s.read_to(0, 8, 16, at, 14); },
    [](script& s, word length) { s.read_to(0, 8, 16, buffer, length); },
    [](script& s, word at) { s.write(at, 14); },
    [](script& s, word at) { s.write(at, 4); },
    [](script& s, word length) { s.write(buffer, length); },
    [](script& s, word at) { s.write_with(buffer, 14, at, 6); },
    [](script& s, word at) { s.write_with(buffer, 14, at, 0); },
    [](script& s, word at) { s.write_with(at, 14, buffer + 100, 5); },
    [](script& s, word length) { s.write_with(buffer, 14, buffer + 100, length); },
};

TEST(RecordPointers, ThatLeadOutsideEndTheGuestAsTheCallsDo) {
  wasm_runtime_config config{};
  config.core_dumps = 1;
  in_both([](world& w) {
    for (const auto& call : calls_with_a_place) {
      // Those that fit are in one batch, as far as the first that does not.
      for (const auto at : places(memory_end)) {
        script s;
        s.read();
        s.put(buffer + 100, kafka::view(kafka::bytes{1, 6, 'o', 'u', 't'}));
        s.write_with(buffer, 14, buffer + 100, 5);
        s.write_with(buffer, 14, buffer + 100, 5);
        s.copy(memory_end - 14, buffer, 14);
        call(s, at);
        s.read();
        w.run(s);
      }
    }
    EXPECT_GT(w.output_records, 200U);
  }, config);
}

TEST(RecordPointers, InAMemoryOf4GiB) {
  wasm_runtime_config config{};
  config.memory_limit = std::uint64_t{4} << 30;
  in_both([](world& w) {
    script grows;
    grows.grow((1 << 16) - guest_pages);
    if (!succeeded(w.run(grows)) || w.last_report.size() < 4 || w.last_report[0] != guest_pages) {
      w.note("this machine has not so much address space");
    }
    const auto grown = [&] {
      script s;
      s.grow(0);
      s.grow((1 << 16) - guest_pages);
      s.read();
      s.put(buffer + 100, kafka::view(kafka::bytes{1, 6, 'o', 'u', 't'}));
      s.write_with(buffer, 14, buffer + 100, 5);
      s.copy(0U - 14, buffer, 14);
      return s;
    };
    for (const auto& call : calls_with_a_place) {
      for (const auto at : places(std::uint64_t{1} << 32)) {
        auto s = grown();
        call(s, at);
        s.hash(0U - 64, 64);
        w.run(s);
      }
    }
    // Payloads whose lengths lead over the end of what 32 bits can say.
    for (const word size : {4, 5, 6, 7, 8, 16, 66, 80}) {
      auto s = grown();
      put_good(s);
      for (const std::uint8_t key : {0, 1, 2, 4, 6, 8, 10, 12, 30, 124, 126}) {
        for (const std::uint8_t value : {0, 1, 2, 4, 0x80, 0xfe}) {
          kafka::bytes p(size, value);
          p[0] = key;
          s.put(0U - size, p);
          s.write(good, 4);
          s.write(0U - size, size);
          s.write(good, 4);
          p.back() = 0;
          s.put(0U - size, p);
          s.write(0U - size, size);
        }
      }
      EXPECT_TRUE(succeeded(w.run(s)));
    }
  }, config);
}

TEST(RecordPointers, ThatOverlap) {
  in_both([](world& w) {
    for (word shift = 0; shift < 40; ++shift) {
      script s;
      const word at = buffer + shift;
      s.read_to(at, buffer + 8, buffer + 16, buffer, 64);
      s.hash(buffer - 64, 192);
      s.read_to(buffer, at, buffer + 16, buffer + 4, 64);
      s.hash(buffer - 64, 192);
      s.read_to(buffer + 3, buffer + 8, at, buffer + 4, 64);
      s.hash(buffer - 64, 192);
      s.read_to(at, at, at, at, 64);
      s.hash(buffer - 64, 192);
      s.write(buffer, 14);
      s.write(at, 14);
      s.write_with(buffer, 14, at, 5);
      s.write_with(buffer, 14, at, 5);
      EXPECT_TRUE(succeeded(w.run(s)));
    }
  });
}

kafka::bytes topic_option(std::string_view name) {
  kafka::bytes out = {1};
  kafka::put_varint(out, static_cast<std::int64_t>(name.size()));
  kafka::append(out, name);
  return out;
}

/// Topics with names of each length.
std::vector<std::string> topics_of_each_length() {
  std::vector<std::string> out;
  for (std::size_t size = 1; size <= 80; ++size) {
    out.push_back("t" + std::string(size - 1, static_cast<char>('a' + size % 26)));
  }
  return out;
}

TEST(RecordOptions, NameTopics) {
  const auto topics = topics_of_each_length();
  in_both([&](world& w) {
    std::vector<kafka::bytes> all = {{}, {1, 0}, {1}, {2}, {1, 1}, {1, 4, 't'}, {0}, {0, 0, 0, 0}, {1, 2, 0x80},
                                     {1, 2, 't', 't'}, {1, 0x82, 0, 't'}, topic_option("unknown"),
                                     topic_option("unknown, and longer than sixteen bytes"),
                                     topic_option(std::string(70'000, 't')), kafka::bytes(66, 1)};
    for (const auto& name : topics) {
      all.push_back(topic_option(name));
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      script s(700);
      const auto& options = all[i];
      const auto size = static_cast<word>(options.size());
      s.read();
      const auto whole = s.data(kafka::view(options));
      s.copy(buffer + 200, whole, size);
      s.copy(memory_end - size, whole, size);
      for (int times = 0; times < 3; ++times) {
        s.write_with(buffer, 14, buffer + 200, size);
        s.write_with(buffer, 14, memory_end - size, size);
      }
      s.write(buffer, 14);
      s.write_with(buffer, 14, buffer + 200, size);
      // Each other byte, and other lengths.
      for (word other = 0; other < std::min<word>(size, 80); ++other) {
        // What is refused closes the control. So what is not comes before each.
        s.write_with(buffer, 14, buffer + 200, size);
        s.fill(buffer + 200 + other, 't', 1);
        s.write_with(buffer, 14, buffer + 200, size);
        s.copy(buffer + 200, whole, size);
        s.write_with(buffer, 14, buffer + 200, size);
        if (size < 100) {
          s.write_with(buffer, 14, buffer + 200, other);
        }
      }
      // By turns with another topic, and after the next read.
      const auto& next = all[(i + 1) % all.size()];
      const auto next_at = s.data(kafka::view(next));
      for (int times = 0; times < 3; ++times) {
        s.write_with(buffer, 14, buffer + 200, size);
        s.write_with(buffer, 14, next_at, static_cast<word>(next.size()));
        s.read();
      }
      s.hash();
      EXPECT_TRUE(succeeded(w.run(s)));
    }
    EXPECT_GT(w.output_records, 3'000U);
  }, wasm_runtime_config{}, "r_driver", topics);
}

TEST(RecordOptions, AreForgottenWithTheirGuest) {
  in_both([](world& w) {
    const auto options = topic_option("other");
    const auto size = static_cast<word>(options.size());
    for (int times = 0; times < 3; ++times) {
      script s;
      s.read();
      s.put(buffer + 200, options);
      s.write_with(buffer, 14, buffer + 200, size);
      s.write_with(buffer, 14, buffer + 200, size);
      if (times == 1) {
        s.trap();
      }
      w.run(s);
      if (times == 0) {
        w.ended(finish(w.engine.stop()));
      }
    }
    EXPECT_EQ(w.output_records, 4U);
  }, wasm_runtime_config{}, "r_driver", std::vector<std::string>{"out", "other"});
}

TEST(RecordOptions, WithoutTopicsAllIsRefused) {
  in_both([](world& w) {
    script s;
    s.read();
    for (int times = 0; times < 4; ++times) {
      s.write(buffer, 14);
      s.write_with(buffer, 14, s.data(kafka::view(topic_option("out"))), 5);
      s.write_with(buffer, 14, 0, 0);
      s.read();
    }
    s.hash();
    EXPECT_TRUE(succeeded(w.run(s)));
    s.trap();
    w.run(s);
    EXPECT_EQ(w.output_records, 0U);
  }, wasm_runtime_config{}, "r_driver", std::vector<std::string>{});
}

}  // namespace
