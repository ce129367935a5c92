// SPDX-License-Identifier: Apache-2.0
//
// Scripts for wat/r_driver.wat, and what both kinds of code make of them: that in which calls for records are expanded
// and that in which each of them is a call of the host.
#pragma once

#include "c_sink.hh"
#include "metrics.hh"

#include <functional>

namespace record_calls {

namespace we = wasmengine;
using namespace testing_support;
using word = std::uint32_t;

constexpr word page = 64 << 10;
constexpr word guest_pages = 26;
constexpr word memory_end = guest_pages * page;
constexpr word first_operation = 0x1004;
constexpr word results = 0x60000;
constexpr word buffer = 0x80000;
constexpr word buffer_size = memory_end - buffer;
/// In a batch with larger payloads, nothing is expanded.
constexpr word most_bytes = 128 << 10;
/// Operations that a batch may take.
constexpr word many = 10'000'000;

/// Operations and their data. Each method adds an operation and returns its index.
class script {
 public:
  /// Room for so many operations. The data follow.
  explicit script(word most = 512) : _room(most) {}

  word end() { return add({0}); }
  /// Attributes, timestamp and offset go to the first 24 bytes from `out` on.
  word read(word to = buffer, word length = buffer_size, word out = 128) {
    return add({1, out, out + 8, out + 16, to, length});
  }
  word read_to(word attributes, word timestamp, word offset, word to, word length) {
    return add({1, attributes, timestamp, offset, to, length});
  }
  word write(word from, word length) { return add({2, from, length}); }
  word write_with(word from, word length, word options, word options_length) {
    return add({3, from, length, options, options_length});
  }
  /// Writes as many bytes as were read last.
  word write_last(word from = buffer) { return add({4, from}); }
  /// By a table. `how`: 0 the import, 1 a function with a tail call of it.
  word write_by_table(word from, word length, word how) { return add({5, from, length, how}); }
  word copy(word to, word from, word length) { return add({6, to, from, length}); }
  word fill(word at, word value, word length) { return add({7, at, value, length}); }
  word grow(word pages) { return add({8, pages}); }
  word trap() { return add({9}); }
  word exit(word code) { return add({10, code}); }
  word spin() { return add({11}); }
  word time() { return add({12, 160}); }
  word log(const std::string& line) {
    const word text = data(line + "\n");
    std::string vector(8, 0);
    const word length = static_cast<word>(line.size()) + 1;
    std::memcpy(vector.data(), &text, 4);
    std::memcpy(vector.data() + 4, &length, 4);
    return add({13, data(vector), 168});
  }
  /// Goes to an operation so many times.
  word again(word operation, word times) { return add({14, operation, times}); }
  /// Goes to an operation if a record was read.
  word unless_over(word operation) { return add({15, operation}); }
  word hash(word at = 0, word bytes = memory_end) { return add({16, at, bytes / 8}); }
  word report(word at, word bytes) { return add({17, at, bytes}); }
  word wait(word number) { return add({18, number}); }

  /// Where these bytes will be.
  word data(std::string_view bytes) {
    const word at = first_operation + 32 * _room + static_cast<word>(_data.size());
    _data.append(bytes);
    _data.resize((_data.size() + 7) / 8 * 8);
    return at;
  }
  word data(kafka::view bytes) { return data(std::string_view(kafka::text(bytes))); }
  /// Copies these bytes to a place.
  word put(word to, kafka::view bytes) { return copy(to, data(bytes), static_cast<word>(bytes.size())); }

  /// Whether so many operations more fit, with some data.
  [[nodiscard]] bool has_room(std::size_t operations) const {
    return _operations.size() + operations + 8 < _room && 32 * _room + _data.size() < most_bytes - 4'096;
  }

  [[nodiscard]] word size() const { return static_cast<word>(_operations.size()); }

