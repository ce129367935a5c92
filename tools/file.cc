// SPDX-License-Identifier: Apache-2.0
#include "file.hh"

#include "exit_code.hh"
#include "interruption.hh"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace tool {

descriptor::~descriptor() {
  if (_fd >= 0) {
    ::close(_fd);
  }
}

descriptor open_input(const std::string& path) {
  const int fd = path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    throw failure(exit_code::usage, fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  }
  descriptor file(fd);
  struct stat status {};
  if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    throw failure(exit_code::usage, fmt::format("cannot read {}: it is a directory", path));
  }
  return file;
}

std::vector<std::uint8_t> read_module(const std::string& path) {
  const descriptor file = open_input(path);
  std::vector<std::uint8_t> bytes;
  std::size_t size = 0;
  for (;;) {
    bytes.resize(size + (1U << 20));
    interruption::wait(file.get());
    const auto got = ::read(file.get(), bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      throw failure(exit_code::usage, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    }
    size += static_cast<std::size_t>(got);
    if (got == 0) {
      bytes.resize(size);
      return bytes;
    }
  }
}

std::string read_text(const std::string& path) {
  const auto bytes = read_module(path);
  return {bytes.begin(), bytes.end()};
}

std::string read_token(const std::string& path) {
  auto text = read_text(path);
  while (text.ends_with('\n') || text.ends_with('\r')) {
    text.pop_back();
  }
  if (text.empty() || text.find('\n') != text.npos) {
    throw failure(exit_code::usage, fmt::format("{}: a token is one line", path));
  }
  return text;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category());
    }
    if (written > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
}

}  // namespace tool
