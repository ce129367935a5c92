// SPDX-License-Identifier: Apache-2.0
//
// Host functions that answer later: coroutines, other awaitables, and `later`.
#include "support/host_guest.hh"

#include <gmock/gmock.h>

#include <numeric>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// What a test resumes by hand, from whatever thread.
class gate {
 public:
  auto operator co_await() noexcept {
    struct awaiter {
      gate& g;
      [[nodiscard]] bool await_ready() const noexcept { return g._open; }
      void await_suspend(std::coroutine_handle<> h) const { g._waiting.push_back(h); }
      void await_resume() const noexcept {}
    };
    return awaiter{*this};
  }
  void open() {
    for (const auto h : std::exchange(_waiting, {})) {
      h.resume();
    }
  }
  [[nodiscard]] std::size_t waiting() const { return _waiting.size(); }
  void keep_open() { _open = true; }

 private:
  bool _open = false;
  std::vector<std::coroutine_handle<>> _waiting;
};

template <typename F>
void add_f(world& w, F f) {
  we::host_module m("t");
  m.add("f", std::move(f));
  w.runtime.add(m).value();
  w.add_report();
  w.start();
}

we::task<std::int32_t> nested(gate& g, std::int32_t n) {
  co_await g;
  co_return n + 1;
}

TEST(TypedTask, ReadyAtOnceDoesNotSuspend) {
  world w;
  add_f(w, [](std::int32_t a, std::int32_t b) -> we::task<std::int32_t> { co_return a + b; });
  auto operation = w.begin({{1, 2}, {3, 4}}).value();
  EXPECT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(3, 7));
}

TEST(TypedTask, SuspendsTheGuest) {
  world w;
  gate g;
  add_f(w, [&g](std::int32_t a, std::int32_t b) -> we::task<std::int32_t> {
    const auto n = co_await nested(g, a);
    co_await g;
    co_return n * b;
  });
  auto operation = w.begin({{1, 20}}).value();
  wakers wake;
  EXPECT_EQ(step(operation, &wake).value(), WASM_POLL_PENDING);
  g.open();
  EXPECT_EQ(wake.woken, 0);
  std::thread([&] { g.open(); }).join();
  EXPECT_EQ(wake.woken, 1);
  EXPECT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(40));
}

TEST(TypedTask, ThrowsAtOnceAndLater) {
  for (const bool at_once : {true, false}) {
    world w;
    gate g;
    if (at_once) {
      g.keep_open();
    }
    add_f(w, [&g](std::int32_t, std::int32_t) -> we::task<std::int32_t> {
      co_await g;
      throw std::runtime_error("broken \xff pot");
    });
    auto operation = w.begin({{1, 20}}).value();
    auto polled = step(operation);
    if (!at_once) {
      ASSERT_EQ(polled.value(), WASM_POLL_PENDING);
      g.open();
      polled = step(operation);
    }
    ASSERT_FALSE(polled);
    EXPECT_EQ(polled.err().status(), WASM_STATUS_HOST_FUNCTION_FAILED);
    EXPECT_THAT(polled.err().what(), HasSubstr("t.f: broken \\xff pot"));
  }
}

