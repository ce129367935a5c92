// SPDX-License-Identifier: Apache-2.0
#include "state_directory.hh"

#include "yaml_reader.hh"  // config_error

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

namespace transformd {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path) { throw std::system_error(errno, std::generic_category(), path.string()); }

template <typename Bytes>
std::optional<Bytes> read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT) {
      return std::nullopt;
    }
    fail(path);
  }
  Bytes out(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) {
    fail(path);
  }
  return out;
}

/// Closes at the end.
struct descriptor {
  descriptor(const fs::path& path, int flags) : fd(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (fd < 0) {
      fail(path);
    }
  }
  descriptor(descriptor&&) = delete;
  ~descriptor() { ::close(fd); }
  const int fd;
};

void sync(const fs::path& path, const descriptor& of) {
  if (::fsync(of.fd) != 0) {
    fail(path);
  }
}

/// Writes beside the file. `commit` puts it in its place.
void prepare(const fs::path& path, std::span<const std::uint8_t> bytes) {
  const auto fresh = path.string() + ".new";
  const descriptor file(fresh, O_WRONLY | O_CREAT | O_TRUNC);
  while (!bytes.empty()) {
    const auto written = ::write(file.fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      fail(fresh);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  sync(fresh, file);
}

void commit(const fs::path& path) { fs::rename(path.string() + ".new", path); }

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

directory_lock::directory_lock(const fs::path& root) {
  fs::create_directories(root);
  const auto path = root / "lock";
  _fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (_fd < 0) {
    fail(path);
  }
  if (::flock(_fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(_fd);
    throw config_error(fmt::format("another process has the directory {}", root.string()));
  }
}

directory_lock::~directory_lock() { ::close(_fd); }

std::optional<state_directory::modules> state_directory::load(const std::string& file_sha256) const {
  const auto then = read<std::string>(_path / "file.sha256");
  auto current = read<std::vector<std::uint8_t>>(_path / "current.wasm");
  auto previous = read<std::vector<std::uint8_t>>(_path / "previous.wasm");
  if (!then || !current || !previous || (!file_sha256.empty() && !then->empty() && *then != file_sha256)) {
    return std::nullopt;
  }
  return modules{std::move(*current), std::move(*previous), *then};
}

void state_directory::store(std::span<const std::uint8_t> current, std::span<const std::uint8_t> previous,
                            const std::string& file_sha256) const {
  fs::create_directories(_path);
  prepare(_path / "previous.wasm", previous);
  prepare(_path / "current.wasm", current);
  prepare(_path / "file.sha256", bytes_of(file_sha256));
  // A crash in between leaves whole modules: at worst both are the same.
  commit(_path / "previous.wasm");
  commit(_path / "current.wasm");
  commit(_path / "file.sha256");
  for (const auto& directory : {_path, _path.parent_path()}) {
    sync(directory, descriptor(directory, O_RDONLY | O_DIRECTORY));
  }
}

}  // namespace transformd
