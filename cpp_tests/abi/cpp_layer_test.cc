// SPDX-License-Identifier: Apache-2.0
//
// The C++ layer itself: types, results, exceptions, coroutines. And the same library from a translation unit in C.
#include "c_transform.h"
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <deque>
#include <type_traits>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

// ---- Types ----

template <typename T>
constexpr bool move_only = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                           !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(move_only<wasmengine::runtime>);
static_assert(move_only<wasmengine::engine>);
static_assert(move_only<wasmengine::future>);
static_assert(move_only<wasmengine::compilation>);
static_assert(move_only<wasmengine::promise>);
static_assert(move_only<wasmengine::batch_builder>);
static_assert(std::is_copy_constructible_v<wasmengine::factory>, "factories are shared");
static_assert(std::is_nothrow_copy_constructible_v<wasmengine::error>, "or it could not be thrown safely");
static_assert(std::is_base_of_v<std::exception, wasmengine::error>);

static_assert(wasmengine::output_function<void (*)(output_block)>);
static_assert(wasmengine::output_function<wasm_callback_result (*)(output_block, wasmengine::output_call)>);
static_assert(!wasmengine::output_function<void (*)(int)>);
static_assert(!wasmengine::output_function<void (*)(output_block, wasmengine::output_call)>, "must answer");

