// SPDX-License-Identifier: Apache-2.0
#include "diagnosis.hh"

#include "exit_code.hh"
#include "flame_graph.hh"
#include "output_files.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

namespace tool {

namespace {

using nlohmann::json;

/// Moves a thread of a profile that began at another time. Both times are in milliseconds.
void shift(json& thread, double by) {
  thread["registerTime"] = thread["registerTime"].get<double>() + by;
  thread["processStartupTime"] = thread["registerTime"];
  if (auto& times = thread["samples"]["timeDeltas"]; !times.empty()) {
    times[0] = times[0].get<double>() + by;
  }
}

/// A transform's name as a file name. It may contain anything.
std::string file_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace

void write_profile(const std::string& path, const std::vector<std::string>& profiles) {
  json all;
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    if (profiles[i].empty()) {
      throw failure(exit_code::other, fmt::format("{}: there is no profile of event loop {}", path, i));
    }
    auto profile = json::parse(profiles[i]);
    auto& thread = profile["threads"][0];
    thread["name"] = fmt::format("event loop {}", i);
    thread["tid"] = i;
    if (i == 0) {
      all = std::move(profile);
      continue;
    }
    shift(thread, profile["meta"]["startTime"].get<double>() - all["meta"]["startTime"].get<double>());
    thread["isMainThread"] = false;
    all["threads"].push_back(std::move(thread));
  }
  output_file file(path);
  file.write(path.ends_with(".svg") ? flame_graph(all) : all.dump());
  file.commit();
}

std::string write_coredump(const std::string& path, const std::string& name, const wasmengine::error& why) {
  const auto dump = why.coredump();
  if (!dump) {
    throw failure(exit_code::other, fmt::format("{}: there is no core dump of the guest", path));
  }
  const auto target =
      std::filesystem::is_directory(path) ? (std::filesystem::path(path) / (file_name(name) + ".coredump")).string() : path;
  // The guest's memory has records in it, and its environment, which may have secrets.
  output_file file(target, output_file::mode::replace, true);
  file.write({reinterpret_cast<const char*>(dump->data()), dump->size()});
  file.commit();
  return target;
}

}  // namespace tool