  /// The value of the first record. The guest wants its length to have three bytes.
  [[nodiscard]] std::string value() const {
    EXPECT_LT(_operations.size(), _room);
    std::string all(std::max<std::size_t>(32 * _room + _data.size(), 8'192), 0);
    for (std::size_t i = 0; i < _operations.size(); ++i) {
      std::memcpy(all.data() + 32 * i, _operations[i].data(), 32);
    }
    all.replace(32 * _room, _data.size(), _data);
    EXPECT_LT(all.size(), results - first_operation);
    EXPECT_LT(all.size(), most_bytes) << "of a batch with such a record each call is one of the host";
    return all;
  }

 private:
  word add(std::initializer_list<word> words) {
    std::array<word, 8> operation{};
    std::copy(words.begin(), words.end(), operation.begin());
    _operations.push_back(operation);
    return size() - 1;
  }

  word _room;
  std::vector<std::array<word, 8>> _operations;
  std::string _data;
};

/// A batch of this script and more records.
inline kafka::bytes batch_of(const script& s, const std::vector<kafka::payload>& records,
                             const we::batch_config& config = {1'000}, word steps = many) {
  auto builder = we::batch_builder::create(config).value();
  builder.add(1'700'000'000'000, {std::nullopt, s.value(), {}}).value();
  std::int64_t at = 1;
  for (const auto& r : records) {
    builder.add_encoded(1'700'000'000'000 + 7 * at, r.encode(), 1'000 + 3 * at).value();
    ++at;
  }
  const auto batch = builder.finish().value();
  kafka::bytes out(batch.begin(), batch.end());
  // The leader epoch, which no CRC covers.
  for (int i = 0; i < 4; ++i) {
    out[12 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(steps >> (24 - 8 * i));
  }
  return out;
}

/// So many small records, each with another value.
inline std::vector<kafka::payload> small(std::size_t count, std::size_t size = 11) {
  std::vector<kafka::payload> out;
  for (std::size_t i = 0; i < count; ++i) {
    auto value = std::to_string(i);
    value.resize(std::max(value.size(), size), '.');
    out.push_back(kafka::value(std::move(value)));
  }
  return out;
}

inline std::string number_of(kafka::view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes.data() + i, 8);
    hash = (hash ^ eight) * 0x100000001b3;
    hash ^= hash >> 29;
  }
  for (; i < bytes.size(); ++i) {
    hash = (hash ^ bytes[i]) * 0x100000001b3;
  }
  return std::to_string(bytes.size()) + " bytes " + std::to_string(hash);
}

/// A runtime in which calls are expanded or not, an engine and everything that a host sees of it, as text.
class world {
  std::mutex _mutex;

 public:
  explicit world(bool by_calls, wasm_runtime_config config = {}, std::string_view guest = "r_driver",
                 std::vector<std::string> topics = {"out"})
      : called(by_calls) {
    config.host_record_calls = by_calls ? 1 : 0;
    config.log_lines_per_second = UINT32_MAX;
    runtime = we::runtime::create(config, [this](const we::log_line& line) {
                // Of refusals only some are logged.
                if (line.source == WASM_LOG_SOURCE_GUEST || notes_library) {
                  note("log: " + std::string(line.text));
                }
              }).value();
    we::host_module host("t");
    host.add("report", [this](we::host_call& call, std::span<const std::uint8_t> bytes) {
      note("reported: " + number_of(bytes));
      last_report.assign(bytes.begin(), bytes.end());
      if (on_report) {
        on_report(call);
      }
    });
    host.add("wait", [this](std::int32_t number, we::later<std::int32_t> answer) {
      note("waits", static_cast<std::uint32_t>(number));
      waiting.emplace(std::move(answer));
    });
    runtime.add(host).value();
    // What wat/p_guest.wat wants.
    we::host_module starts("host");
    starts.add("start", [] { return std::int32_t{0}; });
    starts.add("fail", []() -> we::result<void> { return we::error("the host has no answer"); });
    runtime.add(starts).value();
    factory = compile(runtime, guest, with_topics(std::move(topics)));
    engine = we::engine::create(factory).value();
  }
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  void note(std::string line) {
    const std::lock_guard lock(_mutex);
    trace.push_back(std::move(line));
  }
  void note(std::string_view what, std::uint64_t number) { note(std::string(what) + ": " + std::to_string(number)); }

  void operator()(output_block block) {
    note("block", block.size());
    for (const auto& raw : block) {
      const we::output_record r(raw);
      note("  " + std::to_string(r.topic()) + " " + std::to_string(r.input_offset()) + " " +
           std::to_string(r.input_timestamp()) + " " + std::to_string(r.input_index()) + "." +
           std::to_string(r.ordinal()) + " " + number_of(r.payload()));
      output_bytes += r.payload().size();
    }
    output_records += block.size();
  }

  void start() {
    const auto started = finish(engine.start());
    ASSERT_TRUE(succeeded(started));
  }

  /// Notes how an operation ended.
  outcome ended(outcome end) {
    note("end: " + std::string(wasm_status_name(end.status)) + " " + end.message());
    if (end.why) {
      const auto& e = *end.why;
      if (const auto at = e.record()) {
        note("at " + std::to_string(at->index) + " " + std::to_string(at->offset));
      }
      for (const auto& f : e.backtrace()) {
        note("frame " + std::string(f.function) + " " + std::to_string(f.index) + " " + std::string(f.file) + ":" +
             std::to_string(f.line) + ":" + std::to_string(f.column));
      }
      note("stderr: " + std::string(e.guest_stderr()));
      note("refusal: " + std::string(e.refusal()));
      note("memory", e.memory_size());
      note("wanted", e.memory_wanted());
      if (const auto dump = e.coredump()) {
        note("dump: " + number_of(*dump));
            }
    }
    return end;
  }

  /// Starts if it must, transforms, and notes what there is to see, except metrics.
  outcome transform(const kafka::bytes& batch, word from = 0) {
    if (engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
      start();
    }
    return ended(finish(engine.transform_from(batch, from, *this)));
  }
  outcome run(const script& s, const std::vector<kafka::payload>& records = small(8)) {
    return transform(batch_of(s, records));
  }

  void note_metrics() {
    const auto m = only(runtime);
    note("input records", m.raw.input_records);
    note("input bytes", m.raw.input_bytes);
    note("output records", m.raw.output_records);
    note("output bytes", m.raw.output_bytes);
    note("skipped", m.raw.skipped_records);
    note("dead letters", m.raw.dead_lettered_records);
    for (const auto& [status, count] : m.errors) {
      note(wasm_status_name(status), count);
    }
  }

  /// A sink that drops everything.
  struct shed {
    void operator()(output_block) {}
  };

  bool called;
  std::vector<std::string> trace;
  kafka::bytes last_report;
  std::function<void(we::host_call&)> on_report;
  /// The call that waits, or that has waited last.
  std::optional<we::later<std::int32_t>> waiting;
  /// Lines of the library are noted, too.
  bool notes_library = false;
  std::uint64_t output_records = 0, output_bytes = 0;
  we::runtime runtime;
  we::factory factory;
  we::engine engine;
};

/// The same story in both worlds.
inline void expect_same(const std::vector<std::string>& called, const std::vector<std::string>& expanded,
                        std::string_view what = "") {
  const auto [c, e] = std::mismatch(called.begin(), called.end(), expanded.begin(), expanded.end());
  if (c == called.end() && e == expanded.end()) {
    return;
  }
  std::string before;
  for (auto line = c - std::min<std::ptrdiff_t>(6, c - called.begin()); line != c; ++line) {
    before += *line + "\n";
  }
  ADD_FAILURE() << what << " line " << c - called.begin() << " of " << called.size() << " and " << expanded.size()
                << "\n" << before << "called:   " << (c == called.end() ? "the end" : *c)
                << "\nexpanded: " << (e == expanded.end() ? "the end" : *e);
}

/// Does the same in both worlds and compares what they have noted.
template <typename F, typename... Arguments>
void in_both(F&& story, const Arguments&... arguments) {
  std::vector<std::string> called;
  {
    world w(true, arguments...);
    story(w);
    w.note_metrics();
    called = std::move(w.trace);
  }
  EXPECT_GT(called.size(), 6U);
  world w(false, arguments...);
  story(w);
  w.note_metrics();
  expect_same(called, w.trace);
}

}  // namespace record_calls
