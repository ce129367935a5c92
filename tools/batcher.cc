// SPDX-License-Identifier: Apache-2.0
#include "batcher.hh"

#include "line_reader.hh"

#include <utility>

namespace tool {

namespace {
/// A batch is also full at this size.
constexpr std::size_t full_batch = 1U << 20;
}  // namespace

batcher::batcher(const settings& s, deliver_function deliver)
    : _settings(s), _deliver(std::move(deliver)), _lanes(s.workers) {}

void batcher::add(std::string_view text, input_batch::part p, std::optional<std::size_t> route) {
  const auto worker = route ? *route % _settings.workers : _turn;
  auto& to = _lanes[worker];
  auto& all = to.batch.text;
  if (all.capacity() == 0) {
    all.reserve(_usual + line_reader::padding);
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
  _usual = all.size() + all.size() / 8;
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
