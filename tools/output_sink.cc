// SPDX-License-Identifier: Apache-2.0
#include "output_sink.hh"

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace tool {

wasm_callback_result output_sink::operator()(wasmengine::parsed_block block, wasmengine::output_call call) {
  std::vector<std::string> files(_to.files.count());
  reserve(block, files);
  std::size_t next = 0;
  for (const auto& run : call.batches()) {
    for (std::size_t i = 0; i < run.record_count && !_error; ++i, ++next) {
      const auto& record = block[next];
      // After a failure what came before is written.
      if (!_to.batches || !_to.files.is_topic(record.record.topic)) {
        write(run.batch, record, files);
      }
    }
  }
  if (_to.batches) {
    pack(block, files);
  }
  _before_block();
  _settled = false;
  bool room = true;
  for (std::size_t file = 0; file < files.size(); ++file) {
    if (!files[file].empty()) {
      room = _to.output.submit(file, std::move(files[file])) && room;
    }
  }
  if (_error) {
    return WASM_CALLBACK_RESULT_FAILED;
  }
  if (room) {
    _settled = true;
    return WASM_CALLBACK_RESULT_DONE;
  }
  auto promise = call.later().value();
  _to.output.when_room(std::move(promise));
  return WASM_CALLBACK_RESULT_PENDING;
}

/// So that the text need not be moved while it grows.
void output_sink::reserve(wasmengine::parsed_block block, std::vector<std::string>& files) const {
  constexpr std::size_t around = 16;
  std::vector<std::size_t> sizes(files.size());
  for (const auto& record : block) {
    sizes[_to.files.file_of(record.record.topic)] += record.record.payload_size + around;
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    files[i].reserve(sizes[i]);
  }
}

void output_sink::write(std::size_t batch, const wasm_parsed_record& record, std::vector<std::string>& files) {
  const auto& raw = record.record;
  auto& lines = files[_to.files.file_of(raw.topic)];
  written_record r;
  r.key = wasmengine::payload::view(record.payload.key);
  r.value = wasmengine::payload::view(record.payload.value);
  r.headers = {record.payload.headers, record.payload.header_count};
  r.topic = raw.topic;
  r.timestamp = raw.input_timestamp;
  r.offset = raw.input_offset;
  r.ordinal = raw.ordinal;
  std::uint64_t line = 0;
  const bool has_origin = raw.input_index != wasmengine::output_record::no_record;
  if (has_origin) {
    const auto from = _records.origin_of(batch, raw.input_index, raw.input_offset);
    r.valid = _to.input_is_json ? _records.value_of(batch, raw.input_index) : std::nullopt;
    line = _records.has_lines() ? from.line : 0;
    r.partition = from.partition;
    r.index = from.index;
  }
  const auto before = lines.size();
  const bool letter = !_to.files.is_topic(raw.topic);
  try {
    (letter ? _to.letter_writer : _to.writer).write(r, lines);
  } catch (const failure& e) {
    lines.resize(before);
    _error = e;
    _offset = raw.input_offset;
    _index = raw.input_index;
    _batch = batch;
    return;
  }
  if (const auto places = _to.files.places(); places && !letter) {
    auto& place = files[*places];
    fmt::format_to(std::back_inserter(place), "{}", lines.size() - before);
    if (has_origin) {
      fmt::format_to(std::back_inserter(place), " {} {} {}", line, r.index, r.offset);
    }
    place += '\n';
  }
  if (!letter) {
    ++_counted.records_out;
    _counted.bytes_out += raw.payload_size;
  }
}

/// A batch for each topic of the block. The files give them their offsets.
void output_sink::pack(wasmengine::parsed_block block, std::vector<std::string>& files) {
  wasmengine::topic_batches all({.compression = *_to.batches, .max_bytes = 64U << 20},
                                [&](std::uint32_t topic, std::span<const std::uint8_t> batch) {
                                  files[_to.files.file_of(topic)] += wasmengine::as_text(wasmengine::as_slice(batch));
                                });
  for (const auto& record : block) {
    if (_to.files.is_topic(record.record.topic)) {
      all.add(wasmengine::output_record(record.record)).value();
      ++_counted.records_out;
      _counted.bytes_out += record.record.payload_size;
    }
  }
  all.flush().value();
}

}  // namespace tool
