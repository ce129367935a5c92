// SPDX-License-Identifier: Apache-2.0
//
// Once it is warm, the data path takes no memory from anybody and gives none back: neither the heap's nor the kernel's.
#include "process/counting_malloc.hh"
#include "process/interposed.hh"
#include "process/process.hh"
#include "support/bench.hh"

#include <wasm_engine/records.hh>

#include <gmock/gmock.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string_view>

using namespace testing_support;

namespace {

constexpr int batches = 1'000;

/// From here on, this thread ends the process with 3 when it asks the kernel for memory, or gives any back. The library
/// makes some system calls by itself, so functions that replace the C library's would not see all.
void forbid_memory_calls() {
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    std::fprintf(stderr, "system call %d\n", info->si_syscall);
    _exit(3);
  };
  ASSERT_EQ(sigaction(SIGSYS, &action, nullptr), 0);
  constexpr std::uint32_t calls[] = {SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk};
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const auto call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/// How the function answers that a guest calls.
enum class answers { no_call, at_once, suspended };

/// The host's side of a batch: nothing in it allocates.
struct host {
  std::size_t records = 0;
  std::size_t wakes = 0;
  std::size_t calls = 0;
  answers how = answers::no_call;
  wasm_promise* promise = nullptr;

  wasm_callback_result answer(wasm_call* call, wasm_value* results) {
    ++calls;
    if (how == answers::suspended) {
      const bool taken = wasm_call_promise(call, &promise, nullptr) == WASM_STATUS_OK;
      return taken ? WASM_CALLBACK_RESULT_PENDING : WASM_CALLBACK_RESULT_FAILED;
    }
    results->i64 = 42;
    return WASM_CALLBACK_RESULT_DONE;
  }

  /// Keeps the promise, as a loop would when its operation is over.
  bool settle() {
    const wasm_value value{.i64 = 42};
    const bool settled = wasm_promise_resolve_values(promise, &value, 1, nullptr) == WASM_STATUS_OK;
    wasm_promise_release(std::exchange(promise, nullptr));
    return settled;
  }

