// SPDX-License-Identifier: Apache-2.0
//
// Memory is refused at every point of what the library does. That is never the end of the process: what was asked for
// succeeds, or fails with WASM_STATUS_OUT_OF_MEMORY; afterwards all works again, and nothing has leaked.
//
// Each point is tried in a child of its own. Of scenarios with more than 40 points so many are tried, evenly spread.
// With WASM_ENGINE_EVERY_ALLOCATION=1 all are, which takes an hour for what compiles (`make faults-memory`).
#include "process/failing_malloc.hh"
#include "process/interposed.hh"
#include "process/process.hh"
#include "process/shortage_world.hh"

#include <gmock/gmock.h>

#include <array>
#include <functional>
#include <map>

using namespace testing_support;
using shortage::world;

namespace {

struct scenario {
  const char* name;
  std::function<void(world&)> prepare;       ///< In the parent, with all the memory there is.
  std::function<wasm_status(world&)> act;    ///< While memory is refused.
  std::function<wasm_status(world&)> works;  ///< Afterwards, whatever came of it.
};

std::ostream& operator<<(std::ostream& out, const scenario& s) { return out << s.name; }

/// What a child tells.
struct report {
  wasm_status status = WASM_STATUS_OK;
  wasm_status works = WASM_STATUS_OK;
  std::size_t broken = 0;
  std::int64_t live = 0;
  failing::tally tally;
};

struct attempt {
  std::string ending;
  report told;
};

/// One child: refuses what the plan says while the scenario acts.
attempt attempt_with(const scenario& s, world& w, const failing::plan& plan) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  attempt out;
  out.ending = process::in_child([&] {
    report r;
    const auto before = failing::live();
    const auto threads = process::threads();
    failing::begin(plan);
    r.status = s.act(w);
    r.tally = failing::end();
    r.works = s.works(w);
    r.broken = w.broken;
    w.release();
    EXPECT_TRUE(process::threads_become(threads));
    r.live = failing::live() - before;
    EXPECT_EQ(write(ends[1], &r, sizeof(r)), ssize_t{sizeof(r)});
  });
  close(ends[1]);
  EXPECT_TRUE(read(ends[0], &out.told, sizeof(out.told)) == ssize_t{sizeof(out.told)} || out.ending != "exit 0");
  close(ends[0]);
  return out;
}

class outcomes {
 public:
  /// `again` is the same attempt, which tells who was refused.
  template <typename Again>
  void add(const attempt& a, const report& unharmed, const failing::plan& plan, const std::string& where, Again&& again) {
    ++_tried;
    const auto ending = a.ending.substr(0, a.ending.find(','));
    ++_all[ending == "exit 0" ? wasm_status_name(a.told.status) : ending];
    std::string why = ending == "exit 0" ? wrong_with(a.told, unharmed, plan) : a.ending;
    if (why.empty()) {
      return;
    }
    if (++_failed <= 3) {
      // Told at the end: a child would think that the failure is its own.
      _why += where + ": " + why + "\n" + again().ending + "\n";
    }
  }
  ~outcomes() {
    std::printf("  %4zu tried:", _tried);
    for (const auto& [what, count] : _all) {
      std::printf(" %s %zu;", what.c_str(), count);
    }
    std::printf("\n");
    EXPECT_EQ(_failed, 0U) << _why;
  }

 private:
  static std::string wrong_with(const report& r, const report& unharmed, const failing::plan& plan) {
    // A thread cannot be started: the kernel does not say why.
    const bool may_be_system = plan.kernel && r.status == WASM_STATUS_SYSTEM;
    if (r.status != WASM_STATUS_OK && r.status != WASM_STATUS_OUT_OF_MEMORY && !may_be_system) {
      return std::string("status ") + wasm_status_name(r.status);
    }
    if (r.works != WASM_STATUS_OK) {
      return std::string("then it does not work: ") + wasm_status_name(r.works);
    }
    if (r.broken > 0) {
      return "an error without a message";
    }
    return r.live > unharmed.live ? std::to_string(r.live - unharmed.live) + " blocks leak" : "";
  }

