// SPDX-License-Identifier: Apache-2.0
//
// Compiling a module compared with loading a compiled one: from the code cache with a new runtime each time and from an
// artifact in memory. All in one run: bench-cache [--json] GUEST.wasm...
#include "measure.hh"
#include "wasm_engine/metrics.hh"

#include <cstring>
#include <filesystem>
#include <unistd.h>

using namespace bench;

namespace {

constexpr int compilations = 5;
constexpr int loads = 25;

/// A directory that is removed at the end.
struct scratch {
  std::string path = (std::filesystem::temp_directory_path() / "bench-cache-XXXXXX").string();
  scratch() {
    if (::mkdtemp(path.data()) == nullptr) {
      std::fprintf(stderr, "cannot make %s: %s\n", path.c_str(), std::strerror(errno));
      std::exit(1);
    }
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() { std::filesystem::remove_all(path); }
};

/// Milliseconds until the factory is ready as its host sees them.
template <typename B>
double time_factory(B&& begin) {
  const auto start = std::chrono::steady_clock::now();
  auto compiling = begin().value();
  we::drive(compiling).value();
  const auto factory = compiling.take().value();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

we::runtime with_cache(const std::string& directory) {
  auto runtime = we::runtime::create().value();
  runtime.set_code_cache({directory}).value();
  // Starts the compile thread, which is not measured.
  auto warm = runtime.compile({}, {"warm", "in", {"out"}, {}}).value();
  (void)we::drive(warm);
  return runtime;
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const char* const head = "| guest | module, KiB | artifact, KiB | compile, ms | from the cache, ms | times faster |"
              " artifact, ms | times faster |\n"
              "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";
  if (!json) {
    std::puts(head);
  }
  for (int i = json ? 2 : 1; i < argc; ++i) {
    const bytes module = read_file(argv[i]);
    const we::transform_config transform{"bench", "in", {"out"}, {}};
    const scratch directory;
    std::vector<double> compile;
    std::vector<double> hit;
    std::vector<double> load;
    const auto plain = we::runtime::create().value();
    for (int n = 0; n < compilations; ++n) {
      compile.push_back(time_factory([&] { return plain.compile(module, transform); }));
    }
    const auto caching = with_cache(directory.path);
    auto making = caching.precompile(module).value();
    we::drive(making).value();
    const auto artifact = making.take().value();
    for (int n = 0; n < loads; ++n) {
      const auto runtime = with_cache(directory.path);
      hit.push_back(time_factory([&] { return runtime.compile(module, transform); }));
      if (we::runtime_metrics(runtime).value().code_cache_hits != 1) {
        std::fprintf(stderr, "%s did not come from the cache\n", argv[i]);
        return 1;
      }
      load.push_back(time_factory([&] { return runtime.load(artifact.bytes(), transform); }));
    }
    const std::string name(file_name(argv[i]));
    if (json) {
      std::printf("{\"guest\": \"%s\", \"compile_ms\": %.2f, \"cache_ms\": %.3f, \"artifact_ms\": %.3f}\n", name.c_str(),
                  median(compile), median(hit), median(load));
      continue;
    }
    std::printf("| %s | %zu | %zu | %.1f | %.2f | %.0f | %.2f | %.0f |\n", name.c_str(),
                module.size() >> 10, artifact.bytes().size() >> 10, median(compile), median(hit),
                median(compile) / median(hit), median(load), median(compile) / median(load));
  }
}
