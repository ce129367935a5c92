// SPDX-License-Identifier: Apache-2.0
#include "file_lock.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace tool {

file_lock::file_lock(std::string path, const std::string& message) : _path(std::move(path)) {
  do {
    _file = descriptor(::open(_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (_file.get() < 0) {
      throw failure(exit_code::other, fmt::format("cannot create {}: {}", _path, std::strerror(errno)));
    }
    while (::flock(_file.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        throw failure(exit_code::usage, message);
      }
      if (errno != EINTR) {
        throw failure(exit_code::other, fmt::format("cannot lock {}: {}", _path, std::strerror(errno)));
      }
    }
    // Who had it may have removed the file since it was opened: that lock keeps nobody out.
  } while (!is_there());
  struct stat status {};
  if (::fstat(_file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != 0) {
    throw failure(exit_code::usage, fmt::format("{} is in the way: it is no lock", _path));
  }
}

file_lock::~file_lock() {
  if (is_there()) {
    ::unlink(_path.c_str());
  }
}

/// Whether the file that is locked has the name.
bool file_lock::is_there() const noexcept {
  struct stat ours {};
  struct stat named {};
  return ::fstat(_file.get(), &ours) == 0 && ::lstat(_path.c_str(), &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

}  // namespace tool
