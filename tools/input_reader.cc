// SPDX-License-Identifier: Apache-2.0
#include "input_reader.hh"

#include "csv.hh"
#include "encoding.hh"
#include "json_reader.hh"
#include "json_text.hh"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace tool {

namespace {

line_reader::framing framing_of(format shape) {
  if (shape == format::csv) {
    return line_reader::framing::quotes;
  }
  return has_objects(shape) ? line_reader::framing::objects : line_reader::framing::delimiter;
}

}  // namespace

input_reader::input_reader(const settings& s, const record_reader::settings& shape, std::vector<std::string>& columns,
                           input_stream& input, std::deque<worker>& workers, failures& failed, traffic& passed)
    : _settings(s),
      _shape(shape),
      _columns(columns),
      _input(input),
      _workers(workers),
      _failed(failed),
      _passed(passed),
      _records(shape),
      _has_routes(workers.size() > 1 && (has_objects(shape.shape) || !shape.key_field.empty())),
      _batches({workers.size(), s.batch_size},
               [this](std::size_t worker, input_batch batch) { _workers[worker].input().push(std::move(batch)); }),
      _index(s.begin.place.records),
      _before(s.begin.place) {}

void input_reader::run() noexcept {
  try {
    try {
      if (_shape.shape == format::batches) {
        read_batches();
      } else {
        read_lines();
      }
    } catch (const failure& e) {
      const auto where = _shape.shape == format::batches ? fmt::format("{}: behind record {}", _settings.name, _index)
                                                         : fmt::format("{}:{}", _settings.name, _line);
      // Of all that was read nothing comes behind it.
      _failed.add(_shape.shape == format::batches ? _index + 1 : _line,
                  failure(e.code(), fmt::format("{}: {}", where, printable(e.what()))));
    }
    _batches.flush();
  } catch (const std::exception& e) {
    _failed.add(_line, failure(exit_code::other, e.what()));
  }
  for (auto& w : _workers) {
    w.input().close();
  }
}

void input_reader::read_lines() {
  line_reader lines(_input, _settings.delimiter, framing_of(_shape.shape), _shape.separator);
  if (_shape.shape != format::lines) {
    lines.skip_mark();
  }
  _line = 1;
  if (_shape.shape == format::csv) {
    read_header(lines);
  }
  if (_settings.begin.place.position > 0) {
    lines.skip_to(_settings.begin.place.position, _settings.begin.place.line);
    _line = lines.end_line() + 1;
  }
  while (!_failed.any()) {
    const auto text = lines.next();
    if (!text) {
      break;
    }
    _line = lines.line();
    if (!record_reader::is_blank(_shape.shape, *text)) {
      const auto index = _index++;
      add(*text, {0, 0, _line, index, 1, _before});
      _before = {lines.end_position(), lines.end_line(), _index};
    }
    _line = lines.end_line() + 1;
  }
}

void input_reader::read_header(line_reader& lines) {
  const auto header = lines.next();
  if (header) {
    auto columns = split_row(*header, _shape.separator);
    if (!is_utf8(*header)) {
      throw failure(exit_code::bad_input, "the header is not valid UTF-8");
    }
    if (const auto twice = find_twice(columns)) {
      throw failure(exit_code::bad_input, fmt::format("the header has the column \"{}\" twice", excerpt(*twice)));
    }
    _columns = std::move(columns);
    if (_on_columns) {
      _on_columns();
    }
    if (!_shape.key_field.empty() && std::find(_columns.begin(), _columns.end(), _shape.key_field) == _columns.end()) {
      throw failure(exit_code::bad_input, fmt::format("the header has no column \"{}\" to be the key (--key-field)",
                                                      _shape.key_field));
    }
  }
}

void input_reader::read_batches() {
  batch_reader batches(_input, _settings.uncommitted, _settings.partial_batch);
  if (_settings.begin.place.position > 0) {
    batches.skip_to(_settings.begin.place.position);
  }
  while (!_failed.any()) {
    const auto batch = batches.next();
    if (!batch) {
      break;
    }
    const auto index = _index;
    _index += batches.records();
    add(wasmengine::as_text(wasmengine::as_slice(*batch)),
        {0, 0, index + 1, index, batches.records(), _before, batches.begin_position()});
    _before = {batches.end_position(), 0, _index};
  }
  _remarks = batches.remarks();
}

void input_reader::add(std::string_view text, input_batch::part p) {
  // Before a worker has it. No other thread writes.
  auto& read = _passed.records_read;
  read.store(read.load(std::memory_order_relaxed) + p.records, std::memory_order_release);
  const auto route = _shape.shape == format::batches ? std::optional<std::size_t>(0) : route_of(text);
  _batches.add(text, p, route);
}

/// Records of a partition always go to the same worker. So do records with the same key that have no partition.
std::optional<std::size_t> input_reader::route_of(std::string_view text) {
  if (!_has_routes) {
    return std::nullopt;
  }
  try {
    _records.clear();
    const auto r = _records.read(text);
    if (r.partition) {
      return static_cast<std::size_t>(*r.partition);
    }
    if (r.payload.key) {
      return std::hash<std::string_view>{}(*r.payload.key);
    }
  } catch (const failure&) {
    // Whoever gets the line says so.
  }
  return std::nullopt;
}

}  // namespace tool
