// SPDX-License-Identifier: Apache-2.0
//
// What tests have on their bench: guests by name, an engine that runs one, sinks that record.
#pragma once

#include "driver.hh"
#include "kafka.hh"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace testing_support {

using wasmengine::output_block;

/// The bytes of a guest: `c_identity`, … from guests/, `t_…` and `p_…` from cpp_tests/wat.
kafka::bytes module(std::string_view name);

/// Log lines, from any thread.
class log_lines {
 public:
  struct line {
    wasm_log_severity severity;
    bool continues;
    std::string transform;
    std::string text;
    wasm_log_source source;
    std::uint32_t shard;
    const wasm_engine* engine;
    void* user_data;
  };
  void add(const wasmengine::log_line& l) {
    const std::lock_guard lock(_mutex);
    _lines.push_back({l.severity, l.continues, std::string(l.transform), std::string(l.text), l.source, l.shard, l.engine,
                      l.user_data});
  }
  [[nodiscard]] std::vector<line> all() const {
    const std::lock_guard lock(_mutex);
    return _lines;
  }
  [[nodiscard]] std::vector<std::string> texts(wasm_log_severity severity) const {
    std::vector<std::string> out;
    for (const auto& l : all()) {
      if (l.severity == severity) {
        out.push_back(l.text);
      }
    }
    return out;
  }
  [[nodiscard]] std::vector<std::string> texts_from(wasm_log_source source) const {
    std::vector<std::string> out;
    for (const auto& l : all()) {
      if (l.source == source) {
        out.push_back(l.text);
      }
    }
    return out;
  }

 private:
  mutable std::mutex _mutex;
  std::vector<line> _lines;
};

/// An output record, copied and decoded.
struct output {
  std::uint32_t topic;
  std::int64_t input_offset;
  std::int64_t input_timestamp;
  kafka::payload content;
};

/// A sink that keeps everything.
struct recorder {
  std::vector<output> records;
  std::vector<std::size_t> block_bytes;

  void operator()(output_block block) {
    std::size_t bytes = 0;
    for (const auto& raw : block) {
      const wasmengine::output_record r(raw);
      bytes += r.payload().size();
      records.push_back({r.topic(), r.input_offset(), r.input_timestamp(), kafka::payload::decode(r.payload())});
    }
    block_bytes.push_back(bytes);
  }

  [[nodiscard]] std::vector<std::string> values() const {
    std::vector<std::string> out;
    for (const auto& r : records) {
      out.push_back(r.content.value.value_or("(null)"));
    }
    return out;
  }
  /// What the odd guests report: the values of the records with the key `report`.
  [[nodiscard]] std::vector<std::string> reports() const {
    std::vector<std::string> out;
    for (const auto& r : records) {
      if (r.content.key == "report") {
        out.push_back(r.content.value.value_or("(null)"));
      }
    }
    return out;
  }
};

/// What tests of each `wasm_compression` are called.
inline std::string codec_name(wasm_compression codec) {
  static constexpr const char* names[] = {"Plain", "Gzip", "Snappy", "Lz4", "Zstd"};
  return names[codec];
}

/// A batch made by the library's builder.
kafka::bytes built(const std::vector<std::string>& values, const wasmengine::batch_config& config = {100});

wasmengine::transform_config with_topics(std::vector<std::string> topics);

/// A factory, compiled while the caller waits.
wasmengine::factory compile(const wasmengine::runtime& rt, std::string_view guest,
                            const wasmengine::transform_config& transform = with_topics({"out"}));

/// For tests that count polls: a slice so long that no guest which copies a record uses it up, however busy the
/// machine.
inline const wasm_runtime_config unhurried = [] {
  wasm_runtime_config config{};
  config.time_slice_ns = 2'000'000'000;
  return config;
}();

/// A runtime, a factory and an engine around one guest.
class bench {
 public:
  explicit bench(std::string_view guest, const wasm_runtime_config& config = {},
                 const wasmengine::transform_config& transform = with_topics({"out"}));

  outcome start() { return finish(engine.start()); }
  outcome stop() { return finish(engine.stop()); }
  template <typename S>
  outcome transform(kafka::view batch, S& sink) {
    return finish(engine.transform(batch, sink));
  }
  outcome transform(const kafka::batch& batch, recorder& sink) { return transform(batch.encode(), sink); }
  /// Starts if it is stopped, transforms values, and gives the output.
  recorder run(const std::vector<std::string>& values);

  [[nodiscard]] wasm_engine_state state() { return engine.state().value(); }

  // In this order, so that the engine goes first.
  std::shared_ptr<log_lines> log = std::make_shared<log_lines>();
  wasmengine::runtime runtime;
  wasmengine::factory factory;
  wasmengine::engine engine;
};

/// Fails if the engine cannot be started, or does not copy a record.
testing::AssertionResult works(bench& b);

}  // namespace testing_support