  std::size_t _tried = 0;
  std::size_t _failed = 0;
  std::string _why;
  std::map<std::string, std::size_t> _all;
};

/// The points to try: all if they are few.
std::vector<std::uint64_t> points(std::uint64_t all) {
  constexpr std::uint64_t most = 40;
  std::vector<std::uint64_t> out;
  if (all <= most || std::getenv("WASM_ENGINE_EVERY_ALLOCATION") != nullptr) {
    for (std::uint64_t n = 1; n <= all; ++n) {
      out.push_back(n);
    }
    return out;
  }
  for (std::uint64_t i = 0; i < most; ++i) {
    out.push_back(1 + i * (all - 1) / (most - 1));
  }
  return out;
}

class Shortage : public testing::TestWithParam<scenario> {
 protected:
  void SetUp() override {
    GetParam().prepare(w);
    ASSERT_FALSE(HasFatalFailure());
    const auto first = attempt_with(GetParam(), w, {});
    ASSERT_EQ(first.ending, "exit 0");
    unharmed = first.told;
    ASSERT_EQ(unharmed.status, WASM_STATUS_OK);
    ASSERT_EQ(unharmed.works, WASM_STATUS_OK);
    std::printf("  %zu allocations, at most %zu KiB, the largest %zu bytes\n",
                static_cast<std::size_t>(unharmed.tally.allocations),
                static_cast<std::size_t>(unharmed.tally.peak) >> 10, unharmed.tally.largest);
  }
  void TearDown() override { w.release(); }

  void walk(failing::plan plan) {
    outcomes all;
    for (const auto n : points(unharmed.tally.allocations)) {
      plan.nth = n;
      tries(all, plan, "allocation " + std::to_string(n));
    }
  }

  void tries(outcomes& all, failing::plan plan, const std::string& where) {
    all.add(attempt_with(GetParam(), w, plan), unharmed, plan, where, [&] {
      plan.tells = true;
      return attempt_with(GetParam(), w, plan);
    });
  }

  world w;
  report unharmed;
};

TEST_P(Shortage, OfOneAllocation) { walk({}); }

TEST_P(Shortage, ThatLasts) { walk({.lasting = true}); }

TEST_P(Shortage, ThatLastsAndOfTheKernelsToo) { walk({.lasting = true, .kernel = true}); }

TEST_P(Shortage, OfLargeBlocks) {
  outcomes all;
  for (const std::size_t size : {std::size_t{128} << 10, std::size_t{32} << 10, std::size_t{4} << 10}) {
    tries(all, {.size = size}, std::to_string(size) + " bytes and more");
  }
}

void all_well(std::initializer_list<wasm_status> statuses) {
  for (const auto status : statuses) {
    ASSERT_EQ(status, WASM_STATUS_OK) << wasm_status_name(status);
  }
}

std::vector<std::string> many_values(std::size_t count, std::size_t size) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(std::to_string(i) + std::string(size, static_cast<char>('a' + i % 26)));
  }
  return values;
}

/// Makes what is missing, and transforms the batch.
wasm_status work(world& w) {
  const auto done = [](wasm_status s) { return s == WASM_STATUS_OK; };
  wasm_status s = WASM_STATUS_OK;
  if (w.runtime == nullptr && !(done(s = w.make_runtime()) && done(s = w.add_function()))) {
    return s;
  }
  if (w.factory == nullptr && !done(s = w.compile())) {
    return s;
  }
  if (w.engine == nullptr && !done(s = w.make_engine())) {
    return s;
  }
  if (w.state() == WASM_ENGINE_STATE_STOPPED && !done(s = w.start())) {
    return s;
  }
  return w.transform();
}