  /// Transforms a batch, or records if there are any; false if anything goes wrong.
  bool transform(wasm_engine* engine, wasm_slice batch, std::span<const wasm_record> given, bool apart) {
    wasm_output_sink sink{sizeof(sink), this, [](void*) {},
                          [](void* self, const wasm_output_record*, std::size_t count, wasm_call*) {
                            static_cast<host*>(self)->records += count;
                            return WASM_CALLBACK_RESULT_DONE;
                          },
                          nullptr};
    if (apart) {
      sink.parsed = [](void* self, const wasm_parsed_record*, std::size_t count, wasm_call*) {
        static_cast<host*>(self)->records += count;
        return WASM_CALLBACK_RESULT_DONE;
      };
    }
    wasm_future* future = nullptr;
    const wasm_transform_args args{sizeof(args), batch, &sink, 0};
    const wasm_transform_records_args of_records{sizeof(of_records), given.data(), given.size(), &sink, 0};
    const auto begun = given.empty() ? wasm_engine_transform(engine, &args, &future, nullptr)
                                     : wasm_engine_transform_records(engine, &of_records, &future, nullptr);
    if (begun != WASM_STATUS_OK) {
      return false;
    }
    const wasm_waker waker{this, [](void* self) { ++static_cast<host*>(self)->wakes; }, [](void*) {}};
    wasm_poll state = WASM_POLL_YIELDED;
    bool fine = true;
    while (fine && state != WASM_POLL_READY) {
      fine = wasm_future_poll(future, &waker, &state, nullptr) == WASM_STATUS_OK;
      if (fine && state == WASM_POLL_PENDING) {
        fine = settle();
      }
    }
    return wasm_future_release(future, nullptr) == WASM_STATUS_OK && fine;
  }
};

/// What the host gives, and how it wants the output.
enum class exchange { batches, batches_apart, records, records_apart };

struct shape {
  const char* name;
  const char* guest;
  answers how;
  std::size_t records;
  std::size_t value_size;
  exchange kind = exchange::batches;
  std::size_t headers = 0;
};

std::ostream& operator<<(std::ostream& out, const shape& s) { return out << s.name; }

/// A guest that runs, and its host. Beside them there is the ticker's thread, and no thread that compiles.
class running {
 public:
  explicit running(const shape& s) {
    const auto ticker = process::plus(process::threads(), {"wasm-ticker"});
    host.how = s.how;
    auto runtime = wasmengine::runtime::create(unhurried).value();
    const wasm_value_type i64 = WASM_VALUE_TYPE_I64;
    wasm_host_function later{};
    later.size = sizeof(later);
    later.module = wasmengine::as_slice("host");
    later.name = wasmengine::as_slice("later");
    later.params = &i64;
    later.param_count = 1;
    later.results = &i64;
    later.result_count = 1;
    later.may_wait = 1;
    later.data = &host;
    later.call = [](void* self, wasm_call* call, const wasm_value*, wasm_value* results) {
      return static_cast<struct host*>(self)->answer(call, results);
    };
    EXPECT_EQ(wasm_runtime_register_function(runtime.get(), &later, nullptr), WASM_STATUS_OK);
    _engine = wasmengine::engine::create(compile(runtime, s.guest)).value();
    runtime = {};
    EXPECT_TRUE(process::threads_become(ticker));
    EXPECT_TRUE(succeeded(finish(_engine.start())));
    // The guest that calls the host does so for values that begin with w.
    _value.assign(s.value_size, 'w');
    auto builder = wasmengine::batch_builder::create({100}).value();
    wasmengine::payload p{std::nullopt, _value, {}};
    for (std::size_t i = 0; i < s.headers; ++i) {
      p.headers.push_back({"h", "v"});
    }
    for (std::size_t i = 0; i < s.records; ++i) {
      builder.add(0, p).value();
      if (s.kind == exchange::records || s.kind == exchange::records_apart) {
        _records.add(p, static_cast<std::int64_t>(i), 0);
      }
    }
    const auto batch = builder.finish().value();
    _batch.assign(batch.begin(), batch.end());
    _given = _records.all();
    _apart = s.kind == exchange::batches_apart || s.kind == exchange::records_apart;
    EXPECT_EQ(transform(20), 0) << "warms up";
    host.records = 0;
    host.calls = 0;
  }

  /// Transforms the batch so many times; gives the number of those that failed.
  int transform(int times) {
    int failed = 0;
    for (int i = 0; i < times; ++i) {
      failed += host.transform(_engine.get(), wasmengine::as_slice(_batch), _given, _apart) ? 0 : 1;
    }
    return failed;
  }

  struct host host;

