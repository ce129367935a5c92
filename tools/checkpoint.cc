// SPDX-License-Identifier: Apache-2.0
#include "checkpoint.hh"

#include "exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <unistd.h>
#include <utility>

namespace tool {

namespace {
using nlohmann::json;
constexpr int version = 3;
// A disk does not mind that often, and a run that is killed has not much to do again.
constexpr std::chrono::milliseconds interval(250);
constexpr std::uint64_t much = 16U << 20;

std::uint64_t bytes_of(const checkpoint_state& s) {
  return std::accumulate(s.files.sizes.begin(), s.files.sizes.end(), std::uint64_t{0});
}
}  // namespace

checkpoint::checkpoint(std::string path, std::string run, input_identity input)
    : _path(std::move(path)),
      _run(std::move(run)),
      _input(std::move(input)),
      _lock(_path + ".lock", fmt::format("another run uses the checkpoint {}", _path)) {}

std::optional<checkpoint_state> checkpoint::read() const {
  if (!std::filesystem::exists(_path)) {
    return std::nullopt;
  }
  const auto refuse = [this](const std::string& why) {
    return failure(exit_code::usage, fmt::format("the checkpoint {} {}; remove it to begin anew", _path, why));
  };
  const auto text = read_text(_path);
  const auto saved = json::parse(text, nullptr, false);
  try {
    if (!saved.is_object() || saved.at("version") != version) {
      throw refuse("is not of this version of wasm-transform");
    }
    const auto here = json::parse(_run);
    for (const auto& [name, value] : here.items()) {
      if (saved.at("run").value(name, json()) != value) {
        throw refuse(fmt::format("is of another run: {} has changed", name));
      }
    }
    if (!_input.goes_on(saved.at("input"))) {
      throw refuse("is of another run: the input was replaced, or its beginning has changed");
    }
    checkpoint_state s;
    s.progress.place = {saved.at("position"), saved.at("line"), saved.at("records")};
    s.progress.records_behind = saved.at("records_behind");
    s.progress.records_in = saved.at("records_in");
    s.progress.lost = saved.at("lost");
    s.files.sizes = saved.at("sizes").get<std::vector<std::uint64_t>>();
    s.files.append_at = saved.at("append_at");
    s.columns = saved.at("columns").get<std::vector<std::string>>();
    s.complete = saved.at("complete");
    return s;
  } catch (const json::exception& e) {
    throw refuse("is damaged");
  }
}

bool checkpoint::is_due(const checkpoint_state& s) const noexcept {
  return std::chrono::steady_clock::now() - _last >= interval || bytes_of(s) >= _bytes + much;
}

void checkpoint::write(const checkpoint_state& s, output_files& files) {
  // Only then may the checkpoint say that it is there.
  files.sync();
  const json state{{"version", version},
                   {"run", json::parse(_run)},
                   {"input", _input.saved()},
                   {"position", s.progress.place.position},
                   {"line", s.progress.place.line},
                   {"records", s.progress.place.records},
                   {"records_behind", s.progress.records_behind},
                   {"records_in", s.progress.records_in},
                   {"lost", s.progress.lost},
                   {"sizes", s.files.sizes},
                   {"append_at", s.files.append_at},
                   {"columns", s.columns},
                   {"complete", s.complete}};
  output_file file(_path, output_file::mode::replace, true);
  file.write(state.dump() + '\n');
  file.sync();
  file.commit();
  _last = std::chrono::steady_clock::now();
  _bytes = bytes_of(s);
}

void checkpoint::remove() const {
  if (::unlink(_path.c_str()) != 0 && errno != ENOENT) {
    throw failure(exit_code::other, fmt::format("cannot remove {}: {}", _path, std::strerror(errno)));
  }
}

}  // namespace tool
