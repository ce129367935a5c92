// SPDX-License-Identifier: Apache-2.0
#include "watch.hh"

#include "../interruption.hh"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <thread>

namespace tool {

namespace {

namespace fs = std::filesystem;

constexpr auto pause = std::chrono::milliseconds(200);

bool is_built(const fs::path& directory) {
  static const std::array<std::string, 4> built = {"build", "target", ".git", "node_modules"};
  return std::find(built.begin(), built.end(), directory.filename().string()) != built.end();
}

}  // namespace

void watch::wait() {
  while (look() == _seen) {
    interruption::check();
    std::this_thread::sleep_for(pause);
  }
  // An editor may write several files.
  for (auto now = look();; now = look()) {
    std::this_thread::sleep_for(pause);
    if (look() == now) {
      _seen = std::move(now);
      return;
    }
  }
}

watch::files watch::look() const {
  files seen;
  std::error_code error;
  const auto add = [&seen](const fs::path& file) {
    std::error_code gone;
    const auto time = fs::last_write_time(file, gone);
    const auto size = gone ? 0 : fs::file_size(file, gone);
    if (!gone) {
      seen[file] = {time, size};
    }
  };
  for (const auto& path : _paths) {
    if (fs::is_regular_file(path, error)) {
      add(path);
      continue;
    }
    for (auto file = fs::recursive_directory_iterator(path, error); file != fs::recursive_directory_iterator(); file.increment(error)) {
      if (error) {
        break;
      }
      if (file->is_directory(error) && is_built(file->path())) {
        file.disable_recursion_pending();
      } else if (file->is_regular_file(error)) {
        add(file->path());
      }
    }
  }
  return seen;
}

}  // namespace tool
