// SPDX-License-Identifier: Apache-2.0
//
// Modules that are refused, each with its own status, and what is said about them.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::AnyOf;
using testing::HasSubstr;

namespace {

wasmengine::runtime a_runtime(const wasm_runtime_config& config = {}) {
  return wasmengine::runtime::create(config).value();
}

kafka::bytes bytes(std::string_view text) { return {text.begin(), text.end()}; }

void expect_refused(const wasmengine::runtime& runtime, const kafka::bytes& module, wasm_status status,
                    const std::string& says) {
  const auto verdict = runtime.validate(module);
  ASSERT_FALSE(verdict) << "expected " << wasm_status_name(status);
  EXPECT_EQ(verdict.err().status(), status) << verdict.err().what();
  EXPECT_THAT(verdict.err().what(), HasSubstr(says));

  // Compilation says the same, and inspection tells both status and reason.
  auto compilation = runtime.compile(module, with_topics({"out"})).value();
  const auto end = finish(compilation);
  EXPECT_EQ(end.status, status) << end.message();
  EXPECT_THAT(end.message(), HasSubstr(says));
  const auto json = runtime.inspect(module);
  ASSERT_TRUE(json);
  EXPECT_THAT(const_cast<wasmengine::result<std::string>&>(json).value(), HasSubstr(wasm_status_name(status)));
}

TEST(Validate, AcceptsTheGuestsOfAllLanguages) {
  const auto runtime = a_runtime();
  for (const auto* guest : {"c_identity", "cpp_identity", "rust_identity", "rust_sr_unused", "go_identity"}) {
    EXPECT_TRUE(runtime.validate(module(guest))) << guest;
  }
}

TEST(Validate, RefusesWhatIsNotWasm) {
  expect_refused(a_runtime(), bytes("\x7f" "ELF and so on"), WASM_STATUS_MODULE_NOT_WASM, "not WebAssembly");
  expect_refused(a_runtime(), {}, WASM_STATUS_MODULE_NOT_WASM, "empty");
  expect_refused(a_runtime(), bytes(std::string_view("\0as", 3)), WASM_STATUS_MODULE_NOT_WASM, "");
}

TEST(Validate, RefusesTheTextFormat) {
  for (const auto* text : {"(module)", "  \n(module $m (func))", ";; a comment\n(module)", "(; a comment ;) (module)"}) {
    expect_refused(a_runtime(), bytes(text), WASM_STATUS_MODULE_TEXT_FORMAT, "wat2wasm");
  }
}

TEST(Validate, RefusesComponents) {
  expect_refused(a_runtime(), {0, 'a', 's', 'm', 0x0d, 0, 1, 0}, WASM_STATUS_MODULE_IS_COMPONENT, "component");
}

TEST(Validate, RefusesModulesThatAreTooLarge) {
  wasm_runtime_config config{};
  config.max_module_size = 500;
  expect_refused(a_runtime(config), module("c_identity"), WASM_STATUS_MODULE_TOO_LARGE, "500");
}

TEST(Validate, RefusesModulesThatStartWithMoreMemoryThanTheLimit) {
  expect_refused(a_runtime(), module("wat_big_memory"), WASM_STATUS_MODULE_MEMORY_LIMIT, "134217728");
}

struct refusal {
  const char* guest;
  wasm_status status;
  const char* says;
};

void PrintTo(const refusal& r, std::ostream* out) { *out << r.guest; }

class EveryRefusal : public testing::TestWithParam<refusal> {};

TEST_P(EveryRefusal, HasItsOwnStatusAndSaysWhatIsWrong) {
  expect_refused(a_runtime(), module(GetParam().guest), GetParam().status, GetParam().says);
}

INSTANTIATE_TEST_SUITE_P(
    Modules, EveryRefusal,
    testing::Values(refusal{"wat_no_start", WASM_STATUS_MODULE_NO_START, "_start"},
                    refusal{"wat_start_signature", WASM_STATUS_MODULE_START_SIGNATURE, "(i32)"},
                    refusal{"wat_no_memory", WASM_STATUS_MODULE_NO_MEMORY, "memory"},
                    refusal{"wat_memory64", WASM_STATUS_MODULE_MEMORY64, "64"},
                    refusal{"wat_no_abi", WASM_STATUS_MODULE_NO_ABI, "check_abi_version"},
                    refusal{"wat_abi9", WASM_STATUS_MODULE_UNKNOWN_ABI, "9"},
                    refusal{"wat_sr_abi9", WASM_STATUS_MODULE_UNKNOWN_SCHEMA_REGISTRY, "9"},
                    refusal{"wat_unknown_import", WASM_STATUS_MODULE_UNKNOWN_IMPORT,
                            "redpanda_transform.make_coffee, env.launch"},
                    refusal{"wat_import_signature", WASM_STATUS_MODULE_IMPORT_SIGNATURE, "write_record"}),
    [](const auto& info) { return std::string(info.param.guest); });

TEST(Validate, RefusesMoreTablesOrElementsThanAnEngineHasRoomForBeforeAnythingStarts) {
  for (const auto* guest : {"t_many_tables", "t_big_table"}) {
    const auto verdict = a_runtime().validate(module(guest));
    ASSERT_FALSE(verdict) << guest;
    EXPECT_THAT(verdict.err().what(), HasSubstr("table"));
    EXPECT_EQ(verdict.err().status(), WASM_STATUS_MODULE_TABLE_LIMIT);
  }
}

TEST(Validate, RefusesATruncatedModuleWhereverItEnds) {
  const auto runtime = a_runtime();
  const auto whole = module("c_identity");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto verdict = runtime.validate(std::span(whole).first(size));
    // The last section is the names', and a module that ends before it is whole.
    if (!verdict) {
      EXPECT_GE(verdict.err().status(), WASM_STATUS_MODULE_NOT_WASM) << size;
      EXPECT_LT(verdict.err().status(), WASM_STATUS_GUEST_TRAP) << size;
    } else {
      EXPECT_GT(size, whole.size() / 2);
    }
    EXPECT_TRUE(runtime.inspect(std::span(whole).first(size)));
  }
}

