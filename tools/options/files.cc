// SPDX-License-Identifier: Apache-2.0
#include "files.hh"

#include "values.hh"

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace tool {

namespace {

namespace fs = std::filesystem;

/// The path without links and dots, as far as it is there.
fs::path canonical(const std::string& path) {
  std::error_code e;
  auto out = fs::weakly_canonical(fs::absolute(path, e), e);
  return e ? fs::path(path).lexically_normal() : out;
}

/// Devices and pipes may be several of them.
bool is_file(const std::string& path) {
  std::error_code e;
  return !path.empty() && path != "-" && (!fs::exists(path, e) || fs::is_regular_file(path, e));
}

}  // namespace

void check_files(const run_options& o) {
  if (o.dead_letters == "-" && o.output_directory.empty() && o.output == "-") {
    wrong("--dead-letter and --output are the same: standard output");
  }
  std::vector<std::pair<const char*, std::string>> files;
  const auto add = [&](const char* option, const std::string& path) {
    if (is_file(path)) {
      files.emplace_back(option, path);
    }
  };
  if (o.output_directory.empty()) {
    add("--output", o.output);
  }
  add("--dead-letter", o.dead_letters);
  add("--checkpoint", o.checkpoint);
  add("--output-places", o.places);
  add("--profile", o.profile);
  add("--coredump", o.coredump);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto path = canonical(files[i].second);
    for (std::size_t k = 0; k < i; ++k) {
      std::error_code e;
      if (canonical(files[k].second) == path || fs::equivalent(files[k].second, files[i].second, e)) {
        wrong(fmt::format("{} and {} are the same file", files[i].first, files[k].first));
      }
    }
    if (!o.output_directory.empty() && path.parent_path() == canonical(o.output_directory)) {
      wrong(fmt::format("{} is in the directory of --output-dir, where the output files get their names", files[i].first));
    }
  }
}

}  // namespace tool
