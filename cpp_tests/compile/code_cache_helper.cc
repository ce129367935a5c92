// SPDX-License-Identifier: Apache-2.0
//
// Another process that uses a cache, for the tests: code_cache_helper DIRECTORY TIMES GUEST.wasm [OPTION...]
//
// Compiles the guest TIMES times, each with a runtime of its own, and runs a record through it. Tells hits, misses,
// stores, rejected and faults of all of them, and then the log, a line each.
//
//   user=N         runs as this user
//   read-only      takes the permission to write from the directory when the cache has been set up
//   file-limit=N   no file can have more bytes (RLIMIT_FSIZE): writes fail as on a full disk
//   die            and such a write kills the process
//   mount=OPTIONS  mounts a tmpfs in the directory's place, for this process alone, and tells at last what is in it;
//                  ends with 77 if it may not
//   fill           fills that, when the cache has been set up, until there is no room for another file
//   remount=N      makes that read-only, when the cache has been set up for the Nth time
#include <wasm_engine/wasm_engine.hh>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace we = wasmengine;

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::exit(1);
}

void check(bool good, const char* what) {
  if (!good) {
    fail(what);
  }
}

struct arguments {
  std::string directory;
  int times;
  std::string guest;
  unsigned user = 0;
  bool read_only = false;
  rlim_t file_limit = 0;
  bool die = false;
  std::string mount{};
  bool fill = false;
  int remount = 0;
};

arguments parse(int argc, char** argv) {
  check(argc >= 4, "usage: code_cache_helper DIRECTORY TIMES GUEST.wasm [OPTION...]");
  arguments a{argv[1], std::atoi(argv[2]), argv[3]};
  for (int i = 4; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option.starts_with("user=")) {
      a.user = static_cast<unsigned>(std::atoi(argv[i] + 5));
    } else if (option == "read-only") {
      a.read_only = true;
    } else if (option.starts_with("file-limit=")) {
      a.file_limit = static_cast<rlim_t>(std::atoll(argv[i] + 11));
    } else if (option == "die") {
      a.die = true;
    } else if (option.starts_with("mount=")) {
      a.mount = option.substr(6);
    } else if (option == "fill") {
      a.fill = true;
    } else if (option.starts_with("remount=")) {
      a.remount = std::atoi(argv[i] + 8);
    } else {
      fail("what is " + std::string(option) + "?");
    }
  }
  return a;
}

void limit_files(const arguments& a) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  if (!a.die) {
    std::signal(SIGXFSZ, SIG_IGN);
  }
  const rlimit limit{a.file_limit, a.file_limit};
  check(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit failed");
}

/// The file system that the directory is on, from here on.
void mount_there(const arguments& a) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", a.directory.c_str(), "tmpfs", 0, ("mode=700," + a.mount).c_str()) != 0) {
    std::exit(77);
  }
}

void fill(const std::string& directory) {
  for (int n = 0;; ++n) {
    std::FILE* file = std::fopen((directory + "/filler" + std::to_string(n)).c_str(), "w");
    if (file == nullptr) {
      return;
    }
    std::fclose(file);
  }
}

void run(const we::runtime& runtime, const std::vector<std::uint8_t>& module) {
  auto compiling = runtime.compile(module, {"helper", "in", {"out"}, {}}).value();
  we::drive(compiling).value();
  auto engine = we::engine::create(compiling.take().value()).value();
  auto start = engine.start().value();
  we::drive(start).value();
  auto builder = we::batch_builder::create().value();
  builder.add(1, we::payload{std::nullopt, "value", {}}).value();
  const auto batch = builder.finish().value();
  std::size_t records = 0;
  auto sink = [&](we::output_block block) { records += block.size(); };
  auto transform = engine.transform(batch, sink).value();
  we::drive(transform).value();
  check(records == 1, "the record did not come out");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto a = parse(argc, argv);
    std::ifstream in(a.guest, std::ios::binary);
    check(static_cast<bool>(in), "no guest");
    const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(in), {}};
    if (a.user != 0) {
      check(::setgid(a.user) == 0 && ::setuid(a.user) == 0, "cannot be another user");
    }
    if (!a.mount.empty()) {
      mount_there(a);
    }
    std::uint64_t sums[5] = {};
    std::mutex mutex;
    std::string log;
    for (int n = 0; n < a.times; ++n) {
      const auto runtime = we::runtime::create({}, [&](const we::log_line& line) {
                             const std::lock_guard lock(mutex);
                             log += std::string(line.text) + "\n";
                           }).value();
      runtime.set_code_cache({a.directory}).value();
      if (a.read_only) {
        check(::chmod(a.directory.c_str(), 0500) == 0, "chmod failed");
      }
      if (a.file_limit != 0) {
        limit_files(a);
      }
      if (a.fill) {
        fill(a.directory);
      }
      if (a.remount == n + 1) {
        check(::mount("none", a.directory.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0, "no remount");
      }
      run(runtime, module);
      const auto m = we::runtime_metrics(runtime).value();
      const std::uint64_t now[5] = {m.code_cache_hits, m.code_cache_misses, m.code_cache_stores, m.code_cache_rejected,
                                    m.code_cache_faults};
      for (int i = 0; i < 5; ++i) {
        sums[i] += now[i];
      }
    }
    for (const auto sum : sums) {
      std::printf("%llu ", static_cast<unsigned long long>(sum));
    }
    std::printf("\n%s", log.c_str());
    if (!a.mount.empty()) {
      for (const auto& file : std::filesystem::directory_iterator(a.directory)) {
        std::printf("has %s\n", file.path().extension().c_str());
      }
    }
  } catch (const std::exception& e) {
    fail(e.what());
  }
}