TEST(CppTypes, DefaultConstructedOnesAreEmptyAndTheirCallsGiveAStatus) {
  wasmengine::engine engine;
  EXPECT_FALSE(engine);
  EXPECT_EQ(engine.start().err().status(), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(engine.state().err().status(), WASM_STATUS_NULL_ARGUMENT);
  wasmengine::future future;
  EXPECT_FALSE(future);
  EXPECT_EQ(future.poll().err().status(), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasmengine::promise().resolve().err().status(), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasmengine::engine::create(wasmengine::factory()).err().status(), WASM_STATUS_NULL_ARGUMENT);
}

TEST(CppTypes, MovingGivesTheHandleAway) {
  bench b("c_identity", unhurried);
  auto* raw = b.engine.get();
  auto moved = std::move(b.engine);
  EXPECT_FALSE(b.engine);  // NOLINT: that is what is tested
  EXPECT_EQ(moved.get(), raw);
  b.engine = std::move(moved);
  EXPECT_TRUE(works(b));
  auto& self = b.engine;
  b.engine = std::move(self);
  EXPECT_TRUE(works(b)) << "moving to itself loses nothing";
}

TEST(CppTypes, CopiesOfAFactoryShareOne) {
  const auto runtime = wasmengine::runtime::create().value();
  auto first = compile(runtime, "c_identity");
  auto second = first;
  EXPECT_EQ(first.get(), second.get());
  first = wasmengine::factory();
  EXPECT_TRUE(wasmengine::engine::create(second));
  auto& self = second;
  second = self;
  EXPECT_TRUE(second);
}

// A sink is called as what it is: a const one would have to be callable as such, and is refused where it is given.
template <typename S>
concept transformable = requires(wasmengine::engine& engine, S&& sink) {
  engine.transform(std::span<const std::uint8_t>(), std::forward<S>(sink));
};
static_assert(transformable<recorder&> && transformable<recorder>);
static_assert(!transformable<const recorder&> && !transformable<int&>);

// ---- Results and errors ----

TEST(CppResult, ValueThrowsTheErrorIfThereIsNone) {
  wasm_runtime_config config{};
  config.memory_limit = 1;
  try {
    (void)wasmengine::runtime::create(config).value();
    FAIL() << "no exception";
  } catch (const wasmengine::error& e) {
    EXPECT_EQ(e.status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_STREQ(e.status_name(), "invalid-argument");
    EXPECT_THAT(e.what(), HasSubstr("memory_limit"));
    EXPECT_EQ(e.trap(), WASM_TRAP_NONE);
    EXPECT_EQ(e.record(), std::nullopt);
    EXPECT_TRUE(e.backtrace().empty());
  }
}

TEST(CppResult, AnErrorOutlivesEverythingAndCrossesThreads) {
  std::optional<wasmengine::error> kept;
  {
    bench b("wat_start_trap");
    kept = b.start().why;
  }
  std::thread([copy = *kept] {
    EXPECT_EQ(copy.status(), WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(copy.backtrace().at(0).function, "main");
  }).join();
  EXPECT_THAT(kept->what(), HasSubstr("unreachable"));
}

TEST(CppResult, AnErrorWithoutAStoryStillHasAName) {
  const wasmengine::error bare(WASM_STATUS_BUSY);
  EXPECT_STREQ(bare.what(), "busy");
}

// ---- Sinks ----

TEST(CppSink, AnExceptionFailsTheTransformAndGoesNoFurther) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = built({"a"});
  auto throwing = [](output_block) { throw std::runtime_error("full"); };
  EXPECT_EQ(b.transform(batch, throwing).status, WASM_STATUS_OUTPUT_REJECTED);
  ASSERT_TRUE(succeeded(b.start()));
  auto odd = [](output_block, wasmengine::output_call) -> wasm_callback_result { throw 42; };
  EXPECT_EQ(b.transform(batch, odd).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_TRUE(works(b));
}

TEST(CppSink, MayBeOwnedByTheOperation) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = built({"a"});
  auto alive = std::make_shared<int>(0);
  auto operation = b.engine.transform(batch, [alive](output_block block) { *alive += static_cast<int>(block.size()); });
  EXPECT_EQ(alive.use_count(), 2);
  EXPECT_TRUE(succeeded(finish(std::move(operation))));
  EXPECT_EQ(*alive, 1);
  EXPECT_EQ(alive.use_count(), 1) << "it goes with the operation";
  auto refused = b.engine.transform_from(batch, 1, [alive](output_block) {});
  EXPECT_FALSE(refused);
  EXPECT_EQ(alive.use_count(), 1) << "also if that never began";
  EXPECT_EQ(finish(b.engine.transform({}, [alive](output_block) {})).status, WASM_STATUS_BATCH_TRUNCATED);
  EXPECT_EQ(alive.use_count(), 1) << "and if the batch was refused";
}

TEST(CppSink, CanKeepAPromise) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  wasmengine::promise kept;
  auto sink = [&kept](output_block, wasmengine::output_call call) {
    kept = call.later().value();
    return WASM_CALLBACK_RESULT_PENDING;
  };
  const auto batch = built({"a"});
  auto operation = b.engine.transform(batch, sink).value();
  ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_TRUE(kept.resolve());
  EXPECT_EQ(kept.reject("late").err().status(), WASM_STATUS_PROMISE_SETTLED);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
}

TEST(CppDrive, PollsToTheEnd) {
  bench b("wat_traps");
  auto start = b.engine.start().value();
  EXPECT_TRUE(wasmengine::drive(start));
  recorder out;
  const auto batch = built({"a", "u"});
  auto operation = b.engine.transform(batch, out).value();
  EXPECT_EQ(wasmengine::drive(operation).err().status(), WASM_STATUS_GUEST_TRAP);
}

// ---- Coroutines ----

/// A loop of one thread: what is posted runs in order, on the thread that calls `run`.
class small_loop {
 public:
  void post(void (*function)(void*) noexcept, void* argument) noexcept {
    const std::lock_guard lock(_mutex);
    _tasks.emplace_back(function, argument);
    _changed.notify_one();
  }
  /// Runs tasks until `done` says so.
  bool run_until(const bool& done) {
    std::unique_lock lock(_mutex);
    while (!done) {
      if (!_changed.wait_for(lock, patience, [this] { return !_tasks.empty(); })) {
        return false;
      }
      const auto [function, argument] = _tasks.front();
      _tasks.pop_front();
      ++tasks_run;
      lock.unlock();
      function(argument);
      lock.lock();
    }
    return true;
  }
  int tasks_run = 0;

 private:
  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<std::pair<void (*)(void*) noexcept, void*>> _tasks;
};
static_assert(wasmengine::event_loop<small_loop>);

/// A coroutine that runs at once, and tells when it is over.
struct task {
  struct promise_type {
    task get_return_object() { return task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept {
      done = true;
      return {};
    }
    void return_void() {}
    void unhandled_exception() { thrown = std::current_exception(); }
    bool done = false;
    std::exception_ptr thrown;
  };

  explicit task(std::coroutine_handle<promise_type> h) : handle(h) {}
  task(task&& other) noexcept : handle(std::exchange(other.handle, {})) {}
  task& operator=(task&&) = delete;
  ~task() {
    if (handle) {
      handle.destroy();
    }
  }
  void finish_on(small_loop& loop) {
    ASSERT_TRUE(loop.run_until(handle.promise().done)) << "the coroutine is never resumed";
    if (handle.promise().thrown) {
      std::rethrow_exception(handle.promise().thrown);
    }
  }
  std::coroutine_handle<promise_type> handle;
};

task whole_life(small_loop& loop, const wasmengine::runtime& runtime, std::string_view guest, kafka::view batch,
                recorder& out, wasmengine::result<void>& end) {
  using wasmengine::on;
  const auto bytes = module(guest);
  auto compilation = runtime.compile(bytes, with_topics({"out"})).value();
  (co_await on(loop, compilation)).value();
  auto engine = wasmengine::engine::create(compilation.take().value()).value();
  (co_await on(loop, engine.start().value())).value();
  end = co_await on(loop, engine.transform(batch, out).value());
  (co_await on(loop, engine.stop().value())).value();
}

TEST(CppCoroutine, AwaitsCompilationStartTransformAndStop) {
  small_loop loop;
  const auto runtime = wasmengine::runtime::create().value();
  const auto batch = built({"a", "b"});
  recorder out;
  wasmengine::result<void> end;
  auto life = whole_life(loop, runtime, "rust_identity", batch, out, end);
  life.finish_on(loop);
  EXPECT_TRUE(end);
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
}

TEST(CppCoroutine, GivesTheErrorOfWhatItAwaits) {
  small_loop loop;
  wasm_runtime_config config{};
  config.record_time_limit_ns = 400'000'000;
  const auto runtime = wasmengine::runtime::create(config).value();
  const auto batch = built({"a", "l"});
  recorder out;
  wasmengine::result<void> end;
  auto life = whole_life(loop, runtime, "wat_traps", batch, out, end);
  life.finish_on(loop);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.err().status(), WASM_STATUS_GUEST_TIMEOUT);
  EXPECT_GT(loop.tasks_run, 4) << "the guest went to the back of the queue at each yield";
  auto refused = whole_life(loop, runtime, "wat_no_abi", batch, out, end);
  EXPECT_THROW(refused.finish_on(loop), wasmengine::error);
}

task consume(small_loop& loop, wasmengine::engine& engine, kafka::view batch, std::vector<std::thread>& threads,
             std::vector<std::string>& log, std::string name) {
  auto sink = [&](output_block, wasmengine::output_call call) {
    threads.emplace_back([promise = call.later().value()]() mutable {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      promise.resolve().value();
    });
    return WASM_CALLBACK_RESULT_PENDING;
  };
  for (int i = 0; i < 5; ++i) {
    (co_await wasmengine::on(loop, engine.transform(batch, sink).value())).value();
    log.push_back(name);
  }
}

TEST(CppCoroutine, SeveralTakeTurnsWhileTheirSinksArePending) {
  small_loop loop;
  bench a("c_identity", unhurried);
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(a.start()));
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = built({"x"});
  std::vector<std::thread> threads;
  std::vector<std::string> log;
  {
    auto first = consume(loop, a.engine, batch, threads, log, "a");
    auto second = consume(loop, b.engine, batch, threads, log, "b");
    first.finish_on(loop);
    second.finish_on(loop);
  }
  for (auto& t : threads) {
    t.join();
  }
  EXPECT_EQ(log.size(), 10U);
  EXPECT_LE(loop.tasks_run, 10) << "one task per wake: nothing spins";
}

