// SPDX-License-Identifier: Apache-2.0
//
// How long one call of the library keeps the host's thread, by what a guest or a batch causes:
// bench-stall [--json] [ROW...]. Each call is timed: polls, and the call that begins an operation. Rows that never end
// take some two seconds. The others are repeated.
//
// "cpu" is the time for which the thread had a processor during the call. The library is responsible for that. "wall"
// includes the time that other programs took. x slice is p99.9 of cpu in time slices.
#include "measure.hh"
#include "stall_batches.hh"
#include "stall_module.hh"

#include <ctime>

#include <cstring>
#include <functional>

using namespace bench;
using wasm::module;

namespace {

constexpr double seconds = 2;
constexpr int repetitions = 20;
/// Microseconds: the default is measured.
constexpr double slice = 500;

double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

double wall_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct quantiles {
  double p50, p999, max;
  explicit quantiles(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    p50 = v[v.size() / 2];
    p999 = v[static_cast<std::size_t>(static_cast<double>(v.size() - 1) * 0.999)];
    max = v.back();
  }
};

/// The times of a row's calls.
struct times {
  std::vector<double> cpu, wall;

  template <typename F>
  auto call(F&& f) {
    const double wall_before = wall_us();
    const double cpu_before = cpu_us();
    auto out = f();
    cpu.push_back(cpu_us() - cpu_before);
    wall.push_back(wall_us() - wall_before);
    return out;
  }

  /// Polls to the end or for some seconds. True if the operation succeeded.
  bool drive(we::future& operation, double at_most = 60) {
    for (const double begun = wall_us(); wall_us() - begun < at_most * 1e6;) {
      const auto state = call([&] { return operation.poll(); });
      if (!state || *state == WASM_POLL_READY) {
        return static_cast<bool>(state);
      }
    }
    return true;
  }
};

/// A policy's delays end at once.
struct no_delay {
  std::chrono::nanoseconds now() noexcept { return std::chrono::nanoseconds(0); }
  void sleep(std::chrono::nanoseconds, we::promise p) { p.resolve().value(); }
};

struct host {
  we::runtime runtime;
  we::factory factory;
  we::engine engine;

  host(const module& m, wasm_runtime_config config) {
    config.record_time_limit_ns = 3'600'000'000'000;
    runtime = we::runtime::create(config).value();
    we::prepare_thread(runtime, config.memory_mode == WASM_MEMORY_MODE_THREAD_POOL ? 1 : 0).value();
    auto compilation = runtime.compile(m.bytes(), {"bench", "in", {"out"}, {}}).value();
    we::drive(compilation).value();
    factory = compilation.take().value();
    engine = we::engine::create(factory).value();
  }

