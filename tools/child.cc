// SPDX-License-Identifier: Apache-2.0
#include "child.hh"

#include "exit_code.hh"
#include "file.hh"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
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

/// Reads both pipes to their ends. False at the end of one.
bool take(int fd, std::string& to) {
  std::array<char, 65536> block{};
  const auto got = ::read(fd, block.data(), block.size());
  if (got < 0 && errno == EINTR) {
    return true;
  }
  if (got > 0) {
    to.append(block.data(), static_cast<std::size_t>(got));
  }
  return got > 0;
}

void read_both(int out, int err, child_result& result) {
  std::array<pollfd, 2> fds = {pollfd{out, POLLIN, 0}, pollfd{err, POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (::poll(fds.data(), fds.size(), -1) < 0) {
      continue;
    }
    for (auto& one : fds) {
      if (one.fd >= 0 && one.revents != 0 && !take(one.fd, one.fd == out ? result.output : result.errors)) {
        one.fd = -1;
      }
    }
  }
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
  const std::string input = command.input.empty() ? "/dev/null" : command.input;
  auto out = make_pipe();
  auto err = make_pipe();
  auto broken = make_pipe();
  const auto begin = std::chrono::steady_clock::now();
  const auto pid = ::fork();
  if (pid < 0) {
    throw failure(exit_code::other, fmt::format("cannot start {}: {}", command.arguments.front(), std::strerror(errno)));
  }
  if (pid == 0) {
    // Between fork and exec: calls that are safe after a signal only.
    const int in = ::open(input.c_str(), O_RDONLY | O_CLOEXEC);
    if (in >= 0 && ::dup2(in, STDIN_FILENO) >= 0 && ::dup2(out.write.get(), STDOUT_FILENO) >= 0 &&
        (command.shows_errors || ::dup2(err.write.get(), STDERR_FILENO) >= 0) &&
        (command.directory.empty() || ::chdir(command.directory.c_str()) == 0)) {
      ::execve(program->c_str(), arguments.data(), environment.data());
    }
    const int why = errno;
    (void)!::write(broken.write.get(), &why, sizeof why);
    ::_exit(127);
  }
  out.write = descriptor();
  err.write = descriptor();
  broken.write = descriptor();
  child_result result;
  read_both(out.read.get(), err.read.get(), result);
  int status = 0;
  rusage used{};
  while (::wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {
  }
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
