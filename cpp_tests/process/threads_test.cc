// SPDX-License-Identifier: Apache-2.0
//
// The threads of a process that uses the library: which there are, when, and that none is started on the data path.
#include "process/interposed.hh"
#include "process/process.hh"
#include "support/asking.hh"

#include <gmock/gmock.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <fstream>

using namespace testing_support;
using process::plus;
using process::threads;
using process::threads_become;

namespace {

std::atomic<int> started{0};

}  // namespace

// Threads that come and go between two looks are counted, too.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) noexcept {
  using function = int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static auto* const system = reinterpret_cast<function*>(dlsym(RTLD_NEXT, "pthread_create"));
  ++started;
  return system(thread, attributes, start, argument);
}

namespace {

/// Looks at the threads whenever output comes.
struct watching_sink {
  process::strings expected;
  std::size_t records = 0;
  int different = 0;

  void operator()(output_block block) {
    records += block.size();
    different += threads() == expected ? 0 : 1;
  }
};

const std::vector<std::string> three{"one", "two", "three"};

/// Begins when the threads of the test before are gone.
struct fresh : testing::Test {
  fresh() {
    EXPECT_TRUE(process::eventually([] {
      const auto names = threads();
      return std::none_of(names.begin(), names.end(), [](const auto& name) { return name.starts_with("wasm-"); });
    }));
  }
};
using ProcessThreads = fresh;

TEST_F(ProcessThreads, TheLibraryStartsThemWhereTheyAreCounted) {
  ASSERT_TRUE(process::calls(pthread_create, "pthread_create"));
}

// ---- Processors ----

cpu_set_t processors_of(pid_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(thread, sizeof set, &set), 0);
  return set;
}

/// Where the threads of the library run that have this name.
std::vector<cpu_set_t> processors_of(const std::string& name) {
  std::vector<cpu_set_t> found;
  for (const auto& id : process::entries("/proc/self/task")) {
    std::string comm;
    std::getline(std::ifstream("/proc/self/task/" + id + "/comm"), comm);
    if (comm == name) {
      found.push_back(processors_of(std::stoi(id)));
    }
  }
  return found;
}

cpu_set_t only(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return set;
}

int first_of(const cpu_set_t& set) {
  int number = 0;
  while (!CPU_ISSET(number, &set)) {
    ++number;
  }
  return number;
}

/// Whether the library's threads come to run on these.
bool threads_are_on(const cpu_set_t& expected) {
  return process::eventually([&] {
    for (const auto* name : {"wasm-ticker", "wasm-compile-0"}) {
      const auto found = processors_of(name);
      if (found.size() != 1 || !CPU_EQUAL(&found[0], &expected)) {
        return false;
      }
    }
    return true;
  });
}

TEST_F(ProcessThreads, LeaveTheProcessorOfAPinnedThreadThatMadeThem) {
  const auto all = processors_of(0);
  std::thread([&] {
    const auto one = only(first_of(all));
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    const auto runtime = wasmengine::runtime::create().value();
    const auto factory = compile(runtime, "c_identity");
    EXPECT_TRUE(threads_are_on(all));
    const auto mine = processors_of(0);
    EXPECT_TRUE(CPU_EQUAL(&mine, &one)) << "the caller's thread stays where it is";
  }).join();
}

TEST_F(ProcessThreads, RunOnTheProcessorsThatAreNamed) {
  const int last = [] {
    const auto all = processors_of(0);
    int number = CPU_SETSIZE - 1;
    while (!CPU_ISSET(number, &all)) {
      --number;
    }
    return number;
  }();
  const auto list = std::to_string(last);
  wasm_runtime_config config{};
  config.processors = wasmengine::as_slice(list);
  const auto runtime = wasmengine::runtime::create(config).value();
  const auto factory = compile(runtime, "c_identity");
  EXPECT_TRUE(threads_are_on(only(last)));
}

TEST_F(ProcessThreads, ProcessorsThatAreNotThereAreRefused) {
  for (const auto& [list, why] : std::vector<std::pair<std::string, std::string>>{
           {"1-", "is no number"}, {"3-2", "ends before it begins"}, {"8191", "no thread of this process may run there"}}) {
    wasm_runtime_config config{};
    config.processors = wasmengine::as_slice(list);
    const auto made = wasmengine::runtime::create(config);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(std::string(made.err().what()).find("config field processors is \"" + list + "\": "), std::string::npos);
    EXPECT_NE(std::string(made.err().what()).find(why), std::string::npos) << made.err().what();
  }
}

// ---- Their number ----

