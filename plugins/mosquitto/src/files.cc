// SPDX-License-Identifier: Apache-2.0
#include "files.hh"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace mosquitto_wasm {

std::string read_file(const std::string& path) {
  errno = 0;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) {
    throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  std::string content;
  char piece[65536];
  while (const auto size = std::fread(piece, 1, sizeof(piece), file.get())) {
    content.append(piece, size);
  }
  if (std::ferror(file.get()) != 0) {
    throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  return content;
}

}  // namespace mosquitto_wasm
