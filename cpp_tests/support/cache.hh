// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the cache share: directories, runtimes that use them, and the program code_cache_helper.
#pragma once

#include "bench.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cache_tests {

namespace we = wasmengine;
namespace fs = std::filesystem;
using namespace testing_support;

/// A directory that goes away again, with one for a cache in it.
class scratch {
 public:
  scratch() {
    std::string pattern = (fs::temp_directory_path() / "wasm-engine-cache-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), pattern);
    }
    root = pattern;
    // So that a helper that runs as somebody else comes through.
    ::chmod(root.c_str(), 0755);
    cache = root / "cache";
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }

  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> out;
    for (const auto& file : fs::directory_iterator(cache)) {
      out.push_back(file.path());
    }
    return out;
  }
  /// The entry, of which there must be one.
  [[nodiscard]] fs::path entry() const {
    const auto all = files();
    EXPECT_EQ(all.size(), 1U);
    return all.at(0);
  }

  fs::path root;
  fs::path cache;
};

inline kafka::bytes read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Over the file as it is, so that its owner and mode stay.
inline void write(const fs::path& path, const kafka::bytes& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// Hits, misses, stores, rejected, faults.
struct counts {
  std::uint64_t hits, misses, stores, rejected, faults;
  bool operator==(const counts&) const = default;
};
inline void PrintTo(const counts& c, std::ostream* out) {
  *out << c.hits << " hits, " << c.misses << " misses, " << c.stores << " stores, " << c.rejected << " rejected, "
       << c.faults << " faults";
}
inline counts of(const wasm_runtime_metrics& m) {
  return {m.code_cache_hits, m.code_cache_misses, m.code_cache_stores, m.code_cache_rejected, m.code_cache_faults};
}

/// A runtime whose log is kept, with a cache.
struct cached {
  explicit cached(const fs::path& directory, std::uint64_t max_bytes = 0, const wasm_runtime_config& config = {})
      : runtime(we::runtime::create(config, [l = log](const we::log_line& line) { l->add(line); }).value()) {
    runtime.set_code_cache({directory.string(), max_bytes}).value();
  }

  [[nodiscard]] wasm_runtime_metrics metrics() const { return we::runtime_metrics(runtime).value(); }
  [[nodiscard]] counts stats() const { return of(metrics()); }
  [[nodiscard]] std::vector<std::string> warnings() const { return log->texts(WASM_LOG_SEVERITY_WARN); }

  /// How compiling ends.
  outcome try_compile(const kafka::bytes& bytes) const {
    auto compilation = runtime.compile(bytes, with_topics({"out"})).value();
    return finish(compilation);
  }
  [[nodiscard]] we::engine engine(std::string_view guest) const {
    return we::engine::create(compile(runtime, guest)).value();
  }

  std::shared_ptr<log_lines> log = std::make_shared<log_lines>();
  we::runtime runtime;
};

/// What an engine makes of some values.
inline std::vector<std::string> run(we::engine& engine, const std::vector<std::string>& values = {"one", "", "three"}) {
  EXPECT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built(values);
  EXPECT_TRUE(succeeded(finish(engine.transform(batch, out))));
  return out.values();
}

/// code_cache_helper in a process of its own; see there for its arguments.
class helper {
 public:
  explicit helper(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), WASM_ENGINE_TEST_CACHE_HELPER);
    std::vector<char*> raw;
    for (auto& argument : arguments) {
      raw.push_back(argument.data());
    }
    raw.push_back(nullptr);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      throw std::system_error(errno, std::generic_category(), "pipe");
    }
    _process = ::vfork();
    if (_process == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::execv(raw[0], raw.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    _output = ends[0];
  }
  helper(const helper&) = delete;
  helper& operator=(const helper&) = delete;
  ~helper() { (void)end(); }

  /// Waits for its end, and gives its status as of waitpid.
  int end() {
    if (_process > 0) {
      char buffer[4096];
      for (ssize_t got = 0; (got = ::read(_output, buffer, sizeof(buffer))) > 0;) {
        text.append(buffer, static_cast<std::size_t>(got));
      }
      ::close(_output);
      ::waitpid(std::exchange(_process, 0), &_status, 0);
    }
    return _status;
  }
  /// What it counted; the test fails if it did not end well.
  counts counted() {
    EXPECT_EQ(end(), 0) << text;
    counts c{};
    std::istringstream in(text);
    in >> c.hits >> c.misses >> c.stores >> c.rejected >> c.faults;
    EXPECT_TRUE(in) << text;
    return c;
  }

  std::string text;

 private:
  pid_t _process = 0;
  int _output = -1;
  int _status = 0;
};

inline std::string guest_path(std::string_view name) {
  return std::string(WASM_ENGINE_TEST_GUESTS) + "/" + std::string(name) + ".wasm";
}

}  // namespace cache_tests