// ---- C ----

TEST(CppFromC, TransformsABatchFromATranslationUnitInC11) {
  const auto guest = module("c_tee");
  std::size_t records = 0;
  std::size_t bytes = 0;
  EXPECT_EQ(c_transform({guest.data(), guest.size()}, &records, &bytes), WASM_STATUS_OK);
  EXPECT_EQ(records, 3U);
  EXPECT_EQ(bytes, std::string("1 one").size() + 2 * std::string("2 two").size());
}

TEST(CppFromC, TheVersionIsThatOfTheHeader) {
  EXPECT_STREQ(wasm_library_version(), WASM_ENGINE_VERSION);
  EXPECT_EQ(wasm_library_version_number(), std::uint32_t{WASM_ENGINE_VERSION_NUMBER});
  EXPECT_EQ(WASM_ENGINE_VERSION_NUMBER,
            WASM_ENGINE_VERSION_MAJOR << 16 | WASM_ENGINE_VERSION_MINOR << 8 | WASM_ENGINE_VERSION_PATCH);
}

// What a header for everybody must not define.
#if defined(SIZE) || defined(CRC_START) || defined(MAX_LEN) || defined(WASM_PAGE) || defined(WOULD_BLOCK) || \
    defined(TICKS_PER_SLICE) || defined(OK) || defined(NONE)
#error "wasm_engine.h defines macros without its prefix"
#endif

}  // namespace
