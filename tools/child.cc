// SPDX-License-Identifier: Apache-2.0
#include "child.hh"

#include "exit_code.hh"
#include "file.hh"
#include "interruption.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <poll.h>
#include <span>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace tool {

namespace {

struct pipe_ends {
  descriptor read;
  descriptor write;
};

pipe_ends make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw failure(exit_code::other, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  return {descriptor(ends[0]), descriptor(ends[1])};
}

/// Our environment with the changes, as execve takes it.
std::vector<std::string> environment_of(const child_command& command) {
  std::vector<std::string> all;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string text = *one;
    const auto name = text.substr(0, text.find('='));
    bool changed = false;
    for (const auto& [key, value] : command.environment) {
      changed = changed || key == name;
    }
    if (!changed) {
      all.push_back(text);
    }
  }
  for (const auto& [key, value] : command.environment) {
    if (!value.empty()) {
      all.push_back(fmt::format("{}={}", key, value));
    }
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (auto& text : texts) {
    all.push_back(text.data());
  }
  all.push_back(nullptr);
  return all;
}

/// What a command writes, as far as it is kept.
class capture {
 public:
  void add(std::string_view bytes) {
    const auto first = std::min(bytes.size(), half - _first.size());
    _first += bytes.substr(0, first);
    _last += bytes.substr(first);
    if (_last.size() > 2 * half) {
      const auto out = _last.size() - half;
      _last.erase(0, out);
      _left_out += out;
    }
  }

  [[nodiscard]] std::string text() const {
    const auto last = std::string_view(_last).substr(_last.size() > half ? _last.size() - half : 0);
    const auto out = _left_out + _last.size() - last.size();
    return out == 0 ? _first + _last : fmt::format("{}\n… {} bytes are left out …\n{}", _first, out, last);
  }

 private:
  static constexpr std::size_t half = most_captured / 2;
  std::string _first;
  std::string _last;
  std::uint64_t _left_out = 0;
};

/// Reads some of a pipe. False at its end.
bool take(int fd, capture& to) {
  std::array<char, 65536> block{};
  const auto got = ::read(fd, block.data(), block.size());
  if (got < 0 && errno == EINTR) {
    return true;
  }
  if (got > 0) {
    to.add({block.data(), static_cast<std::size_t>(got)});
  }
  return got > 0;
}

/// Reads both pipes to their ends, or until a signal comes.
void read_both(int out, int err, child_result& result) {
  capture output;
  capture errors;
  std::array<pollfd, 3> fds = {pollfd{out, POLLIN, 0}, pollfd{err, POLLIN, 0}, pollfd{interruption::file(), POLLIN, 0}};
  while ((fds[0].fd >= 0 || fds[1].fd >= 0) && fds[2].revents == 0) {
    if (::poll(fds.data(), fds.size(), -1) < 0) {
      continue;
    }
    for (auto& one : std::span(fds).first(2)) {
      if (one.fd >= 0 && one.revents != 0 && !take(one.fd, one.fd == out ? output : errors)) {
        one.fd = -1;
      }
    }
  }
  result.output = output.text();
  result.errors = errors.text();
}

/// Waits for the end of a process, which leads a group. A signal to us ends the group.
int wait_for(pid_t pid, rusage& used) {
  using clock = std::chrono::steady_clock;
  // `run` takes `interruption::grace` at most to end.
  constexpr auto patience = interruption::grace + std::chrono::seconds(2);
  constexpr auto pause = std::chrono::milliseconds(1);
  std::optional<clock::time_point> asked;
  for (;;) {
    const bool signalled = interruption::file() >= 0 && interruption::signal() != 0;
    siginfo_t info{};
    // Leaves it to be waited for: until then nobody else gets its number.
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != EINTR) {
      throw failure(exit_code::other, fmt::format("cannot wait for a process: {}", std::strerror(errno)));
    }
    if (info.si_pid == pid) {
      if (signalled) {
        ::kill(-pid, SIGKILL);  // what it leaves behind
      }
      int status = 0;
      while (::wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {
      }
      return status;
    }
    if (signalled && !asked) {
      asked = clock::now();
      ::kill(-pid, SIGTERM);
    } else if (asked && clock::now() - *asked > patience) {
      ::kill(-pid, SIGKILL);
    }
    std::this_thread::sleep_for(pause);
  }
}

/// What the child does between fork and exec: calls that are safe after a signal only.
[[noreturn]] void become(const child_command& command, const char* program, const char* input, const pipe_ends& out,
                         const pipe_ends& err, const pipe_ends& broken, pid_t parent, char* const* arguments, char* const* environment) {
  // Its own group, which we can end as a whole, and no terminal: a signal from there comes to us alone, and a program
  // that wants a password fails where it would wait for ever.
  (void)::setsid();
  (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) {
    ::_exit(127);
  }
  (void)::signal(SIGPIPE, SIG_DFL);
  const int in = ::open(input, O_RDONLY | O_CLOEXEC);
  if (in >= 0 && ::dup2(in, STDIN_FILENO) >= 0 && ::dup2(out.write.get(), STDOUT_FILENO) >= 0 &&
      (command.shows_errors || ::dup2(err.write.get(), STDERR_FILENO) >= 0) &&
      (command.directory.empty() || ::chdir(command.directory.c_str()) == 0)) {
    ::execve(program, arguments, environment);
  }
  const int why = errno;
  (void)!::write(broken.write.get(), &why, sizeof why);
  ::_exit(127);
}

std::chrono::nanoseconds duration(const timeval& t) {
  return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
}

}  // namespace

