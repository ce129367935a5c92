// SPDX-License-Identifier: Apache-2.0
#include "output_files.hh"

#include "exit_code.hh"
#include "file_append.hh"
#include "interruption.hh"

#include <fmt/format.h>
#include <wasm_engine/wasm_engine.hh>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
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

/// Of the temporary name of a file that another run may go on with.
constexpr const char* partial_suffix = ".partial";

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

output_file::output_file(const std::string& path, mode how, bool secret)
    : _path(path == "-" ? "standard output" : resolved(path)), _mode(how) {
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
    open_plain(O_WRONLY);
    return;
  }
  if (how == mode::append) {
    open_plain(O_RDWR | O_CREAT | O_APPEND);
    _size = exists ? static_cast<std::uint64_t>(old.st_size) : 0;
    // What was cut off by a crash must not become the beginning of another line.
    char last = '\n';
    if (_size > 0 && ::pread(_file.get(), &last, 1, old.st_size - 1) == 1 && last != '\n') {
      write("\n");
    }
    return;
  }
  if (how == mode::resumable || how == mode::resumable_append) {
    _temporary = _path + partial_suffix;
    _file = descriptor(::open(_temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (_file.get() < 0) {
      fail("create", _temporary);
    }
    // Runs with other checkpoints may write the same dead letters.
    if (::flock(_file.get(), LOCK_EX | LOCK_NB) != 0) {
      throw failure(exit_code::usage, fmt::format("{} is being written by another run", _temporary));
    }
    struct stat now {};
    (void)::fstat(_file.get(), &now);
    _size = static_cast<std::uint64_t>(now.st_size);
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
  if (!secret) {
    (void)::fchmod(_file.get(), permissions(exists ? &old : nullptr));
  }
}

void output_file::open_plain(int flags) {
  _file = descriptor(::open(_path.c_str(), flags | O_CLOEXEC, 0666));
  if (_file.get() < 0) {
    fail("open", _path);
  }
}

output_file::~output_file() { remove(); }

void output_file::remove() noexcept {
  if (!_temporary.empty() && _mode == mode::replace) {
    ::unlink(_temporary.c_str());
  }
}

void output_file::write(std::string_view bytes) {
  try {
    write_all(_file.get(), bytes);
  } catch (const std::system_error& e) {
    if (e.code().value() == EPIPE) {
      // Whoever reads the output has had enough: the run ends as by a signal.
      interruption::pretend(SIGPIPE);
    }
    throw failure(exit_code::other, fmt::format("cannot write {}: {}", _path, e.code().message()));
  }
  _size += bytes.size();
}

std::uint64_t output_file::append_at() const { return _mode == mode::resumable_append ? append_position(_path) : 0; }

void output_file::commit(std::uint64_t append_at) {
  if (::close(_file.release()) != 0) {
    fail("write", _path);
  }
  if (_temporary.empty()) {
    return;
  }
  if (_mode == mode::resumable_append) {
    append_file(_temporary, _path, append_at);
  } else if (::rename(_temporary.c_str(), _path.c_str()) != 0) {
    fail("create", _path);
  }
  _temporary.clear();
}

void output_file::cut(std::uint64_t size) {
  if (size > _size) {
    throw failure(exit_code::usage,
                  fmt::format("{} has {} bytes, but the checkpoint says {}: it was changed since",
                              _temporary.empty() ? _path : _temporary, _size, size));
  }
  if (::ftruncate(_file.get(), static_cast<off_t>(size)) != 0 ||
      ::lseek(_file.get(), static_cast<off_t>(size), SEEK_SET) < 0) {
    fail("cut", _path);
  }
  _size = size;
}

void output_file::sync() {
  if (::fdatasync(_file.get()) != 0 && errno != EINVAL) {
    fail("write", _path);
  }
}

bool output_file::is_terminal() const noexcept { return ::isatty(_file.get()) == 1; }

output_files::output_files(const settings& s, const std::vector<std::string>& topics)
    : _topics(topics.size()), _file_per_topic(!s.directory.empty()), _batches(s.batches), _header(s.header) {
  const auto how = s.resumable ? output_file::mode::resumable : output_file::mode::replace;
  _files.reserve(topics.size() + 1);
  if (!_file_per_topic) {
    _files.emplace_back(s.file, how);
  } else {
    if (::mkdir(s.directory.c_str(), 0777) != 0 && errno != EEXIST) {
      fail("create the directory", s.directory);
    }
    for (const auto& topic : topics) {
      _files.emplace_back(fmt::format("{}/{}", s.directory, file_name(topic, s.suffix)), how);
    }
  }
  if (!s.dead_letters.empty()) {
    // Other runs may append to the file too. What one of them wrote must not be cut off when this one goes on.
    _files.emplace_back(s.dead_letters, s.resumable ? output_file::mode::resumable_append : output_file::mode::append);
  }
  if (!s.places.empty()) {
    _places = _files.size();
    _files.emplace_back(s.places, how);
  }
  _begun.resize(_files.size());
  _next_offset.resize(_files.size());
}

void output_files::write(std::size_t file, std::string_view bytes) {
  begin(file);
  if (_batches && has_topics(file)) {
    std::string numbered(bytes);
    number(file, numbered);
    _files[file].write(numbered);
    return;
  }
  _files[file].write(bytes);
}

/// Writes what the file of a topic begins with.
void output_files::begin(std::size_t file) {
  if (!_begun[file] && _header && has_topics(file)) {
    _files[file].write(_header());
  }
  _begun[file] = true;
}

/// Gives batches the offsets that they have in the file. Those are not in the checksum.
void output_files::number(std::size_t file, std::string& batches) {
  for (std::size_t at = 0; at < batches.size();) {
    const auto header =
        wasmengine::read_batch_header({reinterpret_cast<const std::uint8_t*>(batches.data()) + at, batches.size() - at});
    const auto& h = header.value();
    for (std::size_t i = 0; i < 8; ++i) {
      batches[at + i] = static_cast<char>(static_cast<std::uint64_t>(_next_offset[file]) >> (56 - 8 * i));
    }
    _next_offset[file] += h.last_offset_delta + std::int64_t{1};
    at += h.total_size;
  }
}

void output_files::finish(const settings& s, const std::vector<std::string>& topics, const state& complete) {
  std::vector<std::string> paths;
  if (s.directory.empty()) {
    paths.push_back(resolved(s.file));
  }
  for (const auto& topic : topics) {
    if (!s.directory.empty()) {
      paths.push_back(fmt::format("{}/{}", s.directory, file_name(topic, s.suffix)));
    }
  }
  for (const auto& path : paths) {
    const auto partial = path + partial_suffix;
    if (::rename(partial.c_str(), path.c_str()) != 0 && errno != ENOENT) {
      fail("create", path);
    }
  }
  if (!s.dead_letters.empty()) {
    const auto path = resolved(s.dead_letters);
    append_file(path + partial_suffix, path, complete.append_at);
  }
}

void output_files::remove() noexcept {
  for (auto& file : _files) {
    file.remove();
  }
}

void output_files::commit() {
  for (std::size_t i = 0; i < _files.size(); ++i) {
    begin(i);
    _files[i].commit(_append_at);
  }
}

output_files::state output_files::get() const {
  state now;
  for (const auto& file : _files) {
    now.sizes.push_back(file.size());
  }
  return now;
}

output_files::state output_files::complete() {
  for (const auto& file : _files) {
    _append_at = std::max(_append_at, file.append_at());  // of the dead letters, the only one that is appended to
  }
  auto now = get();
  now.append_at = _append_at;
  return now;
}

void output_files::set(const state& s) {
  for (std::size_t i = 0; i < _files.size(); ++i) {
    _files[i].cut(s.sizes.at(i));
    _begun[i] = s.sizes[i] > 0;
  }
}

void output_files::sync() {
  for (auto& file : _files) {
    file.sync();
  }
}

bool output_files::on_terminal() const noexcept {
  return std::any_of(_files.begin(), _files.end(), [](const auto& file) { return file.is_terminal(); });
}

}  // namespace tool
