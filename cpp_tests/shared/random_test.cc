// SPDX-License-Identifier: Apache-2.0
//
// Users of two factories' shared engines, and engines of their own, that do anything at any time: start, transform,
// stop, give up, replace, come and go, with and without policies. Whatever they do, each operation ends as it should
// once nobody holds it up any more, and nothing is left.
#include "support/replace.hh"

#include <gmock/gmock.h>

#include <memory>
#include <random>

using namespace testing_support;

namespace {

constexpr std::size_t count = 6;

struct walk {
  explicit walk(unsigned seed) : random(seed) {
    for (const auto& script : {v.old, v.fresh}) {
      script->delay_start = script->delay_transform = [this](we::promise p) {
        if (choose(2) == 0) {
          EXPECT_TRUE(p.resolve());
        } else {
          gate.push_back(std::move(p));
        }
      };
      script->outputs = [this](const we::input_record& record) {
        if (!calm && choose(25) == 0) {
          throw std::runtime_error("by chance");
        }
        return std::vector<we::dummy_output>{{{record.payload().begin(), record.payload().end()}}};
      };
    }
  }
  unsigned choose(unsigned n) { return static_cast<unsigned>(random() % n); }
  const we::factory& any() { return choose(2) == 0 ? v.old_factory : v.new_factory; }

  struct member {
    member(we::engine e, bool skips) : u(std::move(e)), skipping(skips) {
      if (skips) {
        u.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
      }
    }
    user u;
    we::future replacing;
    bool skipping;
    std::size_t expected = 0;
  };

  void step(std::unique_ptr<member>& m) {
    if (!m) {
      auto e = (choose(3) == 0 ? we::engine::create(any()) : we::engine::create_shared(any())).value();
      m = std::make_unique<member>(std::move(e), choose(3) == 0);
      return;
    }
    user& u = m->u;
    switch (choose(16)) {
      case 0:
        (void)u.engine.stop().value();
        break;
      case 1:
        if (u.going_on) {
          u.cancel();
        }
        break;
      case 2:
        if (choose(3) == 0) {
          m.reset();
        }
        break;
      case 3:
        if (!m->replacing) {
          m->replacing = u.engine.replace(any()).value();
        }
        break;
      case 4:
        if (choose(4) == 0) {
          m->replacing = we::future();
        }
        break;
      case 5:
      case 6: poll_replacing(*m); break;
      case 7:
      case 8:
        if (!gate.empty()) {
          auto p = std::move(gate.front());
          gate.pop_front();
          EXPECT_TRUE(choose(20) == 0 ? p.reject("by chance") : p.resolve());
        }
        break;
      default: work(*m); break;
    }
  }

  void poll_replacing(member& m) {
    if (m.replacing) {
      const auto polled = m.replacing.poll();
      if (!polled || *polled == WASM_POLL_READY) {
        m.replacing = we::future();
      }
    }
  }

  /// What a host does: starts, transforms, polls.
  void work(member& m) {
    user& u = m.u;
    if (u.going_on) {
      if (!u.poll()) {
        return;
      }
      if (u.end) {
        EXPECT_TRUE(u.status() == WASM_STATUS_CUSTOM_ENGINE_FAILED || u.status() == WASM_STATUS_CANCELLED)
            << u.end->what();
      } else if (m.expected > 0 && !m.skipping) {
        EXPECT_EQ(u.out.records.size(), m.expected) << "a batch that is ready is there as a whole";
      }
      m.expected = 0;
      return;
    }
    // A replacement may have started the engine: that is over at once then.
    if (u.state() == WASM_ENGINE_STATE_STOPPED) {
      m.expected = 0;
      u.start();
    } else if (u.state() == WASM_ENGINE_STATE_IDLE) {
      u.out = {};
      m.expected = batch_size;
      u.transform(batch);
    } else {
      ADD_FAILURE() << "nobody knows of an operation that is going on";
    }
  }

  std::mt19937 random;
  versions v;
  std::deque<we::promise> gate;
  bool calm = false;
  static constexpr std::size_t batch_size = 4;
  kafka::bytes batch = built({"a", "b", "c", "d"});
};

TEST(SharedEngineRandom, WhateverUsersDoEveryOperationEndsAndNothingIsLeft) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    walk w(seed);
    {
      std::vector<std::unique_ptr<walk::member>> members(count);
      for (int i = 0; i < 600; ++i) {
        w.step(members[w.choose(count)]);
      }
      // From here on nothing fails, and everybody is polled once, and then when it is woken: everything must come to
      // its end.
      w.calm = true;
      for (int i = 0; i < 400; ++i) {
        for (auto& p : std::exchange(w.gate, {})) {
          EXPECT_TRUE(p.resolve());
        }
        for (auto& m : members) {
          if (m) {
            w.poll_replacing(*m);
            if (m->u.going_on && (i == 0 || m->u.worth_polling)) {
              w.work(*m);
            }
          }
        }
      }
      for (auto& m : members) {
        if (m) {
          EXPECT_FALSE(m->u.going_on);
          EXPECT_FALSE(m->replacing);
          EXPECT_LE(m->u.woken, m->u.pending);
          EXPECT_EQ(m->u.woken + m->u.dropped, m->u.polls);
        }
      }
    }
    EXPECT_EQ(w.v.old->alive, 0);
    EXPECT_EQ(w.v.fresh->alive, 0);
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
