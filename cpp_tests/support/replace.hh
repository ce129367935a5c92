// SPDX-License-Identifier: Apache-2.0
//
// An engine with an old version in it, and a new one at hand.
#pragma once

#include "metrics.hh"
#include "policy.hh"
#include "shared.hh"

namespace testing_support {

/// Two versions, which write their name in front of each value.
struct versions {
  explicit versions(const std::string& second_name = "tested") {
    auto transform = with_topics({"out"});
    old_factory = we::create_dummy_factory(runtime, transform, script(old, "old-")).value();
    transform.name = second_name;
    new_factory = we::create_dummy_factory(runtime, transform, script(fresh, "new-")).value();
  }
  static std::shared_ptr<we::dummy_script> script(std::shared_ptr<we::dummy_script>& s, const std::string& prefix) {
    s->outputs = [prefix](const we::input_record& record) {
      const auto value = *we::payload::read(record.payload()).value().value;
      return std::vector<we::dummy_output>{{payload_of(prefix + std::string(value))}};
    };
    return s;
  }

  std::shared_ptr<we::dummy_script> old = std::make_shared<we::dummy_script>();
  std::shared_ptr<we::dummy_script> fresh = std::make_shared<we::dummy_script>();
  // Polls are counted: none may yield because the machine is busy.
  we::runtime runtime = we::runtime::create(unhurried).value();
  we::factory old_factory, new_factory;
};

/// An engine that transforms a batch whenever it is asked.
struct deployed : versions, user {
  explicit deployed(bool shares = false, const std::string& second_name = "tested")
      : versions(second_name),
        user((shares ? we::engine::create_shared(old_factory) : we::engine::create(old_factory)).value()) {}

  void replace() { replacing.begin_with(engine.replace(new_factory)); }

  /// A future with its waker, polled when it is worth it.
  struct watched {
    void begin_with(we::result<we::future> begun) {
      ASSERT_TRUE(begun) << begun.err().what();
      operation = std::move(begun).value();
      woken = dropped = polls = 0;
    }
    wasm_poll poll() {
      ++polls;
      const wasm_waker waker{this, [](void* self) { ++static_cast<watched*>(self)->woken; },
                             [](void* self) { ++static_cast<watched*>(self)->dropped; }};
      auto polled = operation.poll(&waker);
      why = polled ? std::nullopt : std::optional(polled.err());
      return polled ? *polled : WASM_POLL_READY;
    }
    [[nodiscard]] wasm_status status() const { return why ? why->status() : WASM_STATUS_OK; }
    ~watched() { operation = we::future(); }
    we::future operation;
    std::optional<we::error> why;
    int woken = 0, dropped = 0, polls = 0;
  } replacing;

  /// Runs one batch and tells which version it met.
  std::string run() {
    out = {};
    transform(batch);
    worth_polling = true;
    user::run();
    EXPECT_TRUE(ok()) << (end ? end->what() : "");
    return out.records.empty() ? "nothing" : out.values().front();
  }
  void start_now() {
    start();
    EXPECT_TRUE(user::run());
    EXPECT_TRUE(ok());
  }
  /// Polls until the new version is there.
  void replaced() {
    for (int i = 0; i < 3; ++i) {
      if (replacing.poll() == WASM_POLL_READY) {
        EXPECT_EQ(replacing.status(), WASM_STATUS_OK);
        return;
      }
    }
    ADD_FAILURE() << "it was not replaced";
  }

  kafka::bytes batch = built({"x", "y"});
};

}  // namespace testing_support
