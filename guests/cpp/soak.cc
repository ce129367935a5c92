// Does a little of everything that a transform may do, for each record: makes garbage, keeps maps, sleeps, asks for the
// time and for random numbers, and now and then logs.
//
// The output's value is the input's, how often its last three bytes have come so far, and the time in milliseconds.

#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "transform_guest.hh"

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::steady_clock;
using std::chrono::system_clock;

// Records with one line of log.
constexpr int log_every = 10'000;

class soak {
 public:
  void operator()(const tg::record& record) {
    ++seen_;
    if (seen_ % 64 == 0) garbage_.clear();
    garbage_.emplace_back(1 + random() % 8192, static_cast<char>(seen_));

    const auto begin = steady_clock::now();
    const timespec time{0, 1'000'000};
    if (nanosleep(&time, nullptr) != 0) tg::fail("soak: nanosleep failed");
    const auto slept = steady_clock::now() - begin;
    if (slept < milliseconds(1) || slept > minutes(1)) tg::fail("soak: a millisecond took another time");
    if (begin <= last_) tg::fail("soak: the clock stands still");
    last_ = begin;

    const std::string value(record.value().value_or(""));
    const std::string word = value.substr(value.size() - std::min<std::size_t>(3, value.size()));
    // A map that lives for a record.
    const std::map<int, std::string> parts{{0, value}, {1, std::to_string(++words_[word])}, {2, std::to_string(now())}};
    std::string out;
    for (const auto& [number, part] : parts) out += (number > 0 ? ":" : "") + part;
    if (seen_ % log_every == 1) std::fprintf(stderr, "%d records, %zu words\n", seen_, words_.size());
    if (tg::write(tg::record(record.key(), out)) < 0) tg::fail("soak: write failed");
  }

 private:
  static long long now() {
    return std::chrono::duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }
  unsigned random() {
    const auto before = random_;
    if (getentropy(random_.data(), sizeof random_) != 0 || random_ == before) tg::fail("soak: the same nonce twice");
    return random_[0];
  }

  int seen_ = 0;
  std::unordered_map<std::string, long> words_;
  std::vector<std::vector<char>> garbage_;
  std::array<unsigned, 2> random_{};
  steady_clock::time_point last_;
};

}  // namespace

int main() { tg::run(soak{}); }
