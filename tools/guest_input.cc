// SPDX-License-Identifier: Apache-2.0
#include "guest_input.hh"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace tool {

namespace {

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

wasmengine::payload payload_of(const wasm_payload& raw) {
  wasmengine::payload p{wasmengine::payload::view(raw.key), wasmengine::payload::view(raw.value), {}};
  for (const auto& h : std::span(raw.headers, raw.header_count)) {
    p.headers.push_back({*wasmengine::payload::view(h.key), wasmengine::payload::view(h.value)});
  }
  return p;
}

}  // namespace

void guest_input::clear() {
  _items.clear();
  _groups.clear();
  _list.clear();
  _builders.clear();
  _batches.clear();
  _records = _bytes = 0;
  _first_record = 0;
  _now = _time.value_or(now_ms());
}

void guest_input::add(const record& r, const input_batch& all, std::size_t part) {
  const auto& p = all.parts[part];
  const auto offset = r.offset ? *r.offset : static_cast<std::int64_t>(p.index);
  const auto size = size_of(r.payload);
  _items.push_back({{offset, p.line, p.index, r.partition, part, all.parts.size(), all.parts.front().line, all.parts.back().line, 0},
                    size, r.payload.value});
  _list.add(r.payload, offset, r.timestamp.value_or(_now));
  ++_records;
  _bytes += size;
  if (_groups.empty()) {
    _groups.push_back({0, 0, false});
  }
  ++_groups.back().records;
}

void guest_input::add_raw(const input_batch& all, std::size_t part) {
  const auto& p = all.parts[part];
  _groups.push_back({_items.size(), p.records, true});
  _items.push_back({{0, p.line, p.index, {}, 0, p.records, p.line, p.line + p.records - 1, p.position}, p.size, {}});
  _batches.push_back(wasmengine::as_bytes(wasmengine::as_slice(all.text_of(p))));
  _records += p.records;
  _bytes += p.size;
}

std::optional<guest_input::refused> guest_input::pack(wasm_compression compression) {
  _groups.clear();
  const auto all = _list.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& from = _items[i].from;
    // Offsets ascend within a batch and are within 31 bits of its first. A batch is of one partition.
    const bool fits = !_groups.empty() && from.offset > _items[i - 1].from.offset &&
                      from.partition == _items[i - 1].from.partition &&
                      from.offset - _items[_groups.back().first].from.offset < std::numeric_limits<std::int32_t>::max();
    if (!fits) {
      _groups.push_back({i, 0, false});
      _builders.push_back(wasmengine::batch_builder::create({from.offset, compression}).value());
    }
    if (const auto added = _builders.back().add(all[i].timestamp, payload_of(all[i].payload), from.offset); !added) {
      return refused{from.line, added.err().what()};
    }
    ++_groups.back().records;
  }
  for (auto& builder : _builders) {
    _batches.push_back(builder.finish().value());
  }
  return std::nullopt;
}

std::size_t guest_input::bytes_of(std::size_t batch, std::size_t records) const {
  const auto& g = _groups[batch];
  if (g.raw) {
    return records == g.records ? _items[g.first].size : 0;
  }
  std::size_t sum = 0;
  for (std::size_t i = 0; i < records; ++i) {
    sum += _items[g.first + i].size;
  }
  return sum;
}

guest_input::origin guest_input::origin_of(std::size_t batch, std::size_t index, std::int64_t offset) const {
  const auto& g = _groups[batch];
  if (!g.raw) {
    return _items[g.first + index].from;
  }
  auto from = _items[g.first].from;
  from.offset = offset;
  from.line += index;
  from.index += index;
  from.in_batch = index;
  return from;
}

wasmengine::field guest_input::value_of(std::size_t batch, std::size_t index) const {
  const auto& g = _groups[batch];
  return g.raw ? std::nullopt : _items[g.first + index].value;
}

std::size_t guest_input::records_before(std::size_t batch, std::size_t index) const noexcept {
  std::size_t sum = index;
  for (std::size_t i = 0; i < batch && i < _groups.size(); ++i) {
    sum += _groups[i].records;
  }
  return std::min(sum, _records);
}

}  // namespace tool