std::function<void(world&)> with(const char* guest, std::function<kafka::bytes()> batch,
                                 std::function<void(world&)> more = [](world&) {}) {
  return [=](world& w) {
    w.module = module(guest);
    w.batch = batch();
    more(w);
  };
}

kafka::bytes small() { return built({"a", "b"}); }

void runtime_only(world& w) { all_well({w.make_runtime(), w.add_function()}); }
void factory_too(world& w) {
  runtime_only(w);
  all_well({w.compile()});
}
void engine_too(world& w) {
  factory_too(w);
  all_well({w.make_engine(), w.start()});
}

scenario transforms(const char* name, const char* guest, std::function<kafka::bytes()> batch) {
  return {name, with(guest, std::move(batch), engine_too), [](world& w) { return w.transform(); }, work};
}

/// Values of `size` bytes with so many headers each, given as records or as a batch.
enum class given { as_records, as_a_batch };
scenario takes_apart(const char* name, given how, std::size_t count, std::size_t size, std::size_t headers,
                     bool apart = true) {
  const auto prepare = [=](world& w) {
    w.values.assign(count, std::string(size, 'x'));
    shortage::we::payload p;
    for (std::size_t i = 0; i < headers; ++i) {
      p.headers.push_back({"h", std::nullopt});
    }
    auto builder = shortage::we::batch_builder::create({100}).value();
    for (const auto& value : w.values) {
      p.value = value;
      if (how == given::as_records) {
        w.given.add(p, 7, 0);
      } else {
        builder.add(0, p).value();
      }
    }
    const auto made = builder.finish().value();
    w.batch.assign(made.begin(), made.end());
    w.takes_apart = apart;
    engine_too(w);
  };
  return {name, with("c_identity", small, prepare),
          // None is lost.
          [=](world& w) {
            const auto status = w.transform();
            return status == WASM_STATUS_OK && w.records != count ? wasm_status{WASM_STATUS_INTERNAL} : status;
          },
          work};
}

scenario decompresses(const char* name, wasm_compression codec) {
  return transforms(name, "c_identity", [codec] { return built(many_values(400, 600), {100, codec}); });
}

// docs/memory-shortage.md says so.
TEST(MemoryOfABatch, IsInSmallBlocksWhateverItsFrameAnnounces) {
  const auto packed = [](wasm_compression codec) { return built(many_values(400, 600), {100, codec}); };
  auto announcing = packed(WASM_COMPRESSION_LZ4);
  // Behind the batch's header: magic, flags (independent blocks), largest block and checksum. 0x70 announces 4 MiB.
  ASSERT_EQ(announcing[kafka::header_size + 4], 0x60);
  announcing[kafka::header_size + 5] = 0x70;
  announcing[kafka::header_size + 6] = 0x73;
  kafka::batch::reseal(announcing);
  for (const auto& batch : {packed(WASM_COMPRESSION_NONE), packed(WASM_COMPRESSION_GZIP),
                            packed(WASM_COMPRESSION_SNAPPY), packed(WASM_COMPRESSION_LZ4), announcing}) {
    world w;
    const auto s = transforms("Transforms", "c_identity", [&] { return batch; });
    s.prepare(w);
    const auto tried = attempt_with(s, w, {});
    EXPECT_EQ(tried.ending, "exit 0");
    EXPECT_EQ(tried.told.status, WASM_STATUS_OK);
    EXPECT_GT(tried.told.tally.largest, std::size_t{32} << 10) << "it is measured";
    EXPECT_LE(tried.told.tally.largest, std::size_t{128} << 10);
    w.release();
  }
}

