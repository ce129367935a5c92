// SPDX-License-Identifier: Apache-2.0
//
// Factory caches: one compilation for all who ask, and machine code that goes when nobody uses it. Who comes when while
// a module is being compiled, the tests beside src/factory_cache.rs say exactly.
#include "support/cache.hh"
#include "support/mappings.hh"
#include "support/metrics.hh"

#include <gmock/gmock.h>

using namespace cache_tests;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

const we::transform_config transform = with_topics({"out"});

/// A factory, waited for.
we::factory got(we::result<we::compilation> begun) {
  auto compilation = std::move(begun).value();
  we::drive(compilation).value();
  return compilation.take().value();
}

std::vector<std::string> copied(const we::factory& factory) {
  auto engine = we::engine::create(factory).value();
  return run(engine);
}

wasm_status refusal(const we::result<we::compilation>& begun) { return begun ? WASM_STATUS_OK : begun.err().status(); }

TEST(FactoryCache, CompilesOnceForAllThreads) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([&] {
      auto compilation = cache.get("key", module("rust_identity"), transform).value();
      waker_tally wakers;
      int pending = 0;
      for (;; ++pending) {
        const auto waker = wakers.give();
        if (compilation.poll(&waker).value() == WASM_POLL_READY) {
          break;
        }
        ASSERT_TRUE(wakers.wait(patience));
      }
      EXPECT_LE(pending, 1) << "it is woken when it is done, and not before";
      EXPECT_EQ(wakers.alive(), 0);
      EXPECT_THAT(copied(compilation.take().value()), ElementsAre("one", "", "three"));
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  const auto stats = cache.stats().value();
  EXPECT_EQ(stats.compilations, 1U);
  EXPECT_EQ(stats.misses, 1U);
  EXPECT_EQ(stats.hits + stats.joined, 3U);
  EXPECT_EQ(stats.entries, 1U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations, 1U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().factories, 1U);
}

TEST(FactoryCache, WhatIsThereIsReadyAtOnce) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const auto first = got(cache.get("key", module("c_identity"), transform));
  waker_tally wakers;
  for (const bool with_module : {true, false}) {
    auto compilation =
        (with_module ? cache.get("key", module("c_identity"), transform) : cache.get("key")).value();
    const auto waker = wakers.give();
    EXPECT_EQ(compilation.poll(&waker).value(), WASM_POLL_READY);
    EXPECT_TRUE(compilation.take());
    EXPECT_EQ(compilation.take().err().status(), WASM_STATUS_NO_RESULT) << "once";
  }
  EXPECT_EQ(wakers.dropped(), 2);
  EXPECT_THAT(copied(cache.get("key").value().take().value()), ElementsAre("one", "", "three")) << "unpolled, too";
  EXPECT_EQ(cache.stats().value().hits, 3U);
}

TEST(FactoryCache, WithoutAKeyModuleAndDescriptionAreTheKey) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const auto get = [&](std::string_view guest, const we::transform_config& t) {
    return got(cache.get({}, module(guest), t));
  };
  auto env = transform;
  env.env = {{"a", "b"}};
  const std::vector<we::factory> all{get("c_identity", transform), get("c_tee", transform),
                                     get("c_identity", with_topics({"a", "b"})), get("c_identity", env)};
  EXPECT_EQ(cache.stats().value().entries, 4U);
  EXPECT_EQ(cache.stats().value().hits, 0U);
  (void)get("c_identity", env);
  EXPECT_EQ(cache.stats().value().hits, 1U);
}

TEST(FactoryCache, AKeyWithoutAModuleFindsOnlyWhatIsThere) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const auto missing = cache.get("key");
  ASSERT_EQ(refusal(missing), WASM_STATUS_NOT_CACHED);
  EXPECT_STREQ(missing.err().status_name(), "not-cached");
  EXPECT_THAT(missing.err().what(), HasSubstr("pass the module"));
  EXPECT_EQ(refusal(cache.get("key", {}, {})), WASM_STATUS_NOT_CACHED) << "a description without a module is not read";
  EXPECT_EQ(refusal(cache.get({}, {}, transform)), WASM_STATUS_INVALID_ARGUMENT) << "neither key nor module";
  auto begun = cache.get("key", module("c_identity"), transform).value();
  const auto joined = got(cache.get("key"));
  EXPECT_TRUE(succeeded(finish(begun)));
}

TEST(FactoryCache, AKeyIsNoOtherModules) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  (void)got(cache.get("key", module("c_identity"), transform));
  const auto other = cache.get("key", module("c_tee"), transform);
  ASSERT_EQ(refusal(other), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(other.err().what(), AllOf(HasSubstr("transform \"tested\""), HasSubstr("SHA-256"), HasSubstr("another key")));
  EXPECT_EQ(refusal(cache.get("key", module("c_identity"), with_topics({"else"}))), WASM_STATUS_INVALID_ARGUMENT);
  // Until nobody uses it: then the key is free.
  EXPECT_EQ(cache.collect().value(), 1U);
  EXPECT_TRUE(got(cache.get("key", module("c_tee"), transform)));
}

