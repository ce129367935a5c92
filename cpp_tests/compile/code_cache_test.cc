// SPDX-License-Identifier: Apache-2.0
//
// Compiled modules that are not compiled again: from the cache, and from artifacts.
#include "support/cache.hh"
#include "support/host_guest.hh"
#include "support/memory_modes.hh"

#include <gmock/gmock.h>

#include <limits>

using namespace cache_tests;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using memory_modes::told;

namespace {

// ---- Hits ----

void expect_the_same_from_the_cache(std::string_view guest) {
  scratch dir;
  std::vector<std::string> compiled;
  {
    cached first(dir.cache);
    auto engine = first.engine(guest);
    EXPECT_EQ(first.stats(), (counts{0, 1, 1, 0, 0}));
    compiled = run(engine);
    EXPECT_THAT(first.warnings(), IsEmpty());
  }
  cached second(dir.cache);
  auto engine = second.engine(guest);
  EXPECT_EQ(second.stats(), (counts{1, 0, 0, 0, 0}));
  EXPECT_EQ(run(engine), compiled);
  EXPECT_EQ(compiled, (std::vector<std::string>{"one", "", "three"}));
  EXPECT_EQ(second.metrics().compilations, 0U);
  EXPECT_EQ(second.metrics().loads, 1U);
}

TEST(Cache, LoadsAGuestInC) { expect_the_same_from_the_cache("c_identity"); }
TEST(Cache, LoadsAGuestInCpp) { expect_the_same_from_the_cache("cpp_identity"); }
TEST(Cache, LoadsAGuestInRust) { expect_the_same_from_the_cache("rust_identity"); }
TEST(GoGuestCache, LoadsAGuestInGo) { expect_the_same_from_the_cache("go_identity"); }

TEST(Cache, CountsTimeToo) {
  scratch dir;
  cached c(dir.cache);
  EXPECT_EQ(c.metrics().compile_ns, 0U);
  compile(c.runtime, "c_identity");
  const auto compiled = c.metrics();
  EXPECT_EQ(compiled.compilations, 1U);
  EXPECT_GT(compiled.compile_ns, 0U);
  EXPECT_EQ(compiled.load_ns, 0U);
  compile(c.runtime, "c_identity");
  const auto loaded = c.metrics();
  EXPECT_EQ(loaded.compile_ns, compiled.compile_ns);
  EXPECT_GT(loaded.load_ns, 0U);
  EXPECT_EQ(of(loaded), (counts{1, 1, 1, 0, 0}));
}

TEST(Cache, BacktracesOfLoadedModulesHaveNames) {
  scratch dir;
  std::vector<std::pair<std::string, std::vector<std::string>>> ends;
  for (const auto expected : {counts{0, 1, 1, 0, 0}, counts{1, 0, 0, 0, 0}}) {
    cached c(dir.cache);
    auto engine = c.engine("wat_start_trap");
    EXPECT_EQ(c.stats(), expected);
    const auto end = finish(engine.start());
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
    std::vector<std::string> names;
    for (const auto& frame : end.why.value().backtrace()) {
      names.emplace_back(frame.function);
    }
    ends.emplace_back(end.message(), names);
  }
  EXPECT_EQ(ends[0], ends[1]);
  EXPECT_THAT(ends[1].second, ElementsAre("main", "start"));
}

/// A world with a host function, whose modules are kept.
struct cached_world : host_guest::world {
  cached_world(const scratch& dir, bool may_wait) {
    runtime.set_code_cache({dir.cache.string()}).value();
    add(
        [this, may_wait](wasm_call* call, const wasm_value* args, wasm_value* results) -> wasm_callback_result {
          if (args[0].i32 < 0) {
            const auto reason = we::as_slice("as the test wants it");
            wasm_call_fail(call, reason, nullptr);
            return WASM_CALLBACK_RESULT_FAILED;
          }
          if (may_wait) {
            promise = host_guest::take_promise(call);
            return WASM_CALLBACK_RESULT_PENDING;
          }
          results[0].i32 = args[0].i32 + args[1].i32;
          return WASM_CALLBACK_RESULT_DONE;
        },
        may_wait);
    start();
  }
  [[nodiscard]] counts counted() const { return of(we::runtime_metrics(runtime).value()); }
  host_guest::owned_promise promise;
};

TEST(Cache, GuestsWaitInHostFunctionsOfLoadedModules) {
  scratch dir;
  std::vector<std::string> messages;
  for (const auto expected : {counts{0, 1, 1, 0, 0}, counts{1, 0, 0, 0, 0}}) {
    cached_world w(dir, true);
    EXPECT_EQ(w.counted(), expected);
    auto operation = w.begin({{7, 8}}).value();
    ASSERT_EQ(host_guest::step(operation).value(), WASM_POLL_PENDING);
    EXPECT_EQ(host_guest::resolve(w.promise, 99), WASM_STATUS_OK);
    EXPECT_EQ(host_guest::step(operation).value(), WASM_POLL_READY);
    EXPECT_THAT(w.reported, ElementsAre(99));
    // A backtrace through the wrapper speaks of the import, as if there were none.
    const auto failed = w.call(0x8000'0000U, 0);
    EXPECT_EQ(failed.status, WASM_STATUS_HOST_FUNCTION_FAILED);
    messages.push_back(failed.message);
  }
  EXPECT_EQ(messages[0], messages[1]);
  EXPECT_THAT(messages[1], AllOf(HasSubstr("as the test wants it"), HasSubstr("start")));
}

TEST(Cache, AFunctionThatMayWaitHereIsAnotherThanOneThatMayNot) {
  scratch dir;
  for (int round = 0; round < 2; ++round) {
    cached_world synchronous(dir, false);
    EXPECT_EQ(synchronous.call(3, 4).message, "");
    EXPECT_THAT(synchronous.reported, ElementsAre(7));
    EXPECT_EQ(synchronous.counted().hits, round == 0 ? 0U : 1U);
    cached_world waiting(dir, true);
    EXPECT_EQ(waiting.counted().hits, round == 0 ? 0U : 1U);
  }
  EXPECT_EQ(dir.files().size(), 2U);
}

TEST(Cache, AHitIsNoWayAroundALimit) {
  scratch dir;
  const auto guest = module("cpp_identity");
  EXPECT_TRUE(succeeded(cached(dir.cache).try_compile(guest)));
  wasm_runtime_config small{};
  small.max_module_size = guest.size() - 1;
  const cached c(dir.cache, 0, small);
  EXPECT_EQ(c.try_compile(guest).status, WASM_STATUS_MODULE_TOO_LARGE);
  small.max_module_size = 0;
  small.memory_limit = 64U << 10;
  const cached d(dir.cache, 0, small);
  EXPECT_EQ(d.try_compile(guest).status, WASM_STATUS_MODULE_MEMORY_LIMIT);
  EXPECT_EQ(d.stats(), (counts{0, 0, 0, 0, 0}));
}

TEST(Cache, WhatIsRefusedIsNotKept) {
  scratch dir;
  const cached c(dir.cache);
  EXPECT_EQ(c.try_compile(module("wat_no_start")).status, WASM_STATUS_MODULE_NO_START);
  auto broken = module("c_identity");
  broken[broken.size() - 3] ^= 0xff;
  EXPECT_EQ(c.try_compile(broken).status, WASM_STATUS_OK) << "only its data or its names are other ones";
  EXPECT_EQ(dir.files().size(), 1U);
}

TEST(Cache, ConfigurationsWithOtherCodeDoNotMeet) {
  scratch dir;
  for (const auto& mode : memory_modes::every_mode) {
    auto runtime = memory_modes::exactly(mode.config()).value();
    runtime.set_code_cache({dir.cache.string()}).value();
    mode.prepare(runtime).value();
    auto engine = we::engine::create(compile(runtime, "c_identity")).value();
    EXPECT_EQ(run(engine).size(), 3U) << mode.name;
    engine = {};
    auto again = we::engine::create(compile(runtime, "c_identity")).value();
    EXPECT_EQ(run(again).size(), 3U) << mode.name;
    const auto counted = of(we::runtime_metrics(runtime).value());
    EXPECT_EQ(counted.hits, counted.misses == 0 ? 2U : 1U);
  }
  EXPECT_GE(dir.files().size(), 3U) << "checks or not, and guards or not";
}

TEST(Cache, IsBounded) {
  scratch dir;
  {
    const cached c(dir.cache);
    compile(c.runtime, "c_identity");
  }
  const auto one = fs::file_size(dir.entry());
  scratch other;
  compile(cached(other.cache).runtime, "c_tee");
  const cached c(dir.cache, one + fs::file_size(other.entry()) - 1);
  compile(c.runtime, "c_tee");
  EXPECT_EQ(c.metrics().code_cache_evictions, 1U);
  compile(c.runtime, "c_identity");
  EXPECT_EQ(c.stats(), (counts{0, 2, 2, 0, 0}));
  EXPECT_EQ(c.metrics().code_cache_evictions, 2U);
  EXPECT_EQ(fs::file_size(dir.entry()), one);
}

// ---- How it is set up ----

TEST(CacheConfig, BeforeTheFirstModuleAndOnce) {
  scratch dir;
  const auto runtime = we::runtime::create().value();
  EXPECT_TRUE(runtime.set_code_cache({dir.cache.string()}));
  EXPECT_EQ(runtime.set_code_cache({dir.cache.string()}).err().status(), WASM_STATUS_INVALID_ARGUMENT);
  const auto late = we::runtime::create().value();
  EXPECT_TRUE(late.validate(module("c_identity")));
  const auto refused = late.set_code_cache({dir.cache.string()});
  EXPECT_EQ(refused.err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_THAT(refused.err().what(), HasSubstr("code cache before a module"));
}

TEST(CacheConfig, Misuse) {
  const auto runtime = we::runtime::create().value();
  wasm_code_cache_config config{sizeof(config), we::as_slice("/tmp"), 0};
  const auto set = [&](const wasm_runtime* r, const wasm_code_cache_config* c) {
    return told([&](wasm_error** e) { return wasm_runtime_set_code_cache(r, c, e); });
  };
  EXPECT_EQ(set(nullptr, &config).first, WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(set(runtime.get(), nullptr).first, WASM_STATUS_NULL_ARGUMENT);
  config.directory = {};
  EXPECT_THAT(set(runtime.get(), &config),
              testing::Pair(WASM_STATUS_INVALID_ARGUMENT, HasSubstr("directory is empty or has a NUL")));
  config.directory = we::as_slice(std::string_view("/tmp/a\0b", 8));
  EXPECT_EQ(set(runtime.get(), &config).first, WASM_STATUS_INVALID_ARGUMENT);
  config.size = 8;
  EXPECT_EQ(set(runtime.get(), &config).first, WASM_STATUS_INVALID_STRUCT_SIZE);
}

TEST(CacheConfig, CompilationsAreCountedWithoutACacheToo) {
  const auto runtime = we::runtime::create().value();
  compile(runtime, "c_identity");
  const auto metrics = we::runtime_metrics(runtime).value();
  EXPECT_EQ(of(metrics), (counts{0, 0, 0, 0, 0}));
  EXPECT_EQ(metrics.compilations, 1U);
}

// ---- Artifacts ----

kafka::bytes artifact_of(const we::runtime& runtime, std::string_view guest) {
  auto making = runtime.precompile(guest.starts_with("h_") ? host_guest::module(guest) : module(guest)).value();
  EXPECT_TRUE(succeeded([&] {
    const auto done = we::drive(making);
    return done ? outcome{} : outcome{done.err().status(), done.err()};
  }()));
  const auto artifact = making.take().value();
  return {artifact.bytes().begin(), artifact.bytes().end()};
}

/// How loading ends.
outcome try_load(const we::runtime& runtime, const kafka::bytes& artifact) {
  auto loading = runtime.load(artifact, with_topics({"out"})).value();
  return finish(loading);
}

TEST(Artifact, RunsLikeItsModule) {
  const auto bytes = artifact_of(we::runtime::create().value(), "rust_identity");
  const auto runtime = we::runtime::create().value();
  auto loading = runtime.load(bytes, with_topics({"out"})).value();
  we::drive(loading).value();
  auto engine = we::engine::create(loading.take().value()).value();
  EXPECT_THAT(run(engine), ElementsAre("one", "", "three"));
  const auto metrics = we::runtime_metrics(runtime).value();
  EXPECT_EQ(metrics.loads, 1U);
  EXPECT_GT(metrics.load_ns, 0U);
  EXPECT_EQ(metrics.compilations, 0U);
}

TEST(Artifact, ComesFromTheCacheAndGoesThere) {
  scratch dir;
  const auto bytes = artifact_of(cached(dir.cache).runtime, "c_identity");
  EXPECT_EQ(read(dir.entry()), bytes);
  const cached c(dir.cache);
  EXPECT_EQ(artifact_of(c.runtime, "c_identity"), bytes);
  EXPECT_EQ(c.stats(), (counts{1, 0, 0, 0, 0}));
}

TEST(Artifact, IsTakenOnce) {
  const auto runtime = we::runtime::create().value();
  auto making = runtime.precompile(module("c_identity")).value();
  we::factory none;
  we::drive(making).value();
  EXPECT_EQ(wasm_future_take_factory(making.get(), none.out(), nullptr), WASM_STATUS_NO_RESULT);
  const auto artifact = making.take().value();
  EXPECT_TRUE(artifact);
  EXPECT_EQ(making.take().err().status(), WASM_STATUS_NO_RESULT);
  EXPECT_EQ(wasm_bytes_view(nullptr).size, 0U);
  wasm_bytes_release(nullptr);

  auto compiling = runtime.compile(module("c_identity"), with_topics({"out"})).value();
  we::artifact nothing;
  EXPECT_EQ(wasm_future_take_artifact(compiling.get(), nothing.out(), nullptr), WASM_STATUS_NO_RESULT);
  EXPECT_EQ(wasm_future_take_artifact(compiling.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  // Released while it is going on, or before.
  for (int n = 0; n < 3; ++n) {
    auto dropped = runtime.precompile(module("c_identity")).value();
  }
}

TEST(Artifact, OfAModuleThatIsRefused) {
  auto making = we::runtime::create().value().precompile(module("wat_no_start")).value();
  EXPECT_EQ(finish(making).status, WASM_STATUS_MODULE_NO_START);
}

TEST(Artifact, DamagedIsRefused) {
  const auto runtime = we::runtime::create().value();
  const auto good = artifact_of(runtime, "c_identity");
  for (std::size_t at = 0; at < good.size(); at += at < 64 ? 1 : 499) {
    auto bytes = good;
    bytes[at] ^= 0x10;
    const auto end = try_load(runtime, bytes);
    const bool format = at >= 8 && at < 12;
    EXPECT_EQ(end.status, format ? WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE : WASM_STATUS_MODULE_ARTIFACT_DAMAGED)
        << "byte " << at;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{55}, good.size() / 2, good.size() - 1}) {
    const auto end = try_load(runtime, {good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
    EXPECT_EQ(end.status, WASM_STATUS_MODULE_ARTIFACT_DAMAGED) << size;
  }
  EXPECT_TRUE(succeeded(try_load(runtime, good)));
}

TEST(Artifact, AndModulesAreToldApart) {
  const auto runtime = we::runtime::create().value();
  auto end = try_load(runtime, module("c_identity"));
  EXPECT_EQ(end.status, WASM_STATUS_MODULE_ARTIFACT_DAMAGED);
  EXPECT_THAT(end.message(), AllOf(HasSubstr("\"tested\""), HasSubstr("wasm_factory_create")));
  auto compilation = runtime.compile(artifact_of(runtime, "c_identity"), with_topics({"out"})).value();
  end = finish(compilation);
  EXPECT_EQ(end.status, WASM_STATUS_MODULE_NOT_WASM);
  EXPECT_THAT(end.message(), HasSubstr("wasm_factory_load"));
}

TEST(Artifact, OfAnotherConfigurationIsRefusedWithWhatDiffers) {
  const auto plain = memory_modes::exactly({}).value();
  wasm_runtime_config config{};
  config.trap_mode = WASM_TRAP_MODE_CHECKS;
  const auto checks = memory_modes::exactly(config).value();
  auto end = try_load(plain, artifact_of(checks, "c_identity"));
  EXPECT_EQ(end.status, WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE);
  EXPECT_THAT(end.message(), AllOf(HasSubstr("trap_mode CHECKS. This is"), HasSubstr("trap_mode SIGNALS"),
                                   HasSubstr("compile its module again")));
  end = try_load(checks, artifact_of(plain, "c_identity"));
  EXPECT_EQ(end.status, WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE);
  EXPECT_STREQ(wasm_status_name(end.status), "module-artifact-incompatible");
}

TEST(Artifact, IsCheckedLikeItsModule) {
  wasm_runtime_config small{};
  small.memory_limit = 64U << 10;
  const auto artifact = artifact_of(we::runtime::create().value(), "cpp_identity");
  EXPECT_EQ(try_load(we::runtime::create(small).value(), artifact).status, WASM_STATUS_MODULE_MEMORY_LIMIT);
  small.memory_limit = 0;
  small.max_module_size = 100;
  EXPECT_EQ(try_load(we::runtime::create(small).value(), artifact).status, WASM_STATUS_MODULE_TOO_LARGE);

  // Its host functions: not there, and of another kind.
  const auto answer = [](auto...) { return WASM_CALLBACK_RESULT_DONE; };
  host_guest::world synchronous;
  synchronous.add(answer, false);
  const auto caller = artifact_of(synchronous.runtime, "h_call");
  EXPECT_TRUE(succeeded(try_load(synchronous.runtime, caller)));
  EXPECT_EQ(try_load(we::runtime::create().value(), caller).status, WASM_STATUS_MODULE_UNKNOWN_IMPORT);
  host_guest::world waiting;
  waiting.add(answer, true);
  const auto end = try_load(waiting.runtime, caller);
  EXPECT_EQ(end.status, WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE);
  EXPECT_THAT(end.message(), HasSubstr("host function t.f may wait here but might not where it was made"));
}

}  // namespace