child_result run_child(const child_command& command) {
  auto texts = command.arguments;
  auto variables = environment_of(command);
  auto arguments = pointers(texts);
  auto environment = pointers(variables);
  const auto program = find_program(command.arguments.front());
  if (!program) {
    throw failure(exit_code::other, fmt::format("{} is not there", command.arguments.front()));
  }
  interruption::check();
  const std::string input = command.input.empty() ? "/dev/null" : command.input;
  auto out = make_pipe();
  auto err = make_pipe();
  auto broken = make_pipe();
  const auto begin = std::chrono::steady_clock::now();
  const auto self = ::getpid();
  const auto pid = ::fork();
  if (pid < 0) {
    throw failure(exit_code::other, fmt::format("cannot start {}: {}", command.arguments.front(), std::strerror(errno)));
  }
  if (pid == 0) {
    become(command, program->c_str(), input.c_str(), out, err, broken, self, arguments.data(), environment.data());
  }
  out.write = descriptor();
  err.write = descriptor();
  broken.write = descriptor();
  child_result result;
  read_both(out.read.get(), err.read.get(), result);
  rusage used{};
  const int status = wait_for(pid, used);
  interruption::check();
  int why = 0;
  if (::read(broken.read.get(), &why, sizeof why) == sizeof why) {
    throw failure(exit_code::other, fmt::format("cannot start {}: {}", command.arguments.front(), std::strerror(why)));
  }
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.time = std::chrono::steady_clock::now() - begin;
  result.cpu_time = duration(used.ru_utime) + duration(used.ru_stime);
  result.memory = static_cast<std::uint64_t>(used.ru_maxrss) << 10;
  return result;
}

std::optional<std::string> find_program(const std::string& name) {
  const auto runs = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != name.npos) {
    return runs(name) ? std::optional(name) : std::nullopt;
  }
  const char* path = std::getenv("PATH");
  std::string_view left = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!left.empty()) {
    const auto end = std::min(left.find(':'), left.size());
    const auto candidate = fmt::format("{}/{}", left.substr(0, end), name);
    if (end > 0 && runs(candidate)) {
      return candidate;
    }
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  return std::nullopt;
}

const std::string& own_path() {
  static const std::string path = std::filesystem::read_symlink("/proc/self/exe").string();
  return path;
}

}  // namespace tool