TEST(FactoryCache, AFailureIsForAllWhoWaitAndNotKept) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  auto one = cache.get("key", module("wat_no_start"), transform).value();
  auto other = cache.get("key", module("wat_no_start"), transform).value();
  EXPECT_EQ(finish(one).status, WASM_STATUS_MODULE_NO_START);
  EXPECT_EQ(finish(other).status, WASM_STATUS_MODULE_NO_START);
  EXPECT_EQ(cache.stats().value().entries, 0U);
  EXPECT_EQ(refusal(cache.get("key")), WASM_STATUS_NOT_CACHED);
  EXPECT_TRUE(got(cache.get("key", module("c_identity"), transform)));
}

TEST(FactoryCache, FuturesFactoriesAndEnginesOutliveIt) {
  auto runtime = we::runtime::create().value();
  auto cache = we::factory_cache::create(runtime).value();
  runtime = {};
  auto engine = we::engine::create(got(cache.get("there", module("c_identity"), transform))).value();
  std::vector<we::compilation> going_on;
  for (int n = 0; n < 6; ++n) {
    going_on.push_back(cache.get(std::to_string(n / 2), module("c_identity"), transform).value());
  }
  cache = {};
  for (std::size_t n = 0; n < going_on.size(); n += 2) {
    going_on[n] = {};
    EXPECT_THAT(copied(got(std::move(going_on[n + 1]))), ElementsAre("one", "", "three"));
  }
  EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
}

TEST(FactoryCache, SeveralOfARuntimeKnowNothingOfEachOther) {
  const auto runtime = we::runtime::create().value();
  const auto one = we::factory_cache::create(runtime).value();
  const auto other = we::factory_cache::create(runtime).value();
  const auto factory = got(one.get("key", module("c_identity"), transform));
  EXPECT_EQ(refusal(other.get("key")), WASM_STATUS_NOT_CACHED);
  EXPECT_EQ(other.collect().value(), 0U);
}

/// The same code as another module: with a section more.
kafka::bytes another(std::string_view guest, std::uint8_t number) {
  auto bytes = module(guest);
  bytes.insert(bytes.end(), {0, 3, 1, 'n', number});
  return bytes;
}

TEST(FactoryCache, CollectingGivesMachineCodeBackToTheSystem) {
  constexpr int many = 20;
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  const auto executable = [&] { return we::runtime_metrics(runtime).value().executable_bytes; };
  const auto used = got(cache.get("used", module("rust_identity"), transform));
  const auto metric_before = executable();
  const auto mapped_before = mappings::now();
  for (int n = 0; n < many; ++n) {
    auto t = transform;
    t.name += std::to_string(n);
    (void)got(cache.get({}, another("rust_identity", static_cast<std::uint8_t>(n)), t));
  }
  const auto metric_full = executable();
  const auto mapped_full = mappings::now();
  const auto resident_full = resident_bytes();
  EXPECT_EQ(metric_full, (many + 1) * metric_before) << "each is the same code";
  EXPECT_GE(mapped_full.executable, mapped_before.executable + many * metric_before);
  EXPECT_EQ(cache.collect(std::chrono::hours(1)).value(), 0U);
  EXPECT_EQ(cache.collect().value(), static_cast<std::uint64_t>(many));
  EXPECT_EQ(executable(), metric_before);
  EXPECT_EQ(mappings::now().executable, mapped_before.executable);
  // Besides code, much is freed that the allocator may keep. The sanitizer's keeps all.
  if (!sanitized) {
    EXPECT_LE(resident_bytes() + (metric_full - metric_before), resident_full);
  }
  EXPECT_THAT(copied(used), ElementsAre("one", "", "three"));
  const auto stats = cache.stats().value();
  EXPECT_EQ(stats.entries, 1U);
  EXPECT_EQ(stats.collected, static_cast<std::uint64_t>(many));
}

TEST(FactoryCache, WhatAnEngineNeedsStays) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  auto engine = we::engine::create(got(cache.get("key", module("c_identity"), transform))).value();
  EXPECT_EQ(cache.collect().value(), 0U) << "also while it is stopped";
  EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
  EXPECT_EQ(cache.collect().value(), 0U);
  engine = {};
  EXPECT_EQ(cache.collect().value(), 1U);
}

