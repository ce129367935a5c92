// SPDX-License-Identifier: Apache-2.0
//
// How long an engine takes from its start to its first read and what an idle engine costs in each memory mode:
// bench-density [--json [--count ENGINES]] GUEST.wasm... 1,000 engines of each and 100,000 of the first unless it is
// for JSON. Each row is a process of its own. `bench-density --one MODE GUEST.wasm ENGINES [--json]` is one row.
//
//   start     median of starting one engine repeatedly while no other runs
//   among     median of starting all of the engines one after the other while the earlier ones idle
//   idle      growth of the process's resident memory after the start of all engines, divided by their number
//   used      the same after each has transformed a batch of one record of 1 KiB
//   tables    growth of the kernel's page tables, which are not resident memory
//   mappings  the process's mappings for each engine; 65,530 in total are allowed by default (vm.max_map_count)
//
// Growth counts from before the runtime is made and after a first runtime has warmed up library and heap.
#include "measure.hh"

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

using namespace bench;

namespace {

struct mode {
  const char* name;
  wasm_memory_mode memory;
  wasm_trap_mode traps;
};
constexpr mode modes[] = {
    {"on-demand", WASM_MEMORY_MODE_ON_DEMAND, WASM_TRAP_MODE_SIGNALS},
    {"thread-pool", WASM_MEMORY_MODE_THREAD_POOL, WASM_TRAP_MODE_SIGNALS},
    {"process-pool", WASM_MEMORY_MODE_PROCESS_POOL, WASM_TRAP_MODE_SIGNALS},
};

double now() { return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// A number of KiB from /proc/self/status.
double status_kib(std::string_view field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field)) {
      return std::strtod(line.c_str() + field.size() + 1, nullptr);
    }
  }
  return 0;
}

double mappings() {
  std::ifstream file("/proc/self/maps");
  return static_cast<double>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

/// Microseconds of a start.
double start(we::engine& engine) {
  const auto begin = now();
  auto future = engine.start().value();
  we::drive(future).value();
  return now() - begin;
}

enum class form { none, text, json };

void one(const mode& m, const char* path, std::size_t count, form print) {
  const bytes module = read_file(path);
  const bytes batch = make_batch({1, 1024});
  std::vector<we::engine> engines;
  engines.reserve(count);
  std::vector<double> alone(1000);
  std::vector<double> among(count);
  const double resident = status_kib("VmRSS:");
  const double tables = status_kib("VmPTE:");
  const double mapped = mappings();

  wasm_runtime_config config{};
  config.memory_mode = m.memory;
  config.trap_mode = m.traps;
  config.pool_engines = count;
  const auto runtime = we::runtime::create(config).value();
  we::prepare_thread(runtime, m.memory == WASM_MEMORY_MODE_THREAD_POOL ? count : 0).value();
  auto compiling = runtime.compile(module, {"idle", "in", {"out"}, {}}).value();
  we::drive(compiling).value();
  const auto factory = compiling.take().value();

  for (std::size_t i = 0; i < count; ++i) {
    engines.push_back(we::engine::create(factory).value());
  }
  for (auto& time : alone) {
    time = start(engines[0]);
    auto stopped = engines[0].stop().value();
    we::drive(stopped).value();
    if (m.memory == WASM_MEMORY_MODE_THREAD_POOL) {
      while (we::reclaim_thread(runtime, 1 << 20).value()) {
      }
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    among[i] = start(engines[i]);
  }
  const double idle = status_kib("VmRSS:") - resident;
  const double in_tables = status_kib("VmPTE:") - tables;
  const double in_mappings = mappings() - mapped;
  auto sink = [](we::output_block) {};
  for (auto& engine : engines) {
    auto future = engine.transform(batch, sink).value();
    we::drive(future).value();
  }
  const double used = status_kib("VmRSS:") - resident;
  if (print == form::none) {
    return;
  }
  const auto n = static_cast<double>(count);
  const std::string name(file_name(path));
  const char* const row =
      print == form::json
          ? "{\"mode\": \"%s\", \"guest\": \"%s\", \"engines\": %zu, \"start_us\": %.1f, \"among_us\": %.1f, "
            "\"idle_kib\": %.1f, \"used_kib\": %.1f, \"table_kib\": %.1f, \"mappings\": %.2f}\n"
          : "%-13s %-20s %8zu %9.1f %9.1f %9.1f %9.1f %9.1f %9.2f\n";
  // Both rows are above, with the same arguments.
  std::printf(row, m.name, name.c_str(), count, median(alone), median(among), idle / n, used / n, in_tables / n, in_mappings / n);
}

/// A row in a process of its own.
void row(char* self, const char* mode, char* guest, std::string count, bool json) {
  std::fflush(stdout);
  const auto child = fork();
  if (child == 0) {
    std::string option = "--one";
    std::string name = mode;
    std::string form = "--json";
    char* arguments[] = {self, option.data(), name.data(), guest, count.data(), json ? form.data() : nullptr, nullptr};
    execv(self, arguments);
    std::_Exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) {
    std::printf("%-13s %s with %s engines: failed\n", mode, guest, count.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc >= 5 && std::strcmp(argv[1], "--one") == 0) {
    for (const auto& m : modes) {
      if (std::strcmp(argv[2], m.name) == 0) {
        one(m, argv[3], 10, form::none);
        one(m, argv[3], std::strtoull(argv[4], nullptr, 10), argc > 5 ? form::json : form::text);
        return 0;
      }
    }
  }
  int first = 1;
  const char* count = "1000";
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  first += json ? 1 : 0;
  if (json && argc > 3 && std::strcmp(argv[2], "--count") == 0) {
    count = argv[3];
    first += 2;
  }
  if (!json) {
    std::printf("%-13s %-20s %8s %9s %9s %9s %9s %9s %9s\n", "mode", "guest", "engines", "start us", "among us", "idle KiB",
                "used KiB", "table KiB", "mappings");
  }
  for (const auto& m : modes) {
    for (int i = first; i < argc; ++i) {
      row(argv[0], m.name, argv[i], count, json);
    }
  }
  if (argc > first && !json) {
    row(argv[0], "thread-pool", argv[first], "100000", false);
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "bench-density: %s\n", e.what());
  return 1;
}