TEST_F(ProcessThreads, EachStageHasItsOwnAndNoOthers) {
  const auto before = threads();
  const auto ticker = plus(before, {"wasm-ticker"});
  const auto all = plus(ticker, {"wasm-compile-0", "wasm-compile-1", "wasm-compile-2"});
  started = 0;

  wasm_runtime_config config{};
  config.compile_threads = 3;
  auto runtime = wasmengine::runtime::create(config).value();
  EXPECT_TRUE(threads_become(ticker));
  EXPECT_EQ(started, 1);
  auto factory = compile(runtime, "c_identity");
  EXPECT_TRUE(threads_become(all));
  EXPECT_EQ(started, 4);
  auto other = compile(runtime, "rust_identity");
  EXPECT_EQ(threads(), all) << "they are kept for the next module";

  auto engine = wasmengine::engine::create(factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  watching_sink sink{all};
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(succeeded(finish(engine.transform(built(three), sink))));
  }
  EXPECT_EQ(sink.records, 300U);
  EXPECT_EQ(sink.different, 0);
  EXPECT_EQ(threads(), all);
  EXPECT_EQ(started, 4);

  // The compile threads are the runtime's; the ticker stays for whoever may still run.
  runtime = {};
  EXPECT_TRUE(threads_become(ticker));
  ASSERT_TRUE(succeeded(finish(engine.transform(built(three), sink))));
  other = {};
  factory = {};
  EXPECT_EQ(threads(), ticker);
  engine = {};
  EXPECT_TRUE(threads_become(before));
  EXPECT_EQ(started, 4);
}

TEST_F(ProcessThreads, NoneIsStartedToJudgeAModule) {
  const auto all = plus(threads(), {"wasm-ticker"});
  const auto runtime = wasmengine::runtime::create().value();
  ASSERT_TRUE(threads_become(all));
  started = 0;
  ASSERT_TRUE(runtime.validate(module("rust_identity")));
  EXPECT_EQ(started, 0);
  ASSERT_TRUE(runtime.inspect(module("c_identity")));
  EXPECT_EQ(started, 0);
  EXPECT_EQ(threads(), all);
}

TEST_F(ProcessThreads, RuntimesShareOneTicker) {
  const auto before = threads();
  const auto ticker = plus(before, {"wasm-ticker"});
  auto one = wasmengine::runtime::create().value();
  auto two = wasmengine::runtime::create().value();
  EXPECT_TRUE(threads_become(ticker));
  one = {};
  EXPECT_EQ(threads(), ticker) << "the other one needs it";
  one = wasmengine::runtime::create().value();
  two = {};
  EXPECT_EQ(threads(), ticker);
  one = {};
  EXPECT_TRUE(threads_become(before));
  // And again, from nothing.
  one = wasmengine::runtime::create().value();
  EXPECT_TRUE(threads_become(ticker));
  one = {};
  EXPECT_TRUE(threads_become(before));
}

class DataPathThreads : public fresh, public testing::WithParamInterface<const char*> {};

TEST_P(DataPathThreads, StartsNoThread) {
  const auto all = plus(threads(), {"wasm-ticker", "wasm-compile-0"});
  bench b(GetParam());
  ASSERT_TRUE(threads_become(all));
  started = 0;
  ASSERT_TRUE(succeeded(b.start()));
  watching_sink sink{all};
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(succeeded(b.transform(built(three), sink)));
  }
  EXPECT_GE(sink.records, 60U);
  EXPECT_EQ(sink.different, 0);
  EXPECT_EQ(threads(), all);
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_EQ(started, 0);
}

// t_wasi sleeps for an hour, by poll_oneoff.
INSTANTIATE_TEST_SUITE_P(Of, DataPathThreads, testing::Values("c_identity", "rust_identity", "t_wasi", "c_logger"),
                         [](const auto& guest) { return std::string(guest.param); });

TEST_F(ProcessThreads, NoneIsStartedForAGuestThatWaits) {
  const auto all = plus(threads(), {"wasm-ticker", "wasm-compile-0"});
  unanswered asked;
  const asking guest([&](std::int64_t, answer a) { asked.add(std::move(a)); }, unhurried);
  auto engine = guest.engine();
  ASSERT_TRUE(threads_become(all));
  started = 0;
  ASSERT_TRUE(succeeded(finish(engine.start())));
  watching_sink sink{all};
  for (int i = 0; i < 20; ++i) {
    const auto batch = built({"wait"});
    auto operation = engine.transform(batch, sink).value();
    ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
    EXPECT_EQ(threads(), all);
    ASSERT_EQ(asked.all.size(), 1U);
    ASSERT_TRUE(asked.all.back().resolve(std::int64_t{42}));
    asked.all.clear();
    ASSERT_TRUE(succeeded(finish(operation)));
  }
  EXPECT_EQ(sink.records, 20U);
  EXPECT_EQ(sink.different, 0);
  EXPECT_EQ(started, 0);
}

}  // namespace
