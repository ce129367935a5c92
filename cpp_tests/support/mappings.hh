// SPDX-License-Identifier: Apache-2.0
//
// What this process has from the system: mappings, machine code among them, resident memory, open files.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace testing_support {

/// Mappings, as /proc/self/maps lists them.
struct mappings {
  std::uint64_t count = 0;
  std::uint64_t executable = 0;  ///< Bytes that can be run and belong to no file: compiled modules.

  static mappings now() {
    mappings out;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      std::istringstream in(line);
      std::uint64_t begin = 0;
      std::uint64_t end = 0;
      char dash = 0;
      std::string rights;
      std::string offset;
      std::string device;
      std::string inode;
      std::string name;
      in >> std::hex >> begin >> dash >> end >> rights >> offset >> device >> inode >> name;
      ++out.count;
      // `[vdso]` and the like have names.
      if (rights.find('x') != std::string::npos && inode == "0" && name.empty()) {
        out.executable += end - begin;
      }
    }
    return out;
  }
};

inline std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  statm >> pages >> resident;
  return resident * 4'096;
}

inline std::uint64_t open_files() {
  std::uint64_t count = 0;
  DIR* files = opendir("/proc/self/fd");
  while (const auto* entry = readdir(files)) {
    count += entry->d_name[0] != '.' ? 1U : 0U;
  }
  closedir(files);
  return count;
}

}  // namespace testing_support
