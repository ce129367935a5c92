// SPDX-License-Identifier: Apache-2.0
#include "support.hh"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace remote_tests {

server_process::server_process(const std::string& listen, std::vector<std::string> options) {
  int out[2];
  if (::pipe(out) != 0) {
    throw std::runtime_error("pipe");
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  ::posix_spawn_file_actions_addclose(&actions, out[0]);
  ::posix_spawn_file_actions_addclose(&actions, out[1]);
  std::string program = REMOTE_TEST_SERVER, address = listen;
  std::vector<char*> arguments{program.data(), address.data()};
  for (auto& o : options) {
    arguments.push_back(o.data());
  }
  arguments.push_back(nullptr);
  const int failed = ::posix_spawn(&_pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  if (failed != 0) {
    ::close(out[0]);
    throw std::runtime_error("cannot start " + program + ": " + std::strerror(failed));
  }
  for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) {
    _address += c;
  }
  ::close(out[0]);
  if (_address.empty()) {
    throw std::runtime_error(program + " does not listen");
  }
}

server_process::~server_process() { kill(); }

void server_process::send(int signal) const {
  ::kill(_pid, signal);
  if (signal == SIGSTOP) {
    // Until all of its threads stand still.
    int status = 0;
    while (::waitpid(_pid, &status, WUNTRACED) < 0 && errno == EINTR) {
    }
  }
}

int server_process::wait() {
  int status = -1;
  if (_pid > 0) {
    while (::waitpid(_pid, &status, 0) < 0 && errno == EINTR) {
    }
    _pid = -1;
  }
  return status;
}

void server_process::kill() {
  if (_pid > 0) {
    send(SIGKILL);
    wait();
  }
}

}  // namespace remote_tests
