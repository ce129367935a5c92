// SPDX-License-Identifier: Apache-2.0
//
// C++ handles that are released on a thread to which they do not belong. Two programs: one as asserts are on and one as
// they are off.
#include "support/host_guest.hh"

#include <gtest/gtest.h>

#include <pthread.h>

using namespace host_guest;

namespace {

/// Releases a handle on another thread.
template <typename T>
void release_elsewhere(T owner) {
  std::thread([moved = std::move(owner)]() mutable {
    pthread_setname_np(pthread_self(), "elsewhere");
    moved = {};
  }).join();
}

class WrongThreadRelease : public testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    w.add([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, false);
    w.start();
  }
  world w;
};

TEST_F(WrongThreadRelease, OfAnEngine) {
#ifdef NDEBUG
  auto* raw = w.engine.get();
  release_elsewhere(std::move(w.engine));
  EXPECT_EQ(wasm_engine_release(raw, nullptr), WASM_STATUS_OK) << "it was not released";
#else
  EXPECT_DEATH(release_elsewhere(std::move(w.engine)),
               "a wasmengine::engine was released on thread \"elsewhere\" but belongs to another one");
#endif
}

TEST_F(WrongThreadRelease, OfAFuture) {
  auto operation = w.begin({{1, 2}}).value();
#ifdef NDEBUG
  auto* raw = operation.get();
  release_elsewhere(std::move(operation));
  EXPECT_EQ(wasm_future_release(raw, nullptr), WASM_STATUS_OK) << "it was not released";
#else
  EXPECT_DEATH(release_elsewhere(std::move(operation)), "a wasmengine::future was released on thread \"elsewhere\"");
#endif
}

TEST_F(WrongThreadRelease, OfWhatBelongsToNoThreadIsFine) {
  release_elsewhere(w.runtime.compile(module("h_call"), {"t", "in", {"out"}, {}}).value());
  release_elsewhere(we::factory(w.factory));
  release_elsewhere(we::engine());
}

}  // namespace
