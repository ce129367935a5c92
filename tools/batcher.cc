// SPDX-License-Identifier: Apache-2.0
#include "batcher.hh"

#include "exit_code.hh"

#include <chrono>
#include <limits>
#include <string_view>
#include <utility>

namespace tool {

namespace {

/// A batch is also full at this size.
constexpr std::size_t full_batch = 1U << 20;
/// When unfinished batches of many partitions reach this size together, they are sent as they are.
constexpr std::size_t full_memory = 64U << 20;

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::size_t size_of(const wasmengine::payload& p) {
  const auto size = [](const wasmengine::field& f) { return f ? f->size() : 0; };
  std::size_t sum = size(p.key) + size(p.value);
  for (const auto& header : p.headers) {
    sum += header.key.size() + size(header.value);
  }
  return sum;
}

}  // namespace

batcher::batcher(const settings& s, deliver_function deliver)
    : _settings(s), _deliver(std::move(deliver)), _by_worker(s.workers) {
  for (std::size_t i = 0; i < s.workers; ++i) {
    _by_worker[i].worker = i;
  }
}

void batcher::add(const record& r, std::uint64_t line) {
  lane& to = lane_of(r);
  auto& origins = to.batch.origins;
  const std::int64_t offset = r.offset.value_or(_count++);
  // Offsets ascend within a batch and are within 31 bits of its first.
  if (!origins.empty() && (offset <= origins.back().offset ||
                           offset - origins.front().offset >= std::numeric_limits<std::int32_t>::max())) {
    deliver(to);
  }
  if (origins.empty()) {
    to.batch.partition = r.partition;
    to.batch.records = wasmengine::batch_builder::create({offset, _settings.compression}).value();
  }
  if (const auto added = to.batch.records.add(r.timestamp ? *r.timestamp : now_ms(), r.payload, offset); !added) {
    throw failure(exit_code::bad_input, added.err().what());
  }
  const std::size_t size = size_of(r.payload);
  origins.push_back({offset, line, size});
  to.bytes += size;
  _bytes += size;

  if (origins.size() >= _settings.batch_size || to.bytes >= full_batch) {
    deliver(to);
    if (!r.partition && !r.payload.key) {
      _turn = (_turn + 1) % _settings.workers;
    }
  } else if (_bytes >= full_memory) {
    flush();
  }
}

batcher::lane& batcher::lane_of(const record& r) {
  if (r.partition) {
    lane& found = _by_partition[*r.partition];
    found.worker = static_cast<std::size_t>(*r.partition) % _settings.workers;
    return found;
  }
  if (r.payload.key) {
    return _by_worker[std::hash<std::string_view>{}(*r.payload.key) % _settings.workers];
  }
  return _by_worker[_turn];
}

void batcher::deliver(lane& from) {
  _bytes -= std::exchange(from.bytes, 0);
  _deliver(from.worker, std::exchange(from.batch, {}));
}

void batcher::flush() {
  const auto flush_lane = [this](lane& l) {
    if (!l.batch.origins.empty()) {
      deliver(l);
    }
  };
  for (auto& l : _by_worker) {
    flush_lane(l);
  }
  for (auto& [partition, l] : _by_partition) {
    flush_lane(l);
  }
}

}  // namespace tool
