// SPDX-License-Identifier: Apache-2.0
//
// A transform on every shard of a Seastar program. The runtime is made on shard 0. The other shards get the compiled
// factory through foreign pointers. Each shard has its own engine. A guest may import `host.later`, a function (i64) ->
// i64, whose result comes from a Seastar future that sleeps.
//
//   seastar_sharded --module transform.wasm --smp 2 --memory 1G --overprovisioned
#include <wasm_engine/seastar.hh>
#include <wasm_engine/wasm_engine.hh>

#include <seastar/core/app-template.hh>
#include <seastar/core/reactor.hh>
#include <seastar/core/sharded.hh>
#include <seastar/core/sleep.hh>
#include <seastar/util/log.hh>

#include <boost/program_options.hpp>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace {

seastar::logger lines("transform");

using bytes = std::vector<std::uint8_t>;
using shared_factory = seastar::foreign_ptr<std::unique_ptr<wasmengine::factory>>;

/// One shard's engine.
class transformer {
 public:
  seastar::future<> start(const wasmengine::runtime* runtime, const wasmengine::factory* factory) {
    wasmengine::prepare_shard(*runtime);
    _engine = wasmengine::engine::create(*factory).value();
    co_await wasmengine::as_future(_engine.start().value());
  }

  /// Transforms a batch. Every record that the guest writes goes to the log, which stands for a slow disk here.
  seastar::future<std::size_t> transform(bytes batch) {
    std::size_t records = 0;
    wasmengine::seastar_sink sink([&records](wasmengine::output_block block) -> seastar::future<> {
      records += block.size();
      return seastar::sleep(std::chrono::milliseconds(1));
    });
    co_await wasmengine::as_future(_engine.transform(batch, sink).value());
    co_return records;
  }

  seastar::future<> stop() {
    if (_engine) {
      co_await wasmengine::as_future(_engine.stop().value());
    }
  }

 private:
  wasmengine::engine _engine;
};

/// A batch of three records.
bytes some_batch() {
  auto builder = wasmengine::batch_builder::create({}).value();
  for (const char* value : {"a record", "borrowed", "wait for the host"}) {
    builder.add(1'700'000'000'000, {std::nullopt, value, {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

bytes read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

wasmengine::compilation compile(const wasmengine::runtime& runtime, const bytes& module) {
  return runtime.compile(module, {"example", "in", {"out"}, {}}).value();
}

seastar::future<> run(std::string path) {
  const bytes module = read(path);

  // Here and not before app_template::run: Seastar has its signal handlers by now and Wasmtime's pass signals on to
  // them.
  const auto runtime = wasmengine::runtime::create({}, [](const wasmengine::log_line& line) {
                         lines.info("{}: {}", line.transform, line.text);
                       }).value();
  wasmengine::host_module host("host");
  host.add("later", [](std::int64_t n) -> seastar::future<std::int64_t> {
    co_await seastar::sleep(std::chrono::milliseconds(10));
    co_return 2 * n;
  });
  runtime.add(host).value();

  // A copy of a factory is one atomic increment on any shard. The foreign pointers make shard 0 free them.
  const wasmengine::factory factory = co_await wasmengine::as_future(compile(runtime, module));
  std::vector<shared_factory> factories;
  for (unsigned i = 0; i < seastar::this_smp_shard_count(); ++i) {
    factories.push_back(seastar::make_foreign(std::make_unique<wasmengine::factory>(factory)));
  }

  seastar::sharded<transformer> transformers;
  co_await transformers.start();
  std::exception_ptr failure;
  try {
    co_await transformers.invoke_on_all(
        [&](transformer& t) { return t.start(&runtime, factories[seastar::this_shard_id()].get()); });
    const bytes batch = some_batch();
    const auto written = co_await transformers.map([&batch](transformer& t) { return t.transform(batch); });
    for (unsigned shard = 0; shard < written.size(); ++shard) {
      lines.info("shard {}: {} records written", shard, written[shard]);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  co_await transformers.stop();
  if (failure) {
    std::rethrow_exception(failure);
  }
}

}  // namespace

int main(int argc, char** argv) {
  seastar::app_template app;
  app.add_options()("module", boost::program_options::value<std::string>()->required(), "the transform's .wasm file");
  return app.run(argc, argv, [&app]() -> seastar::future<int> {
    co_await run(app.configuration()["module"].as<std::string>());
    co_return 0;
  });
}
