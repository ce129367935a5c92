// SPDX-License-Identifier: Apache-2.0
//
// A server to be killed by tests: server_program ADDRESS. It prints where it listens and ends at SIGTERM.
#include "server/server.hh"

#include <csignal>
#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  if (argc < 2) {
    return 2;
  }
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  try {
    wasmengine::remote::server_config config;
    config.listen = {argv[1]};
    config.uploads = true;
    config.threads = 1;
    wasmengine::remote::server server(config);
    std::printf("%s\n", server.addresses().front().c_str());
    std::fflush(stdout);
    int caught = 0;
    sigwait(&wanted, &caught);
    server.stop(std::chrono::seconds(10));
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
