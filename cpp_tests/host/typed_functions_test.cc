// SPDX-License-Identifier: Apache-2.0
//
// Host functions whose guest type is read from the C++ type.
#include "support/host_guest.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

// ---- What compiles, and what does not ----

enum class color : std::uint8_t { red, green };
enum class big : std::int64_t { one = 1 };
struct point {
  double x, y;
};
struct with_destructor {
  ~with_destructor() {}
};

template <typename... P>
using takes = void (*)(P...);
template <typename R>
using gives = R (*)();

static_assert(we::host_callable<takes<bool, char, std::int8_t, std::uint16_t, std::int32_t, std::uint64_t, float, double>>);
static_assert(we::host_callable<takes<color, big, point&, const point&, int&, std::span<const point>, std::span<int, 4>>>);
static_assert(we::host_callable<takes<std::string_view, std::string, std::vector<int>, we::guest_ptr<point>,
                                      we::guest_span<char>, we::guest_memory&, we::host_call&, we::engine_data<point>>>);
static_assert(we::host_callable<takes<we::later<int>, std::string_view>>);
static_assert(we::host_callable<gives<we::result<void>>> && we::host_callable<gives<we::result<int>>>);
static_assert(we::host_callable<gives<std::tuple<int, double>>> && we::host_callable<gives<we::task<>>>);
static_assert(we::host_callable<gives<we::task<we::result<std::uint8_t>>>>);
static_assert(we::host_callable<gives<we::task<we::with_memory<we::result<void>>>>>);

static_assert(!we::host_callable<takes<int*>> && !we::host_callable<takes<const char*>>);
static_assert(!we::host_callable<takes<const int&>> && !we::host_callable<takes<int&&>>);
static_assert(!we::host_callable<takes<long double>> && !we::host_callable<takes<point>>);
static_assert(!we::host_callable<takes<bool&>> && !we::host_callable<takes<std::span<bool>>>);
static_assert(!we::host_callable<takes<std::span<char*>>> && !we::host_callable<takes<std::span<std::string>>>);
static_assert(!we::host_callable<takes<with_destructor&>> && !we::host_callable<takes<std::string&>>);
static_assert(!we::host_callable<takes<const std::string_view&>> && !we::host_callable<takes<std::span<int>&>>);
static_assert(!we::host_callable<gives<std::string>> && !we::host_callable<gives<point>> && !we::host_callable<gives<int*>>);
static_assert(!we::host_callable<gives<we::result<std::string>>> && !we::host_callable<gives<we::task<point>>>);
static_assert(!we::host_callable<int (*)(we::later<int>)> && !we::host_callable<takes<we::later<int>, we::later<int>>>);
// A coroutine must not have views of the guest's memory.
static_assert(!we::host_callable<we::task<int> (*)(std::string_view)>);
static_assert(!we::host_callable<we::task<int> (*)(std::span<const int>)>);
static_assert(!we::host_callable<we::task<int> (*)(int&)> && !we::host_callable<we::task<int> (*)(we::host_call&)>);
static_assert(we::host_callable<we::task<int> (*)(std::string, we::engine_data<int>)>);
// 32 Wasm parameters at most.
using view = std::string_view;
static_assert(we::host_callable<takes<view, view, view, view, view, view, view, view, view, view, view, view, view, view,
                                      view, view>>);
static_assert(!we::host_callable<takes<view, view, view, view, view, view, view, view, view, view, view, view, view, view,
                                       view, view, int>>);
static_assert(!we::host_callable<int> && !we::host_callable<decltype([](auto x) { return x; })>);

// ---- What they do ----

struct my_class {
  int calls = 0;

  std::int32_t narrow(std::int8_t a, std::uint8_t b, std::int16_t c, std::uint16_t d) {
    ++calls;
    return a + b + c + d;
  }
  [[nodiscard]] std::int64_t sum(std::span<const std::int32_t> numbers) const noexcept {
    std::int64_t total = 0;
    for (const auto n : numbers) {
      total += n;
    }
    return total;
  }
  static std::uint64_t wide(std::uint64_t a, std::int64_t b) { return a + static_cast<std::uint64_t>(b); }
};

double floats(float a, double b) noexcept { return static_cast<double>(a) + b; }