const std::vector<scenario> scenarios{
    {"CreatesARuntime", with("c_identity", small), [](world& w) { return w.make_runtime(); },
     [](world& w) { return w.runtime != nullptr && w.add_function() != WASM_STATUS_OK ? wasm_status{WASM_STATUS_INTERNAL} : work(w); }},
    {"AddsAHostFunction", with("c_identity", small, [](world& w) { all_well({w.make_runtime()}); }),
     [](world& w) { return w.add_function(); },
     [](world& w) {
       w.add_function();
       return work(w);
     }},
    {"Validates", with("c_identity", small, runtime_only),
     [](world& w) {
       return w.call([&](auto e) { return wasm_runtime_validate(w.runtime, shortage::we::as_slice(w.module), e); });
     },
     work},
    {"Inspects", with("c_identity", small, runtime_only),
     [](world& w) {
       return w.call([&](auto e) { return wasm_runtime_inspect(w.runtime, shortage::we::as_slice(w.module), &w.bytes, e); });
     },
     work},
    {"Compiles", with("c_identity", small, runtime_only), [](world& w) { return w.compile(); }, work},
    {"CompilesRust", with("rust_identity", small, runtime_only), [](world& w) { return w.compile(); }, work},
    {"Precompiles", with("c_identity", small, runtime_only), [](world& w) { return w.precompile(); },
     [](world& w) {
       wasm_bytes_release(std::exchange(w.bytes, nullptr));
       return work(w);
     }},
    {"Loads", with("c_identity", small,
                   [](world& w) {
                     runtime_only(w);
                     all_well({w.precompile()});
                   }),
     [](world& w) { return w.load(); }, work},
    {"Starts", with("c_identity", small,
                    [](world& w) {
                      factory_too(w);
                      all_well({w.make_engine()});
                    }),
     [](world& w) { return w.start(); }, work},
    {"StartsRust", with("rust_identity", small,
                        [](world& w) {
                          factory_too(w);
                          all_well({w.make_engine()});
                        }),
     [](world& w) { return w.start(); }, work},
    {"MakesAnEngine", with("c_identity", small, factory_too), [](world& w) { return w.make_engine(); }, work},
    {"Stops", with("c_identity", small, engine_too), [](world& w) { return w.stop(); }, work},
    transforms("Transforms", "c_identity", small),
    transforms("TransformsMuch", "c_identity", [] { return built(many_values(400, 600)); }),
    transforms("TransformsOneLargeRecord", "c_identity", [] { return built({std::string(300'000, 'x')}); }),
    transforms("TransformsByRust", "rust_identity", [] { return built(many_values(40, 600)); }),
    takes_apart("TransformsRecords", given::as_records, 2, 10, 0, false),
    takes_apart("TransformsManyRecords", given::as_records, 400, 600, 1, false),
    takes_apart("TransformsALargeRecordOfMany", given::as_records, 3, 100'000, 1'000, false),
    takes_apart("TakesOutputApart", given::as_a_batch, 20, 10, 2),
    takes_apart("TakesManyHeadersApart", given::as_a_batch, 2, 10, 6'000),
    takes_apart("TakesRecordsApart", given::as_records, 3'000, 100, 1),
    decompresses("DecompressesGzip", WASM_COMPRESSION_GZIP),
    decompresses("DecompressesSnappy", WASM_COMPRESSION_SNAPPY),
    decompresses("DecompressesLz4", WASM_COMPRESSION_LZ4),
    decompresses("DecompressesZstd", WASM_COMPRESSION_ZSTD),
    transforms("WritesToTheLog", "c_logger", [] { return built(many_values(20, 200)); }),
    transforms("CallsTheHost", "t_later", [] { return built({"w", "w"}); }),
    {"WaitsForTheHost", with("t_later", [] { return built({"w", "w"}); },
                             [](world& w) {
                               w.answers_later = true;
                               engine_too(w);
                             }),
     [](world& w) { return w.transform(); }, work},
    {"SendsDeadLetters", with("t_later", [] { return built({"a", "u", "b", "d"}); },
                              [](world& w) {
                                factory_too(w);
                                all_well({w.make_engine(), w.set_policy(WASM_ON_ERROR_DEAD_LETTER), w.start()});
                              }),
     // None is lost: with OK all four are there.
     [](world& w) {
       const auto status = w.transform();
       return status == WASM_STATUS_OK && w.records != 4 ? wasm_status{WASM_STATUS_INTERNAL} : status;
     },
     work},
    {"DumpsTheCore", with("t_later", [] { return built({"a"}); },
                          [](world& w) {
                            w.core_dumps = true;
                            engine_too(w);
                            w.batch = built({"u"});
                          }),
     // The guest fails, and the error has the dump or not.
     [](world& w) {
       const auto status = w.transform();
       return status == WASM_STATUS_GUEST_TRAP ? wasm_status{WASM_STATUS_OK} : status;
     },
     [](world& w) {
       w.batch = built({"a"});
       return work(w);
     }},
    {"AsksTheSchemaRegistry", with("h_sr", [] { return built({std::string(8, '\0'), std::string("\1\0\0\0\1\0\0\0", 8)}); },
                                   [](world& w) {
                                     all_well({w.make_runtime(), w.add_registry(), w.compile(), w.make_engine(), w.start()});
                                   }),
     [](world& w) { return w.transform(); }, work},
    {"TakesAProfile", with("c_identity", small, engine_too),
     [](world& w) {
       auto status = w.call([&](auto e) { return wasm_engine_start_profile(w.engine, 0, e); });
       if (status == WASM_STATUS_OK) {
         status = w.transform();
       }
       if (status == WASM_STATUS_OK) {
         status = w.call([&](auto e) { return wasm_engine_finish_profile(w.engine, &w.bytes, e); });
       }
       return status;
     },
     work},
    {"CachesAFactory", with("c_identity", small,
                            [](world& w) {
                              runtime_only(w);
                              all_well({w.call([&](auto e) { return wasm_factory_cache_create(w.runtime, nullptr, &w.cache, e); })});
                            }),
     [](world& w) { return w.compile_cached(); },
     [](world& w) {
       wasm_factory_release(std::exchange(w.factory, nullptr));
       const auto status = w.compile_cached();
       return status == WASM_STATUS_OK ? work(w) : status;
     }},
    {"ReadsAMetricsSnapshot", with("c_identity", small, engine_too),
     [](world& w) {
       wasm_metrics* metrics = nullptr;
       auto status = w.call([&](auto e) { return wasm_metrics_create(w.runtime, &metrics, e); });
       if (status == WASM_STATUS_OK) {
         status = w.call([&](auto e) { return wasm_metrics_update(metrics, e); });
       }
       wasm_metrics_release(metrics);
       return status;
     },
     work},
    {"TellsOfMisuse", with("c_identity", small, engine_too),
     [](world& w) {
       const auto status = w.call([&](auto e) { return wasm_engine_start(w.engine, nullptr, e); });
       return status == WASM_STATUS_NULL_ARGUMENT ? wasm_status{WASM_STATUS_OK} : status;
     },
     work},
    {"WritesMetrics", with("c_identity", small, engine_too),
     [](world& w) { return w.call([&](auto e) { return wasm_runtime_metrics_text(w.runtime, &w.bytes, e); }); }, work},
};

INSTANTIATE_TEST_SUITE_P(While, Shortage, testing::ValuesIn(scenarios),
                         [](const auto& s) { return std::string(s.param.name); });

// Without this, everything above could be true because nothing is refused.
TEST(FailingMalloc, IsTheLibrarysToo) {
  EXPECT_TRUE(process::calls(malloc, "malloc"));
  EXPECT_TRUE(process::calls(calloc, "calloc"));
  EXPECT_TRUE(process::calls(realloc, "realloc"));
  EXPECT_TRUE(process::calls(free, "free"));
  EXPECT_TRUE(process::calls(posix_memalign, "posix_memalign"));
  failing::begin({.nth = 1});
  void* refused = malloc(10);
  void* given = malloc(10);
  const auto tally = failing::end();
  EXPECT_EQ(refused, nullptr);
  EXPECT_NE(given, nullptr);
  EXPECT_EQ(tally.refused, 1U);
  free(given);
}

}  // namespace
