// SPDX-License-Identifier: Apache-2.0
//
// Reports of Seastar's stall detector while its reactor runs guests that do what takes long:
//
//   bench-seastar-stall --module c_identity.wasm --smp 1 --memory 3G --blocked-reactor-notify-ms 10
//     --blocked-reactor-reports-per-minute 1000000
//
// Batches that become 100 MiB go through the identity guest. The other guests are those of bench-stall.
#include "measure.hh"
#include "stall_batches.hh"
#include "stall_module.hh"

#include <wasm_engine/seastar.hh>

#include <seastar/core/app-template.hh>
#include <seastar/core/reactor.hh>
#include <seastar/core/sleep.hh>

#include <boost/program_options.hpp>

#include <cstdio>

using namespace bench;

namespace {

std::size_t reports = 0;

struct row {
  const char* name;
  bytes module;
  bytes batch;
  bool ends;
};

/// No coroutine: GCC 12 refuses its braces in one.
we::compilation compile(const we::runtime& runtime, const bytes& module) {
  return runtime.compile(module, {"bench", "in", {"out"}, {}}).value();
}

seastar::future<we::engine> start(const we::runtime& runtime, const bytes& module) {
  const we::factory factory = co_await we::as_future(compile(runtime, module));
  auto engine = we::engine::create(factory).value();
  co_await we::as_future(engine.start().value());
  co_return engine;
}

seastar::future<> run(const row& r) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 2'000'000'000;
  const auto runtime = we::runtime::create(config).value();
  we::prepare_shard(runtime);
  reports = 0;
  std::size_t records = 0;
  std::string ended = "completed";
  auto engine = co_await start(runtime, r.module);
  auto sink = [&records](we::output_block block) { records += block.size(); };
  for (int i = 0; i < (r.ends ? 3 : 1); ++i) {
    try {
      // `as_future` polls for the first time at once.
      co_await we::as_future(engine.transform(r.batch, sink).value());
    } catch (const we::error& e) {
      ended = wasm_status_name(e.status());
    }
  }
  if (engine.state().value() == WASM_ENGINE_STATE_IDLE) {
    co_await we::as_future(engine.stop().value());
  }
  // The detector reports from a signal handler's timer: it gets time to.
  co_await seastar::sleep(std::chrono::milliseconds(50));
  std::printf("%-24s %9zu %9zu  %s\n", r.name, records, reports, ended.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  using namespace wasm;
  // Made before the reactor runs: compressing takes long.
  std::vector<row> rows;
  seastar::app_template app;
  app.add_options()("module", boost::program_options::value<std::string>()->required(), "an identity guest");
  const std::string path = [&] {
    for (int i = 1; i + 1 < argc; ++i) {
      if (std::string_view(argv[i]) == "--module") {
        return argv[i + 1];
      }
    }
    return argv[0];
  }();
  const bytes identity = read_file(path.c_str());
  for (const auto& [name, make] : batches()) {
    rows.push_back({name, identity, make(), true});
  }
  constexpr std::int64_t all = 64 << 20;
  const auto hand_made = [&](const char* name, const module& m) {
    rows.push_back({name, m.bytes(), make_batch({1, 16}), false});
  };
  hand_made("memory.copy", {.record = forever(i32s({1, 0, all - 1}) + bulk(10, {0, 0}))});
  hand_made("memory.init", {.record = forever(i32s({0, 0, 40'000'000}) + bulk(8, {0, 0})), .passive_data = 40'000'000});
  hand_made("table.copy", {.record = forever(i32s({0, 1, (1 << 20) - 1}) + bulk(14, {0, 0})), .table = 1 << 20});
  hand_made("trap of 64 MiB", {.record = i32s({0, 1, all}) + bulk(11, {0}) + unreachable});
  return app.run(argc, argv, [&rows]() -> seastar::future<> {
    seastar::reactor::test::set_stall_detector_report_function([] { ++reports; });
    std::printf("%-24s %9s %9s\n", "what", "records", "reports");
    for (const row& r : rows) {
      co_await run(r);
    }
  });
}
