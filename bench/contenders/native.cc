// SPDX-License-Identifier: Apache-2.0
//
// The same work without a sandbox, in C++: bench-native. Its records are parsed outside of the timed loop, and what it
// writes is the reference for all others.
//
// Compiled with BENCH_COPIES it is bench-memcpy, the floor: each payload is copied twice, to where a guest would have
// it and from there to the output, and nothing is done.
#include "contender.hh"

#include "work.h"

using namespace bench;

namespace {

/// Output goes here, over and over: room for some hundred small records, or one large one, that stays in a cache near
/// by.
constexpr std::size_t block_size = 64 * 1024;

class worker {
 public:
  worker(const std::string& work, view input) : _header(read_header(input)), _records(read_records(_header)) {
    std::size_t largest = 0;
    for (const auto& r : _records) {
      largest = std::max(largest, r.payload.size());
    }
    _middle.resize(largest);
    _block.resize(std::max(block_size, largest + WORK_MORE));
    if (work == "identity") {
      _work = identity;
    } else if (work == "filter") {
      _work = filter;
    } else if (work == "redact") {
      _work = redact;
    } else if (work == "route") {
      _work = route;
    } else {
      fail("unknown work " + work);
    }
  }

#ifdef BENCH_COPIES
  void batch(tally& out) {
    std::size_t used = 0;
    for (const auto& r : _records) {
      const std::size_t size = r.payload.size();
      std::memcpy(_middle.data(), r.payload.data(), size);
      keep(_middle);
      used = used + size > _block.size() ? 0 : used;
      std::memcpy(_block.data() + used, _middle.data(), size);
      keep(_block);
      out.look(_block.data() + used, size);
      used += size;
      ++out.records;
      out.bytes += size;
    }
  }
  void collect(canonical& out) {
    for (const auto& r : _records) {
      out.add(0, r.payload);
    }
  }
#else
  void batch(tally& out) {
    std::size_t used = 0;
    for (const auto& r : _records) {
      used = used + r.value.size() + WORK_MORE > _block.size() ? 0 : used;
      const result done = _work(r.value, _block.data() + used);
      keep(_block);
      if (done.written) {
        out.look(_block.data() + used, done.size);
        used += done.size;
        ++out.records;
        out.bytes += r.payload_size(done.size);
      }
    }
  }
  void collect(canonical& out) {
    for (const auto& r : _records) {
      if (const result done = _work(r.value, _block.data()); done.written) {
        out.add(done.topic, r, view(_block.data(), done.size));
      }
    }
  }
#endif

 private:
  struct result {
    bool written;
    std::uint32_t topic;
    std::size_t size;
  };
  static result identity(view value, std::uint8_t* out) {
    std::memcpy(out, value.data(), value.size());
    return {true, 0, value.size()};
  }
  static result filter(view value, std::uint8_t* out) {
    return work_keeps(value.data(), value.size()) ? identity(value, out) : result{false, 0, 0};
  }
  static result redact(view value, std::uint8_t* out) {
    return {true, 0, work_redact(value.data(), value.size(), out)};
  }
  static result route(view value, std::uint8_t* out) {
    result r = identity(value, out);
    r.topic = work_topic(value.data(), value.size());
    return r;
  }

  bench::batch _header;
  std::vector<record> _records;
  result (*_work)(view, std::uint8_t*) = identity;
  bytes _middle;
  bytes _block;
};

}  // namespace

int main(int argc, char** argv) {
  const options o = parse_options(argc, argv);
  const bytes input = read_file(o.input);
#ifdef BENCH_COPIES
  const char* const name = "memcpy";
#else
  const char* const name = "native";
#endif
  return run(name, __VERSION__, o, static_cast<std::size_t>(read_header(input).record_count),
             [&] { return std::make_unique<worker>(o.work, input); });
}