struct typed : world {
  typed() {
    we::host_module m("t");
    m.add<&my_class::narrow>("narrow", object);
    m.add<&my_class::sum>("sum", std::make_shared<my_class>());
    m.add<&my_class::wide>("wide");
    m.add<&floats>("floats");
    m.add("flags", [](bool a, color b, big c) {
      return static_cast<std::int32_t>(a) + 10 * static_cast<std::int32_t>(b) + 100 * static_cast<std::int32_t>(c);
    });
    m.add("fill", [](std::span<std::uint16_t> to, std::uint16_t with) { std::fill(to.begin(), to.end(), with); });
    m.add("text", [](std::string_view text) -> we::result<std::int32_t> {
      if (text == "hello") {
        return we::error("rude");
      }
      if (text == "hell") {
        throw std::runtime_error("hot \xf0 hot");
      }
      if (text == "hel") {
        throw 3;
      }
      return static_cast<std::int32_t>(text.size());
    });
    m.add("out", [](std::int64_t& inout, bool succeed) -> we::result<color> {
      inout += 5;
      if (!succeed) {
        return we::error("not written");
      }
      return color::green;
    });
    m.add("point", [](const point& p, point& q) {
      const double length = p.x * p.x + p.y * p.y;
      q.x = -1;
      return length;
    });
    m.add("fixed", [](std::span<const std::int32_t, 4> all) { return all[0] + all[3]; });
    m.add("copies", [](const std::string a, std::vector<std::int32_t> b) {  // NOLINT
      return static_cast<std::int32_t>(a.size() * 1000 + b.size());
    });
    m.add("memory", [](we::guest_memory& memory, we::guest_span<std::uint16_t> range, we::host_call& call,
                       we::engine_data<my_class> data) -> we::result<std::int32_t> {
      EXPECT_NE(call.engine(), nullptr);
      EXPECT_EQ(call.user_data<my_class>(), data.get());
      auto view = memory.view(range);
      if (!view) {
        return view.err();
      }
      auto copied = memory.read(we::guest_ptr<std::uint16_t>{range.address});
      EXPECT_EQ(copied.value(), view.value()[0]);
      EXPECT_TRUE(memory.write(we::guest_ptr<std::uint16_t>{range.address + 1}, 0x4142));
      const std::array<std::uint16_t, 3> three{1, 2, 3};
      EXPECT_EQ(memory.write(range, three).value(), 2U);
      EXPECT_FALSE(memory.bytes(1, 1ULL << 32U));
      EXPECT_FALSE(memory.text(65535, 2));
      return (*view)[1];
    });
    m.add("pair", [] { return std::tuple(std::int32_t{-7}, std::uint64_t{8}); });
    m.add("report", [this](std::int64_t n) { seen.push_back(n); });
    runtime.add(m).value();
    start("h_typed");
  }

  std::string fails(std::uint32_t what, std::uint32_t x) {
    const auto end = call(what, x);
    EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED) << what << " " << x;
    EXPECT_EQ(drive(engine.start()).message, "");
    return end.message;
  }
  std::vector<std::int64_t> operator()(std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> calls) {
    seen.clear();
    EXPECT_EQ(drive(begin(calls)).message, "");
    return seen;
  }

  my_class object;
  std::vector<std::int64_t> seen;
};

constexpr auto minus(std::uint32_t n) { return 0U - n; }

TEST(Typed, IntegersThatFit) {
  typed t;
  EXPECT_THAT(t({{0, 127}, {0, minus(128)}, {1, 255}, {2, minus(32768)}, {3, 65535}}),
              ElementsAre(127, -128, 255, -32768, 65535));
  EXPECT_EQ(t.object.calls, 5);
  EXPECT_THAT(t({{4, 1}, {4, minus(1)}}), ElementsAre(0, -2));
}

TEST(Typed, IntegersThatDoNotFitAreTraps) {
  typed t;
  EXPECT_THAT(t.fails(0, 128), HasSubstr("t.narrow: argument 1: 128 does not fit into a signed integer of 8 bits"));
  EXPECT_THAT(t.fails(0, 255), HasSubstr("argument 1"));
  EXPECT_THAT(t.fails(1, 256), HasSubstr("argument 2: 256 does not fit into an unsigned integer of 8 bits"));
  EXPECT_THAT(t.fails(1, minus(1)), HasSubstr("argument 2: -1"));
  EXPECT_THAT(t.fails(2, 32768), HasSubstr("argument 3"));
  EXPECT_THAT(t.fails(3, minus(1)), HasSubstr("argument 4"));
  EXPECT_EQ(t.object.calls, 0);
}