TEST(Validate, SurvivesRandomDamageAndSoDoesCompilation) {
  const auto runtime = a_runtime();
  const auto whole = module("odd_bad_write");
  std::uint32_t seed = 12'345;
  const auto random = [&seed] { return seed = seed * 1'664'525 + 1'013'904'223; };
  int accepted = 0;
  for (int i = 0; i < 1'500; ++i) {
    auto damaged = whole;
    for (int n = 0; n < 3; ++n) {
      damaged[8 + random() / 7 % (damaged.size() - 8)] ^= static_cast<std::uint8_t>(1U << (random() >> 29));
    }
    const auto verdict = runtime.validate(damaged);
    if (!verdict) {
      EXPECT_LT(verdict.err().status(), WASM_STATUS_GUEST_TRAP) << verdict.err().what();
    } else if (++accepted <= 60) {
      auto compilation = runtime.compile(damaged, with_topics({"out"})).value();
      EXPECT_TRUE(succeeded(finish(compilation))) << "what validates also compiles";
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST(Inspect, TellsWhatAModuleIs) {
  const auto json = a_runtime().inspect(module("rust_sr_unused")).value();
  for (const auto* member : {"\"size\"", "\"abi_version\"", "\"schema_registry_abi_version\"", "\"language\"", "\"producers\"",
                             "\"functions\"", "\"code_size\"", "\"data_segments\"", "\"has_names\"", "\"memories\"",
                             "\"imports\"", "\"exports\"", "\"refused\""}) {
    EXPECT_THAT(json, HasSubstr(member));
  }
}

TEST(FactoryDescription, RefusesDescriptionsThatNoGuestCouldBeGiven) {
  const auto runtime = a_runtime();
  const auto guest = module("c_identity");
  const auto refused = [&](const wasmengine::transform_config& t) {
    auto begun = runtime.compile(guest, t);
    return begun ? WASM_STATUS_OK : begun.err().status();
  };
  using std::string_literals::operator""s;
  EXPECT_EQ(refused({"", "in", {"out"}, {}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"a\0b"s, "in", {"out"}, {}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"n", "in", {"out", "out"}, {}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"n", "in", {""}, {}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"n", "in", {"out"}, {{"a=b", "c"}}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"n", "in", {"out"}, {{"", "c"}}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"n", "in", {"out"}, {{"a", "c\0"s}}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"n", "in", {"out"}, {{"REDPANDA_OUTPUT_TOPIC_0", "c"}}}), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused({"\xff", "in", {"out"}, {}}), WASM_STATUS_INVALID_UTF8);
  EXPECT_EQ(refused({"n", "\xff", {"out"}, {}}), WASM_STATUS_INVALID_UTF8);
  EXPECT_EQ(refused({"n", "in", {"\xff"}, {}}), WASM_STATUS_INVALID_UTF8);
  EXPECT_EQ(refused({"n", "in", {"out"}, {{"a", "\xff"}}}), WASM_STATUS_INVALID_UTF8);
}

TEST(RuntimeConfig, RefusesSettingsThatMakeNoSenseAndNamesTheField) {
  const auto refused = [](auto field, std::uint64_t value, const char* name) {
    wasm_runtime_config config{};
    config.*field = static_cast<std::remove_reference_t<decltype(config.*field)>>(value);
    const auto made = wasmengine::runtime::create(config);
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.err().status(), WASM_STATUS_INVALID_ARGUMENT) << name;
    EXPECT_THAT(made.err().what(), HasSubstr(name));
  };
  using c = wasm_runtime_config;
  refused(&c::memory_limit, 1, "memory_limit");
  refused(&c::memory_limit, 5ULL << 30, "memory_limit");
  refused(&c::memory_limit, UINT64_MAX, "memory_limit");
  refused(&c::table_limit, UINT64_MAX, "table_limit");
  refused(&c::guest_stack_size, 1, "guest_stack_size");
  refused(&c::host_stack_size, 1, "host_stack_size");
  refused(&c::host_stack_size, UINT64_MAX, "host_stack_size");
  refused(&c::time_slice_ns, 1, "time_slice_ns");
  refused(&c::time_slice_ns, UINT64_MAX, "time_slice_ns");
  refused(&c::record_time_limit_ns, 1, "record_time_limit_ns");
  refused(&c::record_time_limit_ns, UINT64_MAX, "record_time_limit_ns");
  refused(&c::output_buffer_limit, 1, "output_buffer_limit");
  refused(&c::output_buffer_limit, UINT64_MAX, "output_buffer_limit");
  refused(&c::max_module_size, 1, "max_module_size");
  refused(&c::max_batch_size, 1, "max_batch_size");
  refused(&c::max_batch_size, UINT64_MAX, "max_batch_size");
  refused(&c::max_log_line, 1, "max_log_line");
  refused(&c::compile_threads, 100'000, "compile_threads");
}

TEST(RuntimeConfig, TakesTheLargestAndSmallestSettings) {
  wasm_runtime_config config{};
  config.memory_limit = 4ULL << 30;
  config.guest_stack_size = 16 << 10;
  config.host_stack_size = 64 << 10;
  config.output_buffer_limit = 1 << 10;
  config.time_slice_ns = 20'000;
  bench b("c_identity", config);
  EXPECT_TRUE(works(b));
}

TEST(Compilation, OfSeveralModulesAtOnceOnSeveralThreads) {
  wasm_runtime_config config{};
  config.compile_threads = 4;
  const auto runtime = a_runtime(config);
  std::vector<wasmengine::compilation> all;
  for (const auto* guest : {"rust_identity", "c_identity", "cpp_identity", "rust_panic", "wat_no_abi"}) {
    all.push_back(runtime.compile(module(guest), with_topics({"out"})).value());
  }
  EXPECT_EQ(finish(all[4]).status, WASM_STATUS_MODULE_NO_ABI);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(succeeded(finish(all[i])));
  }
}

TEST(Compilation, MayBeReleasedAtOnceAndTheRuntimeToo) {
  for (int i = 0; i < 10; ++i) {
    auto runtime = a_runtime();
    auto first = runtime.compile(module("rust_identity"), with_topics({"out"})).value();
    auto second = runtime.compile(module("c_identity"), with_topics({"out"})).value();
    waker_tally wakers;
    const auto waker = wakers.give();
    EXPECT_TRUE(first.poll(&waker));
    runtime = wasmengine::runtime();
    first = wasmengine::compilation();
    EXPECT_EQ(wakers.alive(), 0);
    EXPECT_TRUE(succeeded(finish(second))) << "what was begun is finished without the runtime";
  }
}

TEST(Compilation, AFactoryIsTakenOnce) {
  const auto runtime = a_runtime();
  auto compilation = runtime.compile(module("c_identity"), with_topics({"out"})).value();
  // Whether it is ready yet is a matter of luck; before its first poll it is not known to be.
  auto early = compilation.take();
  ASSERT_FALSE(early);
  EXPECT_EQ(early.err().status(), WASM_STATUS_INVALID_STATE);
  waker_tally wakers;
  for (auto waker = wakers.give(); compilation.poll(&waker).value() != WASM_POLL_READY; waker = wakers.give()) {
    ASSERT_TRUE(wakers.wait(patience));
  }
  EXPECT_TRUE(compilation.take());
  auto twice = compilation.take();
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.err().status(), WASM_STATUS_NO_RESULT);
}

}  // namespace