TEST(FactoryCache, CollectsByItselfIfItIsTold) {
  const auto runtime = we::runtime::create().value();
  const auto now = std::chrono::nanoseconds(1);
  const auto cache = we::factory_cache::create(runtime, {now, now}).value();
  (void)got(cache.get("one", module("c_identity"), transform));
  (void)got(cache.get("other", module("c_identity"), transform));
  EXPECT_EQ(refusal(cache.get("one")), WASM_STATUS_NOT_CACHED);
  EXPECT_EQ(cache.stats().value().collected, 2U);
  const auto never = we::factory_cache::create(runtime, {now, {}}).value();
  (void)got(never.get("one", module("c_identity"), transform));
  (void)got(never.get("other", module("c_identity"), transform));
  EXPECT_EQ(never.stats().value().entries, 2U);
}

TEST(FactoryCache, TheDirectoryIsAskedOnceForEachFactory) {
  scratch dir;
  const cached c(dir.cache);
  const auto cache = we::factory_cache::create(c.runtime).value();
  std::vector<we::compilation> going_on;
  for (int n = 0; n < 10; ++n) {
    going_on.push_back(cache.get("key", module("c_identity"), transform).value());
  }
  for (auto& compilation : going_on) {
    EXPECT_TRUE(succeeded(finish(compilation)));
  }
  EXPECT_EQ(c.stats(), (counts{0, 1, 1, 0, 0}));
  going_on.clear();
  EXPECT_EQ(cache.collect().value(), 1U);
  (void)got(cache.get("key", module("c_identity"), transform));
  EXPECT_EQ(c.stats(), (counts{1, 1, 1, 0, 0})) << "what was collected is loaded, not compiled";
}

TEST(FactoryCache, IsInTheMetrics) {
  const auto runtime = we::runtime::create().value();
  const auto cache = we::factory_cache::create(runtime).value();
  (void)got(cache.get("key", module("c_identity"), transform));
  for (int n = 0; n < 3; ++n) {
    (void)got(cache.get("key"));
  }
  (void)cache.get("another");
  (void)cache.collect();
  const auto m = we::runtime_metrics(runtime).value();
  EXPECT_EQ(m.factory_cache_hits, 3U);
  EXPECT_EQ(m.factory_cache_misses, 2U);
  EXPECT_EQ(m.factory_cache_joined, 0U);
  EXPECT_EQ(m.factory_cache_collected, 1U);
  EXPECT_THAT(text(runtime), AllOf(HasSubstr("wasm_factory_cache_hits_total 3\n"),
                                   HasSubstr("wasm_factory_cache_misses_total 2\n"),
                                   HasSubstr("wasm_factory_cache_joined_total 0\n"),
                                   HasSubstr("wasm_factory_cache_collected_total 1\n")));
}

TEST(FactoryCache, Misuse) {
  const auto runtime = we::runtime::create().value();
  wasm_factory_cache* raw = nullptr;
  wasm_factory_cache_config config{};
  EXPECT_EQ(wasm_factory_cache_create(nullptr, nullptr, &raw, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_cache_create(runtime.get(), nullptr, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_cache_create(runtime.get(), &config, &raw, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(raw, nullptr);
  const auto cache = we::factory_cache::create(runtime).value();
  const auto key = we::as_slice("key");
  wasm_future* future = nullptr;
  EXPECT_EQ(wasm_factory_cache_get(nullptr, key, nullptr, &future, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_cache_get(cache.get(), key, nullptr, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_cache_get(cache.get(), {nullptr, 3}, nullptr, &future, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_cache_get(cache.get(), {}, nullptr, &future, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  wasm_factory_config t{};
  EXPECT_EQ(wasm_factory_cache_get(cache.get(), key, &t, &future, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(future, nullptr);
  EXPECT_EQ(refusal(cache.get("key", module("c_identity"), {})), WASM_STATUS_INVALID_ARGUMENT) << "it has no name";
  EXPECT_EQ(wasm_factory_cache_collect(nullptr, 0, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_factory_cache_collect(cache.get(), UINT64_MAX, nullptr, nullptr), WASM_STATUS_OK);
  wasm_factory_cache_stats stats{};
  EXPECT_EQ(wasm_factory_cache_get_stats(cache.get(), &stats, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(wasm_factory_cache_get_stats(cache.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  stats.size = sizeof(stats);
  EXPECT_EQ(wasm_factory_cache_get_stats(nullptr, &stats, nullptr), WASM_STATUS_NULL_ARGUMENT);
  wasm_factory_cache_release(nullptr);
  EXPECT_EQ(cache.stats().value().misses, 0U) << "what is refused is not counted";
  // From the first request on, as with the first module.
  EXPECT_EQ(runtime.set_code_cache({"/tmp/nowhere"}).err().status(), WASM_STATUS_INVALID_STATE);
}

}  // namespace