 private:
  wasmengine::engine _engine;
  std::string _value;
  kafka::bytes _batch;
  wasmengine::record_list _records;
  std::span<const wasm_record> _given;
  bool _apart = false;
};

class DataPathAllocations : public testing::TestWithParam<shape> {};

// A promise may outlive its call and its engine, so a call that suspends allocates: the promise, what its two ends
// share, and the values that it is settled with.
constexpr std::size_t allocations_of_a_promise = 3;

TEST_P(DataPathAllocations, AllocatesNothingButPromises) {
  const auto& shape = GetParam();
  const auto expected = shape.how == answers::suspended ? batches * shape.records * allocations_of_a_promise : 0;
  running r(shape);
  counting::begin();
  const int failed = r.transform(batches);
  const auto counted = counting::end();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(r.host.records, batches * shape.records);
  EXPECT_EQ(r.host.calls, shape.how == answers::no_call ? 0 : batches * shape.records);
  EXPECT_EQ(counted.allocations, expected);
  EXPECT_EQ(counted.frees, expected);
}

TEST_P(DataPathAllocations, AsksTheKernelForNoMemory) {
  // In a child, since what is forbidden cannot be allowed again, and without an end, which gives memory back.
  const auto ending = process::in_child([] {
    auto& r = *new running(GetParam());
    forbid_memory_calls();
    EXPECT_EQ(r.transform(batches), 0);
  });
  EXPECT_EQ(ending, "exit 0");
}

INSTANTIATE_TEST_SUITE_P(
    With, DataPathAllocations,
    testing::Values(shape{"OneRecord", "c_identity", answers::no_call, 1, 128},
                    shape{"TenRecords", "c_identity", answers::no_call, 10, 128},
                    shape{"AThousandRecords", "c_identity", answers::no_call, 1'000, 128},
                    // More than one engine may hold: it comes in several blocks.
                    shape{"AThousandLargeRecords", "c_identity", answers::no_call, 1'000, 4'096},
                    shape{"TheRustSdk", "rust_identity", answers::no_call, 10, 128},
                    shape{"OneRecordWithoutABatch", "c_identity", answers::no_call, 1, 128, exchange::records},
                    shape{"RecordsWithoutABatch", "c_identity", answers::no_call, 1'000, 128, exchange::records, 2},
                    // As much as is encoded without a list that grows.
                    shape{"LargeRecordsWithoutABatch", "c_identity", answers::no_call, 50, 4'096, exchange::records},
                    shape{"OutputTakenApart", "c_identity", answers::no_call, 1'000, 128, exchange::batches_apart},
                    shape{"RecordsTakenApart", "c_identity", answers::no_call, 1'000, 128, exchange::records_apart, 2},
                    shape{"AHostFunctionThatAnswersAtOnce", "t_later", answers::at_once, 10, 128},
                    shape{"AHostFunctionThatSuspends", "t_later", answers::suspended, 10, 128}),
    [](const auto& s) { return std::string(s.param.name); });

TEST(MetricsAllocations, ReadingThemAgainAllocatesNothing) {
  bench b("c_identity");
  auto second = wasmengine::engine::create(b.factory).value();
  auto other = wasmengine::engine::create(compile(b.runtime, "wat_start_trap", {"other", "in", {"out"}, {}})).value();
  EXPECT_EQ(finish(other.start()).status, WASM_STATUS_GUEST_TRAP);
  b.run({"x"});
  auto snapshot = wasmengine::metrics::create(b.runtime).value();
  std::uint64_t records = 0;
  int failed = 0;
  // They free what their last job needed after they have told its end.
  ASSERT_TRUE(process::threads_become_idle("wasm-compile-"));
  counting::begin();
  for (int i = 0; i < 100; ++i) {
    failed += snapshot.update() ? 0 : 1;
    for (const auto m : snapshot) {
      records += m->input_records + m.errors().size();
    }
  }
  const auto counted = counting::end();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(records, 200U);
  EXPECT_EQ(counted.allocations, 0U);
  EXPECT_EQ(counted.frees, 0U);
}

// Without this, everything above could be true because nobody looks.
TEST(AllocationsCounted, SeesWhatTheLibraryAllocates) {
  for (const auto& [function, name] : std::vector<std::pair<void*, const char*>>{
           {reinterpret_cast<void*>(malloc), "malloc"},
           {reinterpret_cast<void*>(free), "free"},
           {reinterpret_cast<void*>(calloc), "calloc"},
           {reinterpret_cast<void*>(realloc), "realloc"},
           {reinterpret_cast<void*>(posix_memalign), "posix_memalign"}}) {
    EXPECT_EQ(process::bound(name), function) << name;
  }
  counting::begin(false);
  wasm_runtime* runtime = nullptr;
  const auto created = wasm_runtime_create(nullptr, &runtime, nullptr);
  const auto made = counting::end();
  EXPECT_EQ(created, WASM_STATUS_OK);
  EXPECT_GT(made.allocations, 100U);
  counting::begin(false);
  wasm_runtime_release(runtime);
  EXPECT_GT(counting::end().frees, 100U);
}

TEST(AllocationsCounted, SeesWhatTheLibraryMaps) {
  const auto ending = process::in_child([] {
    auto& b = *new bench("c_identity");
    forbid_memory_calls();
    (void)b.start();
  });
  EXPECT_THAT(ending, testing::StartsWith("exit 3")) << "a guest's memory and stack come from the kernel";
}

}  // namespace