TEST(TypedTask, GivesAResult) {
  world w;
  gate g;
  add_f(w, [&g](std::int32_t a, std::int32_t) -> we::task<we::result<std::int32_t>> {
    if (a > 1) {
      co_await g;
    }
    if (a % 2 == 1) {
      co_return we::error("odd");
    }
    co_return a;
  });
  EXPECT_THAT(w.call(1, 0).message, HasSubstr("t.f: odd"));
  ASSERT_EQ(drive(w.engine.start()).message, "");
  EXPECT_EQ(w.call(0, 0).message, "");
  auto operation = w.begin({{2, 0}, {3, 0}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  g.open();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  g.open();
  const auto polled = step(operation);
  ASSERT_FALSE(polled);
  EXPECT_THAT(polled.err().what(), HasSubstr("t.f: odd"));
  EXPECT_THAT(w.reported, ElementsAre(0, 2));
}

TEST(TypedTask, WritesTheGuestsMemoryAtTheEnd) {
  for (const bool at_once : {true, false}) {
    world w;
    gate g;
    if (at_once) {
      g.keep_open();
    }
    std::string before;
    add_f(w, [&](std::string in, we::engine_data<int> data) -> we::task<we::with_memory<we::result<std::int32_t>>> {
      co_await g;
      EXPECT_EQ(data.get(), nullptr);
      co_return we::with_memory<we::result<std::int32_t>>{
          [&before, in = std::move(in)](we::guest_memory& memory) -> we::result<std::int32_t> {
            before = in;
            auto written = memory.write(we::guest_span<char>{1024, 5}, std::string_view("HELLO!!"));
            if (!written) {
              return written.err();
            }
            auto text = memory.text(1024, 11);
            EXPECT_EQ(text.value(), "HELLO, host");
            if (in.empty()) {
              memory.write(we::guest_ptr<int>{0xffff'ffffU}, 1).value();
            }
            return static_cast<std::int32_t>(written.value());
          }};
    });
    auto operation = w.begin({{1024, 5}, {1024, 0}}).value();
    auto polled = step(operation);
    for (int i = 0; i < 2 && !at_once; ++i) {
      ASSERT_EQ(polled.value(), WASM_POLL_PENDING);
      g.open();
      polled = step(operation);
    }
    ASSERT_FALSE(polled);
    EXPECT_THAT(polled.err().what(), HasSubstr("t.f: the guest gave a pointer outside of its memory"));
    EXPECT_THAT(w.reported, ElementsAre(5));
    EXPECT_EQ(before, "");
  }
}

TEST(TypedTask, BadPointersAreTrapsBeforeItBegins) {
  world w;
  int begun = 0;
  add_f(w, [&begun](std::vector<std::int32_t> numbers) -> we::task<std::int32_t> {
    ++begun;
    co_return std::accumulate(numbers.begin(), numbers.end(), 0);
  });
  EXPECT_EQ(w.call(2048, 4).message, "");
  EXPECT_THAT(w.call(65530, 4).message, HasSubstr("t.f: argument 1: the guest gave a pointer outside"));
  EXPECT_EQ(begun, 1);
  EXPECT_THAT(w.reported, ElementsAre(10));
}

TEST(TypedTask, RunsToItsEndWhenTheGuestIsGone) {
  for (int how = 0; how < 4; ++how) {
    auto counted = std::make_shared<std::atomic<int>>(0);
    gate g;
    {
      world w;
      add_f(w, [&g, counted](std::string text) -> we::task<std::int32_t> {
        co_await g;
        // The captures are alive still.
        counted->fetch_add(static_cast<int>(text.size()));
        co_return 1;
      });
      auto operation = w.begin({{1024, 11}}).value();
      ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
      if (how == 0) {
        operation = {};
      } else if (how == 1) {
        EXPECT_TRUE(w.engine.stop());
      } else if (how == 2) {
        w.engine = {};
      } else {
        operation = {};
        w.close();
      }
      if (how < 3) {
        g.open();
        EXPECT_EQ(*counted, 11);
      }
    }
    if (how == 3) {
      EXPECT_EQ(counted.use_count(), 2) << "the coroutine holds the function that it is of";
      g.open();
    }
    EXPECT_EQ(*counted, 11);
    EXPECT_EQ(counted.use_count(), 1);
  }
}

TEST(TypedTask, FinishedByAnotherThreadWhileTheCallIsGoingOn) {
  world w;
  std::vector<std::thread> threads;
  struct other_thread {
    std::vector<std::thread>& threads;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const {
      threads.emplace_back([h] { h.resume(); });
    }
    void await_resume() const noexcept {}
  };
  add_f(w, [&](std::int32_t a, std::int32_t) -> we::task<std::int32_t> {
    co_await other_thread{threads};
    co_return a;
  });
  for (std::uint32_t i = 0; i < 300; ++i) {
    ASSERT_EQ(w.call(i, 0).message, "");
  }
  for (auto& t : threads) {
    t.join();
  }
  EXPECT_EQ(w.reported.size(), 300U);
}

/// Another library's future, as a coroutine sees it.
struct foreign_awaitable {
  int value;
  [[nodiscard]] bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  [[nodiscard]] std::int32_t await_resume() const {
    return value;
  }
};

/// One that only its adapter knows.
struct callback_future {
  std::shared_ptr<std::function<void(int)>> when;
};

}  // namespace

template <>
struct wasmengine::async_traits<callback_future> {
  using value_type = std::int32_t;
  template <typename Done>
  static void then(callback_future f, Done done) {
    auto shared = std::make_shared<Done>(std::move(done));
    *f.when = [shared](int value) {
      shared->finish([value]() -> std::int32_t {
        if (value < 0) {
          throw std::runtime_error("negative");
        }
        return value;
      });
    };
  }
};

namespace {

TEST(TypedFuture, AnyAwaitableWillDo) {
  static_assert(we::host_callable<foreign_awaitable (*)()>);
  world w;
  add_f(w, [](std::int32_t a, std::int32_t b) { return foreign_awaitable{a - b}; });
  EXPECT_EQ(w.call(5, 3).message, "");
  EXPECT_THAT(w.reported, ElementsAre(2));
}

TEST(TypedFuture, AnAdapterCanTeachOthers) {
  world w;
  std::vector<std::shared_ptr<std::function<void(int)>>> pending;
  add_f(w, [&](std::int32_t, std::int32_t) {
    pending.push_back(std::make_shared<std::function<void(int)>>());
    return callback_future{pending.back()};
  });
  auto operation = w.begin({{0, 0}, {0, 0}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  (*pending.at(0))(5);
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  (*pending.at(1))(-1);
  auto polled = step(operation);
  ASSERT_FALSE(polled);
  EXPECT_THAT(polled.err().what(), HasSubstr("negative"));
  // One that is dropped.
  ASSERT_EQ(drive(w.engine.start()).message, "");
  pending.clear();
  operation = w.begin({{0, 0}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  *pending.at(0) = nullptr;
  polled = step(operation);
  ASSERT_FALSE(polled);
  EXPECT_THAT(polled.err().what(), HasSubstr("dropped"));
}

TEST(TypedLater, IsResolvedNowOrLater) {
  world w;
  std::vector<we::later<std::int32_t>> kept;
  add_f(w, [&kept](std::int32_t a, we::later<std::int32_t> answer, std::int32_t b) {
    if (a == 0) {
      EXPECT_TRUE(answer.resolve(b));
    } else {
      kept.push_back(std::move(answer));
    }
  });
  EXPECT_EQ(w.call(0, 9).message, "");
  auto operation = w.begin({{1, 0}, {2, 0}, {3, 0}, {4, 0}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  std::thread([&] { EXPECT_TRUE(kept.at(0).resolve(10)); }).join();
  EXPECT_EQ(kept.at(0).resolve(11).err().status(), WASM_STATUS_PROMISE_SETTLED);
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_TRUE(kept.at(1).resolve(we::result<std::int32_t>(12)));
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_TRUE(kept.at(2).resolve_with([](we::guest_memory& memory) {
    return static_cast<std::int32_t>(memory.text(1024, 5).value().front());
  }));
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_TRUE(kept.at(3).reject("no more"));
  const auto polled = step(operation);
  ASSERT_FALSE(polled);
  EXPECT_THAT(polled.err().what(), HasSubstr("t.f: no more"));
  EXPECT_THAT(w.reported, ElementsAre(9, 10, 12, 'h'));
}

TEST(TypedLater, DroppedOrThrownIsATrap) {
  world w;
  add_f(w, [](std::int32_t a, std::int32_t, we::later<std::int32_t> answer) {
    if (a == 0) {
      throw std::logic_error("never");
    }
    (void)answer;
  });
  EXPECT_THAT(w.call(0, 9).message, HasSubstr("never"));
  ASSERT_EQ(drive(w.engine.start()).message, "");
  EXPECT_THAT(w.call(1, 9).message, HasSubstr("dropped"));
}

TEST(Coroutine, OperationsAreAwaitedOnALoop) {
  world w;
  gate g;
  add_f(w, [&g](std::int32_t a, std::int32_t b) -> we::task<std::int32_t> {
    co_await g;
    co_return a + b;
  });
  loop l;
  std::vector<std::string> log;
  const auto batch = pairs({{1, 2}});
  const auto program = [&]() -> we::task<> {
    auto begun = w.engine.transform(batch, w.sink);
    auto done = co_await we::on(l, std::move(*begun));
    log.emplace_back(done ? "done" : done.err().what());
    co_await we::resume_on(l);
    log.emplace_back("hopped");
  };
  we::start(program());
  l.run_ready();
  EXPECT_TRUE(log.empty());
  g.open();
  EXPECT_TRUE(log.empty()) << "it goes on on its loop";
  l.run_ready();
  EXPECT_THAT(log, ElementsAre("done", "hopped"));
  EXPECT_THAT(w.reported, ElementsAre(3));
}

we::task<int> throws() {
  throw std::runtime_error("inner");
  co_return 1;
}

TEST(Coroutine, ExceptionsGoToWhoeverAwaits) {
  std::string seen;
  we::start([](std::string& to) -> we::task<> {
    try {
      (void)co_await throws();
    } catch (const std::exception& e) {
      to = e.what();
    }
  }(seen));
  EXPECT_EQ(seen, "inner");
  { const auto unused = throws(); }
}

}  // namespace
