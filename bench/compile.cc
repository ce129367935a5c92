// SPDX-License-Identifier: Apache-2.0
//
// What a module costs before it runs: bench-compile [--no-limits | --validate] MODULE... A line of JSON for each,
// measured in a process of its own: seconds of processor time and MiB of memory at most for wasm_runtime_validate,
// wasm_runtime_inspect and the compilation with one thread. --validate: only whether it is accepted.
#include "measure.hh"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace bench;

namespace {

double seconds() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  return static_cast<double>(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
         static_cast<double>(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

// KiB of a line of /proc/self/status.
double status_mib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) {
      return std::stod(line.substr(name.size())) / 1024;
    }
  }
  return 0;
}

struct cost {
  double seconds;
  double mib;
};

// What `work` takes beyond what was there before.
template <typename Work>
cost cost_of(Work work) {
  std::ofstream("/proc/self/clear_refs") << "5";
  const double memory = status_mib("VmRSS:");
  const double begin = seconds();
  work();
  return {seconds() - begin, status_mib("VmHWM:") - memory};
}

void measure(const char* path, bool limits, bool compiles) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  wasm_runtime_config config{};
  config.size = sizeof config;
  config.compile_limit_factor = limits ? 0 : UINT32_MAX;
  auto runtime = we::runtime::create(config).value();
  std::string refused;
  const auto validate = cost_of([&] {
    const auto valid = runtime.validate(module);
    if (!valid.has_value()) {
      refused = valid.err().what();
    }
  });
  if (!compiles) {
    std::printf("{\"refused\": \"%s\"}\n", refused.empty() ? "" : "it is");
    std::fflush(stdout);
    return;
  }
  const auto inspect = cost_of([&] { (void)runtime.inspect(module); });
  const auto compile = cost_of([&] {
    auto compiling = runtime.compile(module, {"bench", "in", {"out"}, {}}).value();
    const auto done = we::drive(compiling);
    if (!done.has_value() && refused.empty()) {
      refused = "compilation: " + std::string(done.err().what());
    }
  });
  for (char& c : refused) {
    c = c == '"' || c == '\\' ? '\'' : c;
  }
  std::printf("{\"module\": \"%s\", \"bytes\": %zu, \"validate_s\": %.4f, \"validate_mib\": %.1f, \"inspect_s\": %.4f, "
              "\"inspect_mib\": %.1f, \"compile_s\": %.3f, \"compile_mib\": %.1f, \"refused\": \"%.400s\"}\n",
              path, module.size(), validate.seconds, validate.mib, inspect.seconds, inspect.mib, compile.seconds,
              compile.mib, refused.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const bool limits = argc < 2 || std::strcmp(argv[1], "--no-limits") != 0;
  const bool compiles = argc < 2 || std::strcmp(argv[1], "--validate") != 0;
  for (int i = limits && compiles ? 1 : 2; i < argc; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const rlimit memory{rlim_t{20} << 30, rlim_t{20} << 30};
      setrlimit(RLIMIT_DATA, &memory);
      const rlimit time{120, 120};
      setrlimit(RLIMIT_CPU, &time);
      measure(argv[i], limits, compiles);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) {
      std::printf("{\"module\": \"%s\", \"died\": %d}\n", argv[i], WIFSIGNALED(status) ? WTERMSIG(status) : -1);
      std::fflush(stdout);
    }
  }
}
