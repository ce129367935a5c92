// SPDX-License-Identifier: Apache-2.0
//
// Records without a batch, as C gives them, and output taken apart.
#pragma once

#include "c_sink.hh"

#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace testing_support {

namespace we = wasmengine;

/// Records and what they point to.
struct given_records {
  explicit given_records(const std::vector<std::string>& values) {
    for (const auto& v : values) {
      add({std::nullopt, v, {}}, 100 + static_cast<std::int64_t>(content.size()), 1000);
    }
  }
  explicit given_records(kafka::batch b) {
    for (auto& r : b.records) {
      add(std::move(r.content), b.base_offset + r.offset_delta, b.base_timestamp + r.timestamp_delta);
    }
  }
  given_records(const given_records&) = delete;
  given_records& operator=(const given_records&) = delete;

  void add(kafka::payload p, std::int64_t offset, std::int64_t timestamp) {
    content.push_back(std::move(p));
    const auto& kept = content.back();
    we::payload view{kept.key, kept.value, {}};
    for (const auto& [k, v] : kept.headers) {
      view.headers.push_back({k, v});
    }
    list.add(view, offset, timestamp);
  }
  std::span<const wasm_record> all() { return list.all(); }

  std::deque<kafka::payload> content;
  we::record_list list;
};

inline wasm_status begin_records(const we::engine& engine, std::span<const wasm_record> records, c_sink& sink,
                          wasm_future** future, std::uint32_t first = 0, wasm_error** error = nullptr) {
  const auto raw = sink.raw();
  const wasm_transform_records_args args{sizeof(args), records.data(), records.size(), &raw, first};
  return wasm_engine_transform_records(engine.get(), &args, future, error);
}

inline kafka::field random_field(std::mt19937& random, bool may_be_large) {
  switch (random() % 5) {
    case 0:
      return std::nullopt;
    case 1:
      return "";
    default: {
      const std::size_t size = may_be_large && random() % 50 == 0 ? 70'000 : random() % 200;
      return std::string(size, static_cast<char>('a' + random() % 26));
    }
  }
}

/// Takes records apart by hand and compares with what the library says.
struct parsed_recorder {
  std::vector<kafka::payload> records;
  std::vector<std::int64_t> offsets;

  void operator()(we::parsed_block block) {
    for (const auto& r : block) {
      kafka::payload p;
      const auto text = [](wasm_field f) {
        const auto view = we::payload::view(f);
        return view ? kafka::field(std::string(*view)) : std::nullopt;
      };
      p.key = text(r.payload.key);
      p.value = text(r.payload.value);
      for (std::size_t i = 0; i < r.payload.header_count; ++i) {
        p.headers.emplace_back(*text(r.payload.headers[i].key), text(r.payload.headers[i].value));
      }
      EXPECT_EQ(p, kafka::payload::decode({r.record.payload, r.record.payload_size}));
      records.push_back(std::move(p));
      offsets.push_back(r.record.input_offset);
    }
  }
};

}  // namespace testing_support
