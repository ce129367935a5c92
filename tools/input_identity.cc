// SPDX-License-Identifier: Apache-2.0
#include "input_identity.hh"

#include "module/sha256.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <sys/stat.h>
#include <unistd.h>

namespace tool {

namespace {
constexpr std::size_t checked = 64U << 10;
}  // namespace

input_identity::input_identity(int file) {
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    return;  // no run can go on with it
  }
  _device = status.st_dev;
  _inode = status.st_ino;
  _size = static_cast<std::uint64_t>(status.st_size);
  _begin.resize(std::min<std::uint64_t>(_size, checked));
  std::size_t size = 0;
  while (size < _begin.size()) {
    const auto got = ::pread(file, _begin.data() + size, _begin.size() - size, static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      break;  // whoever reads the input says so
    }
    size += static_cast<std::size_t>(got);
  }
  _begin.resize(size);
}

nlohmann::json input_identity::saved() const {
  return {{"device", _device}, {"inode", _inode}, {"size", _size}, {"begin", checksum(_size)}};
}

bool input_identity::goes_on(const nlohmann::json& saved) const {
  const std::uint64_t size = saved.at("size");
  return saved.at("device") == _device && saved.at("inode") == _inode && size <= _size && saved.at("begin") == checksum(size);
}

/// Of the first bytes that a file of this size has.
std::string input_identity::checksum(std::uint64_t size) const {
  return sha256({reinterpret_cast<const std::uint8_t*>(_begin.data()), std::min<std::uint64_t>(size, _begin.size())});
}

}  // namespace tool
