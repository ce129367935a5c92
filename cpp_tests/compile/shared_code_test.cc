// SPDX-License-Identifier: Apache-2.0
//
// One code for many factories: those whose modules are the same compile it once, in any order, and it goes with the
// last.
#include "support/cache.hh"
#include "support/metrics.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace cache_tests;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

we::transform_config variant(const std::string& name, const std::string& value = {}) {
  auto transform = with_topics({"out"});
  transform.name = name;
  transform.env = {{"VALUE", value}};
  return transform;
}

/// Whether something comes true while other threads come to their end.
template <typename F>
bool soon(F is_true) {
  const auto begun = std::chrono::steady_clock::now();
  while (!is_true()) {
    if (std::chrono::steady_clock::now() - begun > patience) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

we::runtime with_threads(std::uint32_t threads) {
  wasm_runtime_config config{};
  config.compile_threads = threads;
  return we::runtime::create(config).value();
}

TEST(SharedCode, IsCompiledOnceForFactoriesThatDifferInTheirConfiguration) {
  const auto runtime = we::runtime::create().value();
  std::vector<we::factory> factories;
  for (const auto* name : {"a", "b", "c"}) {
    auto transform = variant(name, name);
    transform.output_topics = {std::string("to-") + name};
    transform.limits.memory = (32U << 20) + (std::uint64_t{factories.size()} << 20);
    transform.wasi_rights = name[0] == 'a' ? 0U : std::uint32_t{WASM_WASI_RIGHT_OUTPUT};
    factories.push_back(compile(runtime, "c_logger", transform));
    const auto metrics = we::runtime_metrics(runtime).value();
    EXPECT_EQ(metrics.compilations, 1U);
    EXPECT_EQ(metrics.modules, 1U);
    EXPECT_EQ(metrics.factories, factories.size());
    EXPECT_EQ(metrics.shared_modules, factories.size() - 1);
    const auto info = factories.back().info().value();
    EXPECT_EQ(info.code_factories, factories.size());
    EXPECT_EQ(metrics.executable_bytes, info.code_size) << "it is counted once";
  }
  for (const auto& factory : factories) {
    auto engine = we::engine::create(factory).value();
    EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
  }
  factories.resize(1);
  EXPECT_EQ(factories[0].info().value().code_factories, 1U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().modules, 1U);
  factories.clear();
  EXPECT_EQ(we::runtime_metrics(runtime).value().modules, 0U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().executable_bytes, 0U);
  (void)compile(runtime, "c_logger", variant("d"));
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations, 2U) << "what nobody had is gone";
}

TEST(SharedCode, EachGuestHasTheEnvironmentAndTheDataOfItsOwn) {
  const auto runtime = we::runtime::create().value();
  const auto get = [&](const char* value) {
    auto transform = with_topics({"out"});
    transform.env = {{"A", value}};
    return compile(runtime, "t_environment", transform);
  };
  const auto one = get("1");
  const auto other = get("2");
  EXPECT_EQ(one.info().value().code_factories, 2U);
  auto first = we::engine::create(one).value();
  auto second = we::engine::create(other).value();
  ASSERT_TRUE(succeeded(finish(first.start())));
  ASSERT_TRUE(succeeded(finish(second.start())));
  recorder of_first, of_second;
  const auto batch = built({"x"});
  ASSERT_TRUE(succeeded(finish(first.transform(batch, of_first))));
  ASSERT_TRUE(succeeded(finish(second.transform(batch, of_second))));
  EXPECT_NE(of_first.values(), of_second.values());
}

TEST(SharedCode, HashesTellModulesApart) {
  const auto runtime = we::runtime::create().value();
  const auto hash = [](const we::factory& factory) {
    const auto info = factory.info().value();
    return std::vector<std::uint8_t>(std::begin(info.module_hash), std::end(info.module_hash));
  };
  const auto one = compile(runtime, "c_identity"), same = compile(runtime, "c_identity"), other = compile(runtime, "c_tee");
  EXPECT_EQ(hash(one), hash(same));
  EXPECT_NE(hash(one), hash(other));
  EXPECT_EQ(we::runtime_metrics(runtime).value().modules, 2U);
}

TEST(SharedCode, IsWaitedForWhileItIsBeingCompiled) {
  for (const std::uint32_t threads : {1U, 3U}) {
    const auto runtime = with_threads(threads);
    const auto guest = module("rust_redact");
    std::vector<we::compilation> compiling;
    for (int i = 0; i < 6; ++i) {
      compiling.push_back(runtime.compile(guest, variant("t" + std::to_string(i))).value());
    }
    // Whoever goes leaves the others as they are.
    compiling.erase(compiling.begin());
    std::vector<we::factory> factories;
    for (auto& one : compiling) {
      we::drive(one).value();
      factories.push_back(one.take().value());
    }
    const auto metrics = we::runtime_metrics(runtime).value();
    EXPECT_EQ(metrics.modules, 1U);
    // Also if the first one had begun: the others waited for it.
    EXPECT_EQ(metrics.compilations, 1U) << threads;
    // What it made may still be on its way to nobody.
    EXPECT_TRUE(soon([&] { return factories[0].info().value().code_factories == factories.size(); }));
  }
}

TEST(SharedCode, AFailureHasTheNameOfEach) {
  const auto runtime = with_threads(3);
  // Its interface is right. What is wrong with it is found where the code is shared.
  auto guest = module("rust_redact");
  guest.at(guest.size() / 2) ^= 0xff;
  std::vector<we::compilation> compiling;
  for (const auto* name : {"a", "b", "c"}) {
    compiling.push_back(runtime.compile(guest, variant(name)).value());
  }
  for (std::size_t i = 0; i < compiling.size(); ++i) {
    const auto end = finish(compiling[i]);
    ASSERT_NE(end.status, WASM_STATUS_OK);
    EXPECT_THAT(end.message(), HasSubstr("transform \"" + std::string(1, static_cast<char>('a' + i)) + "\""));
  }
  EXPECT_EQ(we::runtime_metrics(runtime).value().modules, 0U);
}

TEST(SharedCode, OfAnArtifactIsThatOfItsModule) {
  const auto runtime = we::runtime::create().value();
  auto precompiling = runtime.precompile(module("c_identity")).value();
  we::drive(precompiling).value();
  const auto artifact = precompiling.take().value();
  const auto load = [&](const char* name) {
    auto loading = runtime.load(artifact.bytes(), variant(name)).value();
    we::drive(loading).value();
    return loading.take().value();
  };
  const auto one = load("a"), other = load("b"), compiled = compile(runtime, "c_identity");
  const auto metrics = we::runtime_metrics(runtime).value();
  EXPECT_EQ(metrics.modules, 1U);
  EXPECT_EQ(metrics.loads, 1U);
  EXPECT_EQ(metrics.compilations, 1U) << "that of the artifact";
  EXPECT_EQ(one.info().value().code_factories, 3U);
  auto engine = we::engine::create(other).value();
  EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
}

TEST(SharedCode, IsThatOfFactoryCachesToo) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const auto get = [&](const char* value) {
    auto compiling = cache.get({}, module("c_identity"), variant("tested", value)).value();
    we::drive(compiling).value();
    return compiling.take().value();
  };
  {
    const auto one = get("1"), other = get("2"), again = get("1");
    EXPECT_EQ(one.info().value().code_factories, 2U);
    EXPECT_EQ(cache.stats().value().entries, 2U);
    EXPECT_EQ(we::runtime_metrics(runtime).value().compilations, 1U);
    EXPECT_EQ(we::runtime_metrics(runtime).value().factories, 2U);
  }
  EXPECT_EQ(cache.collect().value(), 2U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().modules, 0U);
}

TEST(SharedCode, ThreadsComeAndGoTogether) {
  const auto runtime = with_threads(2);
  const std::vector<kafka::bytes> guests{module("c_identity"), module("c_tee"), module("rust_identity")};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int n = 0; n < 30; ++n) {
        auto compiling =
            runtime.compile(guests[static_cast<std::size_t>(n + thread) % guests.size()], variant("t")).value();
        if (n % 3 == 0) {
          continue;
        }
        we::drive(compiling).value();
        const auto factory = compiling.take().value();
        EXPECT_GE(factory.info().value().code_factories, 1U);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  // Those that were given up may still be compiled.
  EXPECT_TRUE(soon([&] {
    const auto metrics = we::runtime_metrics(runtime).value();
    return metrics.modules + metrics.factories + metrics.executable_bytes == 0;
  }));
}

}  // namespace
