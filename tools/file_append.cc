// SPDX-License-Identifier: Apache-2.0
#include "file_append.hh"

#include "exit_code.hh"
#include "file.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>  // renameat2
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace tool {

namespace {

constexpr std::size_t block = 1U << 20;

[[noreturn]] void fail(const char* verb, const std::string& path) {
  throw failure(exit_code::other, fmt::format("cannot {} {}: {}", verb, path, std::strerror(errno)));
}

/// Bytes at a place of a file, fewer at its end.
std::string read_at(const descriptor& file, const std::string& path, std::uint64_t at, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const auto got = ::pread(file.get(), bytes.data() + filled, size - filled, static_cast<off_t>(at + filled));
    if (got < 0 && errno != EINTR) {
      fail("read", path);
    }
    if (got == 0) {
      break;
    }
    filled += static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  }
  bytes.resize(filled);
  return bytes;
}

/// How many of the source's first bytes the target has at `position`. If something else follows there, whole lines
/// only: somebody's line may begin as the next one of the source does.
std::uint64_t appended(const descriptor& source, const std::string& from, const descriptor& target, const std::string& to,
                       std::uint64_t position) {
  std::uint64_t same = 0;
  std::uint64_t lines = 0;  // bytes of whole lines in that
  for (;;) {
    const auto ours = read_at(source, from, same, block);
    const auto theirs = read_at(target, to, position + same, block);
    const auto end = std::mismatch(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(std::min(ours.size(), theirs.size())),
                                   theirs.begin());
    const auto size = static_cast<std::size_t>(end.first - ours.begin());
    if (const auto newline = ours.rfind('\n', size == 0 ? 0 : size - 1); size > 0 && newline != ours.npos) {
      lines = same + newline + 1;
    }
    same += size;
    if (size == theirs.size() && size < block) {
      return same;  // nothing follows
    }
    if (size < block) {
      return lines;
    }
  }
}

/// Some lines from a place on, which is a line's beginning or within one. Others may append between two writes.
std::string whole_lines(const descriptor& file, const std::string& path, std::uint64_t at) {
  for (auto size = block;; size *= 2) {
    auto lines = read_at(file, path, at, size);
    if (const auto newline = lines.rfind('\n'); newline != lines.npos) {
      lines.resize(newline + 1);
      return lines;
    }
    if (lines.size() < size) {
      return lines;
    }
  }
}

}  // namespace

std::uint64_t append_position(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
    return 0;
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  return read_at(open_input(path), path, size - 1, 1) == "\n" ? size : size + 1;
}

void append_file(const std::string& from, const std::string& to, std::uint64_t position) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0 || errno == ENOENT) {
    return;
  }
  const auto source = open_input(from);
  const descriptor target(::open(to.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  struct stat status {};
  if (target.get() < 0 || ::fstat(target.get(), &status) != 0) {
    fail("open", to);
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  auto at = appended(source, from, target, to, position);
  // A line that was cut off is continued if it is ours, and ends otherwise.
  const bool continues = at > 0 && read_at(source, from, at - 1, 1) != "\n";
  std::string lines = size > 0 && !continues && read_at(target, to, size - 1, 1) != "\n" ? "\n" : "";
  for (;;) {
    const auto more = whole_lines(source, from, at);
    lines += more;
    at += more.size();
    try {
      write_all(target.get(), lines);
    } catch (const std::system_error& e) {
      throw failure(exit_code::other, fmt::format("cannot write {}: {}", to, e.code().message()));
    }
    if (more.empty()) {
      break;
    }
    lines.clear();
  }
  if (::fdatasync(target.get()) != 0 && errno != EINVAL) {
    fail("write", to);
  }
  if (::unlink(from.c_str()) != 0) {
    fail("remove", from);
  }
}

}  // namespace tool
