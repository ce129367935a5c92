// SPDX-License-Identifier: Apache-2.0
//
// What the kernel says about this process, and children of it.
#pragma once

#include <gtest/gtest.h>

#include <dirent.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace process {

using strings = std::vector<std::string>;

/// The names in a directory, sorted.
inline strings entries(const char* directory) {
  strings names;
  DIR* open = opendir(directory);
  while (const auto* entry = readdir(open)) {
    if (entry->d_name[0] != '.') {
      names.emplace_back(entry->d_name);
    }
  }
  closedir(open);
  std::sort(names.begin(), names.end());
  return names;
}

namespace detail {
inline strings threads_once() {
  strings names;
  for (const auto& id : entries("/proc/self/task")) {
    std::ifstream file("/proc/self/task/" + id + "/comm");
    std::string name;
    // Nothing to read: the thread has ended meanwhile.
    if (std::getline(file, name)) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Whether all threads with names that begin so wait for something.
inline bool threads_wait_once(const std::string& prefix) {
  for (const auto& id : entries("/proc/self/task")) {
    std::ifstream file("/proc/self/task/" + id + "/stat");
    std::string text;
    std::getline(file, text);
    const auto name = text.find('(');
    const auto end = text.rfind(") ");
    if (end != std::string::npos && text.compare(name + 1, prefix.size(), prefix) == 0 && text[end + 2] != 'S') {
      return false;
    }
  }
  return true;
}
}  // namespace detail

/// The names of all threads, sorted.
inline strings threads() {
  // While a thread ends, the kernel's list may lack another one that goes on.
  for (auto before = detail::threads_once();;) {
    auto names = detail::threads_once();
    if (names == before) {
      return names;
    }
    before = std::move(names);
  }
}

inline strings plus(strings names, std::initializer_list<const char*> more) {
  names.insert(names.end(), more.begin(), more.end());
  std::sort(names.begin(), names.end());
  return names;
}

constexpr std::chrono::seconds patience{10};

/// Whether something comes true before patience is at its end.
template <typename F>
bool eventually(F&& true_now, std::chrono::seconds limit = patience) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!true_now()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// Threads end a little after they were told to, and leave the kernel's lists a little after that.
inline testing::AssertionResult threads_become(const strings& expected) {
  if (eventually([&] { return threads() == expected; })) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "threads: " << testing::PrintToString(threads())
                                     << ", expected: " << testing::PrintToString(expected);
}

/// Waits until all threads with names that begin so have nothing to do.
inline bool threads_become_idle(const std::string& prefix) {
  return eventually([&] { return detail::threads_wait_once(prefix); });
}

/// How a child ended, in words.
inline std::string ending(int status) {
  if (WIFEXITED(status)) {
    return "exit " + std::to_string(WEXITSTATUS(status));
  }
  return std::string("signal ") + strsignal(WTERMSIG(status));
}

/// A child, which owns what it does from the fork on.
class child {
 public:
  /// Forks. The child does `work`, whose expectations count, and then `leave`, by which it must not come back; it exits
  /// with 1 if an expectation failed.
  template <typename Work, typename Leave>
  child(Work&& work, Leave&& leave) : _errors(memfd_create("stderr", MFD_CLOEXEC)) {
    std::fflush(nullptr);
    _id = fork();
    if (_id != 0) {
      EXPECT_GT(_id, 0);
      return;
    }
    // Never outlives a parent that is killed.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(_errors, STDERR_FILENO);
    work();
    std::fflush(nullptr);
    if (testing::Test::HasFailure()) {
      _exit(1);
    }
    leave();
    _exit(2);
  }
  template <typename Work>
  explicit child(Work&& work) : child(std::forward<Work>(work), [] { _exit(0); }) {}
  ~child() { close(_errors); }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  /// Waits for its end and tells it: "exit 0" if all is well. What it wrote to its standard error follows: a library
  /// that panicked says so there, and perhaps nowhere else. A child that hangs is killed.
  std::string ending() {
    int status = 0;
    if (!eventually([&] { return waitpid(_id, &status, WNOHANG) == _id; }, 3 * patience)) {
      kill(_id, SIGKILL);
      waitpid(_id, &status, 0);
      return "none: it hangs" + said();
    }
    return process::ending(status) + said();
  }

 private:
  std::string said() const {
    std::string text(16'384, '\0');
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, pread(_errors, text.data(), text.size(), 0))));
    return text.empty() ? "" : ", saying:\n" + text;
  }

  int _errors;
  pid_t _id;
};

/// The ending of a child that does `work`: "exit 0" if all is well.
template <typename Work>
std::string in_child(Work&& work) {
  return child(std::forward<Work>(work)).ending();
}

}  // namespace process
