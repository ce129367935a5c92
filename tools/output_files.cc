// SPDX-License-Identifier: Apache-2.0
#include "output_files.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace tool {

namespace {

[[noreturn]] void fail(const char* verb, const std::string& path) {
  throw failure(exit_code::other, fmt::format("cannot {} {}: {}", verb, path, std::strerror(errno)));
}

/// The permissions that a new file would have or those of the file that will be replaced.
mode_t permissions(const struct stat* old) {
  if (old != nullptr) {
    return old->st_mode & 0777;
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

/// Bytes of a file's name on Linux.
constexpr std::size_t longest_name = NAME_MAX;

/// The file of a topic. A topic's name has up to 249 bytes: `.ndjson` would then be a byte too much.
std::string file_name(std::string_view topic, std::string_view suffix) {
  const bool fits = topic.size() + suffix.size() <= longest_name;
  return fmt::format("{}{}", topic, fits ? suffix : ".jsonl");
}

/// Follows a symbolic link so that its target is replaced and not the link.
std::string resolved(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) {
    return path;
  }
  std::string result(real);
  std::free(real);
  return result;
}

}  // namespace

output_file::output_file(const std::string& path) : _path(path == "-" ? "standard output" : resolved(path)) {
  if (path == "-") {
    _file = descriptor(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (_file.get() < 0) {
      fail("open", _path);
    }
    return;
  }
  struct stat old {};
  const bool exists = ::stat(_path.c_str(), &old) == 0;
  if (exists && !S_ISREG(old.st_mode)) {
    _file = descriptor(::open(_path.c_str(), O_WRONLY | O_CLOEXEC));
    if (_file.get() < 0) {
      fail("open", _path);
    }
    return;
  }
  const auto slash = _path.rfind('/');
  const auto name = slash == _path.npos ? 0 : slash + 1;
  constexpr std::size_t added = sizeof("..XXXXXX.tmp") - 1;
  std::string temporary =
      fmt::format("{}.{}.XXXXXX.tmp", _path.substr(0, name), _path.substr(name, longest_name - added));
  _file = descriptor(::mkostemps(temporary.data(), 4, O_CLOEXEC));
  if (_file.get() < 0) {
    fail("create", _path);
  }
  _temporary = std::move(temporary);
  (void)::fchmod(_file.get(), permissions(exists ? &old : nullptr));
}

output_file::~output_file() { remove(); }

void output_file::remove() noexcept {
  if (!_temporary.empty()) {
    ::unlink(_temporary.c_str());
  }
}

void output_file::write(std::string_view bytes) {
  try {
    write_all(_file.get(), bytes);
  } catch (const std::system_error& e) {
    throw failure(exit_code::other, fmt::format("cannot write {}: {}", _path, e.code().message()));
  }
}

void output_file::commit() {
  if (::close(_file.release()) != 0) {
    fail("write", _path);
  }
  if (_temporary.empty()) {
    return;
  }
  if (::rename(_temporary.c_str(), _path.c_str()) != 0) {
    fail("create", _path);
  }
  _temporary.clear();
}

output_files::output_files(const settings& s, const std::vector<std::string>& topics)
    : _topics(topics.size()), _file_per_topic(!s.directory.empty()) {
  _files.reserve(topics.size() + 1);
  if (!_file_per_topic) {
    _files.emplace_back(s.file);
  } else {
    if (::mkdir(s.directory.c_str(), 0777) != 0 && errno != EEXIST) {
      fail("create the directory", s.directory);
    }
    for (const auto& topic : topics) {
      _files.emplace_back(fmt::format("{}/{}", s.directory, file_name(topic, s.suffix)));
    }
  }
  if (!s.dead_letters.empty()) {
    _files.emplace_back(s.dead_letters);
  }
}

void output_files::remove() noexcept {
  for (auto& file : _files) {
    file.remove();
  }
}

void output_files::commit() {
  for (auto& file : _files) {
    file.commit();
  }
}

}  // namespace tool