TEST(Typed, FloatsBoolsAndEnums) {
  typed t;
  EXPECT_THAT(t({{5, 7}}), ElementsAre(std::bit_cast<std::int64_t>(7.5)));
  EXPECT_THAT(t({{6, 0}, {6, 1}, {6, 0x8000'0000U}}), ElementsAre(320, 321, 321));
}

TEST(Typed, Spans) {
  typed t;
  EXPECT_THAT(t({{7, 2048}, {7, 2052}, {8, 0}, {8, 2}}), ElementsAre(10, 9, 0, 3));
  EXPECT_THAT(t({{9, 0xabcd}}), ElementsAre(0x0000'abcd'abcd'abcdLL));
  EXPECT_THAT(t({{14, 2048}}), ElementsAre(5));
  EXPECT_THAT(t.fails(7, 2049), HasSubstr("t.sum: argument 1: the guest gave the address 2049, which is not aligned to 4"));
  EXPECT_THAT(t.fails(7, 65528), HasSubstr("t.sum: argument 1: the guest gave a pointer outside of its memory"));
  // Counts whose size in bytes does not fit into 32 bits.
  EXPECT_THAT(t.fails(8, 0x4000'0000U), HasSubstr("t.sum: argument 1: the guest gave a pointer outside of its memory: 4294967296 bytes at 2048"));
  EXPECT_THAT(t.fails(8, 0xffff'ffffU), HasSubstr("outside of its memory"));
  EXPECT_THAT(t.fails(14, 65524), HasSubstr("t.fixed: argument 1"));
}

TEST(Typed, TextAndErrors) {
  typed t;
  EXPECT_THAT(t({{10, 11}, {10, 0}}), ElementsAre(11, 0));
  EXPECT_THAT(t.fails(10, 5), HasSubstr("t.text: rude"));
  EXPECT_THAT(t.fails(10, 4), HasSubstr("t.text: hot \\xf0 hot"));
  EXPECT_THAT(t.fails(10, 3), HasSubstr("not a std::exception"));
  EXPECT_THAT(t.fails(10, 65000), HasSubstr("t.text: argument 1: the guest gave a pointer outside of its memory"));
}

TEST(Typed, References) {
  typed t;
  EXPECT_THAT(t({{11, 1}}), ElementsAre(1, 105));
  EXPECT_THAT(t.fails(11, 0), HasSubstr("not written"));
  EXPECT_THAT(t.fails(12, 65529), HasSubstr("t.out: argument 1"));
  EXPECT_THAT(t({{12, 65528}}), ElementsAre(1));
  EXPECT_THAT(t({{13, 3000}}), ElementsAre(25, 3));
  EXPECT_THAT(t({{13, 2064}}), ElementsAre(25, -1)) << "in and out may be one and the same";
  EXPECT_THAT(t.fails(13, 65535), HasSubstr("t.point: argument 2"));
}

TEST(Typed, CopiesMemoryAndSeveralResults) {
  typed t;
  EXPECT_THAT(t({{15, 2}, {15, 0}}), ElementsAre(5002, 5000)) << "copies need not be aligned";
  EXPECT_THAT(t.fails(15, 0x2000'0000U), HasSubstr("t.copies: argument 2"));
  EXPECT_THAT(t({{16, 4000}}), ElementsAre(2));
  EXPECT_THAT(t.fails(16, 4001), HasSubstr("aligned"));
  EXPECT_THAT(t({{17, 0}}), ElementsAre(8, -7));
}

TEST(Typed, RegisteringFailsWithAStatus) {
  auto rt = we::runtime::create().value();
  we::host_module m("m");
  m.add("f", [] {}).add("f", [] {});
  const auto added = rt.add(m);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.err().status(), WASM_STATUS_INVALID_ARGUMENT);
  we::host_module own("redpanda_transform");
  EXPECT_EQ(rt.add(own.add("f", [] {})).err().status(), WASM_STATUS_INVALID_ARGUMENT);
}

TEST(Typed, AModuleCanBeGivenToSeveralRuntimesAndIsDroppedOnce) {
  auto counted = std::make_shared<int>(0);
  {
    world one, two;
    {
      we::host_module m("t");
      m.add("f", [counted](std::int32_t a, std::int32_t b) { return a * b + *counted; });
      m.add("report", [counted](std::int32_t r) { EXPECT_EQ(r, 42); ++*counted; --*counted; });
      const auto copy = m;  // NOLINT: copies share the functions
      ASSERT_TRUE(one.runtime.add(m));
      ASSERT_TRUE(two.runtime.add(copy));
      ASSERT_FALSE(two.runtime.add(m));
    }
    EXPECT_EQ(counted.use_count(), 3);
    one.start();
    two.start();
    one.runtime = {};
    EXPECT_EQ(one.call(6, 7).message, "");
    EXPECT_EQ(two.call(6, 7).message, "");
  }
  EXPECT_EQ(counted.use_count(), 1);
}

struct counter {
  int calls = 0;
  std::int32_t f(std::int32_t a, std::int32_t b) { return ++calls + a + b; }
  void report(std::int32_t r) { last = r; }
  std::int32_t last = 0;
};

TEST(Typed, TheObjectCanBeTheEnginesOwn) {
  world w;
  we::host_module m("t");
  m.add<&counter::f>("f", we::per_engine).add<&counter::report>("report", we::per_engine);
  ASSERT_TRUE(w.runtime.add(m));
  w.start();
  auto end = w.call(1, 2);
  EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(end.message, HasSubstr("user data"));
  counter one, two;
  auto other = we::engine::create(w.factory).value();
  ASSERT_TRUE(w.engine.set_user_data(&one));
  ASSERT_TRUE(other.set_user_data(&two));
  ASSERT_EQ(drive(w.engine.start()).message, "");
  ASSERT_EQ(drive(other.start()).message, "");
  const auto batch = pairs({{10, 0}, {20, 0}});
  EXPECT_EQ(w.call(1, 2).message, "");
  EXPECT_EQ(drive(other.transform(batch, w.sink)).message, "");
  EXPECT_EQ(one.last, 4);
  EXPECT_EQ(two.last, 22);
}

}  // namespace
