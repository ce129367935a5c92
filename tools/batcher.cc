// SPDX-License-Identifier: Apache-2.0
#include "batcher.hh"

#include "line_reader.hh"

#include <utility>

namespace tool {

namespace {
/// A batch is also full at this size. It and its output then fit into the caches of a processor.
constexpr std::size_t full_batch = 256U << 10;
}  // namespace

batcher::batcher(const settings& s, deliver_function deliver)
    : _settings(s), _deliver(std::move(deliver)), _lanes(s.workers) {}

void batcher::add(std::string_view text, input_batch::part p, std::optional<std::size_t> route) {
  const auto worker = route ? *route % _settings.workers : _turn;
  auto& to = _lanes[worker];
  auto& all = to.batch.text;
  if (to.batch.parts.empty()) {
    all.reserve(_usual_bytes + line_reader::padding);
    to.batch.parts.reserve(_usual_parts);
  }
  p.begin = all.size();
  p.size = text.size();
  all += text;
  to.batch.parts.push_back(p);
  to.records += p.records;
  if (to.records >= _settings.batch_size || all.size() >= full_batch) {
    deliver(worker);
    if (!route) {
      _turn = (_turn + 1) % _settings.workers;
    }
  }
}

void batcher::deliver(std::size_t worker) {
  auto& from = _lanes[worker];
  auto& all = from.batch.text;
  _usual_bytes = all.size() + all.size() / 8;
  _usual_parts = from.batch.parts.size();
  all.reserve(all.size() + line_reader::padding);
  from.records = 0;
  _deliver(worker, std::exchange(from.batch, {}));
}

void batcher::flush() {
  for (std::size_t worker = 0; worker < _lanes.size(); ++worker) {
    if (!_lanes[worker].batch.parts.empty()) {
      deliver(worker);
    }
  }
}

}  // namespace tool