  void start() {
    auto start = engine.start().value();
    we::drive(start).value();
  }
  void stop() {
    auto stop = engine.stop().value();
    we::drive(stop).value();
  }
};

using row = std::function<void(times&)>;
auto nowhere = [](we::output_block) {};
const bytes one_record = make_batch({1, 16});

/// A record that never ends.
row endless(module m, wasm_runtime_config config = {}) {
  return [=](times& t) {
    host h(m, config);
    h.start();
    auto operation = t.call([&] { return h.engine.transform(one_record, nowhere).value(); });
    t.drive(operation, seconds);
    operation = we::future();
    h.stop();
  };
}

/// A record that ends or fails. `prepare` is called before each.
row once(module m, wasm_runtime_config config = {}, bytes batch = one_record,
         wasm_on_error on_error = WASM_ON_ERROR_FAIL) {
  return [=](times& t) {
    host h(m, config);
    no_delay timer;
    for (int i = 0; i < repetitions; ++i) {
      h.engine = we::engine::create(h.factory).value();
      h.engine.set_policy({on_error}, timer).value();
      h.start();
      auto operation = t.call([&] { return h.engine.transform(batch, nowhere).value(); });
      t.drive(operation);
      operation = we::future();
      h.stop();
    }
  };
}

/// Starts.
row starts(module m, wasm_memory_mode mode) {
  return [=](times& t) {
    wasm_runtime_config config{};
    config.memory_mode = mode;
    config.pool_engines = 4;
    host h(m, config);
    for (int i = 0; i < repetitions; ++i) {
      auto start = t.call([&] { return h.engine.start().value(); });
      if (!t.drive(start)) {
        std::fprintf(stderr, "bench-stall: a start failed\n");
      }
      start = we::future();
      h.stop();
    }
  };
}

/// Stops of a guest that has used all of its memory.
row stops(wasm_memory_mode mode) {
  return [=](times& t) {
    wasm_runtime_config config{};
    config.memory_mode = mode;
    config.pool_engines = 4;
    host h({.record = wasm::i32s({0, 1, 64 << 20}) + wasm::bulk(11, {0})}, config);
    for (int i = 0; i < repetitions; ++i) {
      h.start();
      auto operation = h.engine.transform(one_record, nowhere).value();
      we::drive(operation).value();
      operation = we::future();
      auto stop = t.call([&] { return h.engine.stop().value(); });
      t.drive(stop);
    }
  };
}

/// A batch for a guest that drops its records.
row batch(std::function<bytes()> make) {
  return [=](times& t) {
    const bytes content = make();
    wasm_runtime_config config{};
    host h({}, config);
    h.start();
    for (int i = 0; i < 5; ++i) {
      auto operation = t.call([&] { return h.engine.transform(content, nowhere); });
      if (operation) {
        t.drive(*operation);
      }
    }
    h.stop();
  };
}

/// A record with many headers.
bytes with_headers(int headers, std::size_t size) {
  auto builder = we::batch_builder::create().value();
  const std::string value(size, 'x');
  builder.add(0, we::payload{std::nullopt, value, std::vector<we::header>(static_cast<std::size_t>(headers), {"h", "v"})})
      .value();
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

/// A name of a function for which a C++ demangler takes its time.
constexpr std::string_view slow_name =
    "_ZUltvoectowviSaceciSactowveclciSaISaIIiE2vectctowZUll2veciSaIS_E2vectctowZUlciSaIS_cSaIIiz2ciSaIS_cSaIIiz2szz2ciSa"
    "IS_cSaItz2viowSaIS_cSaIIiStz2veoLtz2vioiSaIS_cSaIIiStz2veoLr_UlzScSaIIiStz2veUlzS2ISIEz2veoaIIiStz2ZUl2vSaeoaIIiStz2"
    "ZUzS_tS2_Sz2Ul2vSaeoaIIiStz2ZUzS_tS2_SIEz2veorZU[ec2ISc2IL";

std::vector<std::pair<std::string, row>> rows() {
  using namespace wasm;
  constexpr std::int64_t all = 64 << 20;
  constexpr std::int64_t million = 1 << 20;
  const auto memory_fill = bulk(11, {0});
  const module copies{.record = forever(i32s({1, 0, all - 1}) + bulk(10, {0, 0}))};
  const auto host_call = [](std::string name, std::initializer_list<std::int64_t> arguments, code before = {}) {
    return module{.record = forever(i32s(arguments) + call(extra) + drop),
                  .before = std::move(before),
                  .import_name = std::move(name),
                  .import_params = static_cast<int>(arguments.size())};
  };
  module own;  // For the index of its function.
  wasm_runtime_config dumps{};
  dumps.core_dumps = 1;
  // 1,024 I/O vectors of eight line feeds each.
  const code vectors = i32s({100'000, 10, 100'000}) + memory_fill;

  std::vector<std::pair<std::string, row>> out{
      {"loop", endless({.record = forever("")})},
      {"recursion", endless({.record = forever(call(own.first_call())), .calls = 5000})},
      {"memory.fill", endless({.record = forever(i32s({0, 1, all}) + memory_fill)})},
      {"memory.copy", endless(copies)},
      {"memory.init",
       endless({.record = forever(i32s({0, 0, 40'000'000}) + bulk(8, {0, 0})), .passive_data = 40'000'000})},
      {"table.fill", endless({.record = forever(i32(0) + own.ref_own() + i32(million) + bulk(17, {0})), .table = 1 << 20})},
      {"table.copy", endless({.record = forever(i32s({0, 1, million - 1}) + bulk(14, {0, 0})), .table = 1 << 20})},
      {"table.init",
       endless({.record = forever(i32s({0, 0, 8000}) + bulk(12, {1, 0})), .table = 8000, .elements = 8000})},
      {"memory.grow", once({.record = i32(1023) + "\x40\x00"s + drop, .pages = 1})},
      {"memory.grow by 1", once({.record = forever(i32(1) + "\x40\x00"s + i32(0) + "\x48\x0d\x01"s), .pages = 1})},
      {"table.grow", once({.record = null_function + i32(million - 1) + bulk(15, {0}) + drop, .table = 1})},
      {"random_get", endless(host_call("random_get", {0, million}))},
      {"fd_write", endless(host_call("fd_write", {1, 65'536, 1024, 0}, vectors))},
      {"fd_read", endless(host_call("fd_read", {0, 65'536, 8'300'000, 0}))},
      {"poll_oneoff", endless(host_call("poll_oneoff", {0, million, 1024, 100}))},
      {"path_open", endless(host_call("path_create_directory", {3, 0, 67'000'000}))},
      {"path_rename", endless(host_call("path_rename", {3, 0, 33'000'000, 3, 0, 33'000'000}))},
      {"environ_get", endless(host_call("environ_get", {4096, 65'536}))},
      {"start, 60 MB of data", starts({.active_data = 60'000'000}, WASM_MEMORY_MODE_ON_DEMAND)},
      {"start, thread pool", starts({.active_data = 60'000'000}, WASM_MEMORY_MODE_THREAD_POOL)},
      {"start, process pool", starts({.active_data = 60'000'000}, WASM_MEMORY_MODE_PROCESS_POOL)},
      {"start function", starts({.start_function = true}, WASM_MEMORY_MODE_ON_DEMAND)},
      {"start, table", starts({.table = 1 << 20, .table_of_functions = true}, WASM_MEMORY_MODE_ON_DEMAND)},
      {"start, elements", starts({.table = 1, .elements = 8000}, WASM_MEMORY_MODE_ON_DEMAND)},
      {"stop, on demand", stops(WASM_MEMORY_MODE_ON_DEMAND)},
      {"stop, thread pool", stops(WASM_MEMORY_MODE_THREAD_POOL)},
      {"stop, process pool", stops(WASM_MEMORY_MODE_PROCESS_POOL)},
      {"trap, names", once({.record = call(own.first_call()), .calls = 40, .last_traps = true, .name = std::string(slow_name)})},
      {"trap", once({.record = i32s({0, 1, all}) + memory_fill + unreachable})},
      {"core dump",
       once({.record = i32s({0, 1, all}) + memory_fill + unreachable}, dumps)},
      {"core dump, deep", once({.record = call(own.first_call()), .pages = 1, .calls = 8000, .last_traps = true}, dumps)},
      {"dead letter", once({.record = unreachable, .buffer = 60 << 20}, {}, make_batch({1, 50U << 20}), WASM_ON_ERROR_DEAD_LETTER)},
      {"dead letter, headers",
       once({.record = unreachable, .buffer = 60 << 20}, {}, with_headers(200'000, 100), WASM_ON_ERROR_DEAD_LETTER)},
  };
  for (const auto& [name, make] : batches()) {
    out.emplace_back(name, batch(make));
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const std::vector<std::string> wanted(argv + (json ? 2 : 1), argv + argc);
  if (!json) {
    std::printf("%-24s %8s %9s %9s %9s %9s %9s %9s %9s\n", "what", "calls", "cpu p50", "p99.9", "max us", "x slice",
                "wall p50", "p99.9", "max us");
  }
  for (const auto& [name, run] : rows()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) {
      continue;
    }
    times t;
    run(t);
    const quantiles c(t.cpu);
    const quantiles w(t.wall);
    if (json) {
      std::printf("{\"guest\": \"%s\", \"polls\": %zu, \"slice_us\": %.0f, \"cpu_p50_us\": %.1f, \"cpu_p999_us\": %.1f, "
                  "\"cpu_max_us\": %.1f, \"wall_p50_us\": %.1f, \"wall_p999_us\": %.1f, \"wall_max_us\": %.1f}\n",
                  name.c_str(), t.cpu.size(), slice, c.p50, c.p999, c.max, w.p50, w.p999, w.max);
    } else {
      std::printf("%-24s %8zu %9.1f %9.1f %9.1f %9.2f %9.1f %9.1f %9.1f\n", name.c_str(), t.cpu.size(), c.p50, c.p999,
                  c.max, c.p999 / slice, w.p50, w.p999, w.max);
    }
    std::fflush(stdout);
  }
}
