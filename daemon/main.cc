// SPDX-License-Identifier: Apache-2.0
//
// wasm-transformd: runs transforms on a Kafka cluster.
#include "control.hh"
#include "server.hh"
#include "http_server.hh"
#include "log.hh"

#include "../tools/exit_code.hh"

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <exception>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace transformd;

struct arguments {
  std::vector<std::string> files;
  std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::string instance;
  std::string socket;
  std::string listen;
  std::string state_directory;
  tool::registry_options registry;
  bool check = false;
  bool verbose = false;
};

/// Different for each process: equal ones would fence each other.
std::string random_instance() {
  std::random_device entropy;
  return fmt::format("{:08x}{:08x}", entropy(), entropy());
}

void parse(CLI::App& app, arguments& out) {
  app.description("Runs WebAssembly transforms on a Kafka cluster. Output and position are committed together.");
  app.set_version_flag("--version", wasm_library_version());
  app.add_option("FILE", out.files, "A transform's YAML file")->required()->check(CLI::ExistingFile);
  app.add_option("--threads", out.threads, "Event loops. Default: one for each processor")->check(CLI::Range(1, 1024));
  app.add_option("--instance", out.instance,
                 "The name of this process in its group. A process that is started again with the same name ends the "
                 "transactions of the one before at once. No two may run with the same name. Default: random");
  app.add_option("--socket", out.socket, "A Unix socket for commands and state over HTTP");
  app.add_option("--listen", out.listen, "[ADDRESS:]PORT for the same. The address is 127.0.0.1 if there is none");
  app.add_option("--state-dir", out.state_directory,
                 "A directory for deployed modules. Without it they are forgotten when the process ends");
  tool::add_registry(app, out.registry);
  app.add_flag("--check", out.check, "Only check the files");
  app.add_flag("--verbose", out.verbose, "Log more");
}

/// Reads [ADDRESS:]PORT. Throws `config_error`.
std::pair<std::string, std::uint16_t> parse_listen(const std::string& text) {
  const auto colon = text.rfind(':');
  auto address = colon == std::string::npos ? std::string("127.0.0.1") : text.substr(0, colon);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  const auto digits = colon == std::string::npos ? text : text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) {
    throw config_error(fmt::format("--listen {}: it must be [ADDRESS:]PORT", text));
  }
  return {address, port};
}

/// Runs until a signal. The exit code.
int run(const arguments& given) {
  logger log(given.verbose ? severity::debug : severity::info);
  std::vector<transform_file> files;
  for (const auto& path : given.files) {
    files.push_back(read_transform_file(path));
  }
  if (given.check) {
    return 0;
  }
  asio::io_context main_loop{1};
  server_options options{given.threads, given.instance.empty() ? random_instance() : given.instance, {},
                         tool::complete_registry(given.registry)};
  if (!given.state_directory.empty()) {
    options.state_directory = given.state_directory;
  }
  server all(std::move(files), options, log);
  control commands(all, log);
  if (!given.socket.empty()) {
    serve_unix(main_loop, given.socket, commands);
  }
  if (!given.listen.empty()) {
    const auto [address, port] = parse_listen(given.listen);
    const auto bound = serve_tcp(main_loop, address, port, commands);
    log.write(severity::info, "", fmt::format("listens on http://{}:{}", address, bound));
  }
  // A log or a client that went away is an error of `write`.
  std::signal(SIGPIPE, SIG_IGN);
  asio::signal_set signals(main_loop, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& e, int) {
    if (!e) {
      sd_notify(0, "STOPPING=1");
      log.write(severity::info, "", "stops: finishes the transactions and leaves the groups");
      all.stop([&] { main_loop.stop(); });
      // A second signal ends the process at once. Readers then wait for the transactions' timeout.
      signals.clear();
    }
  });
  all.start();
  sd_notify(0, "READY=1");
  main_loop.run();
  if (!given.socket.empty()) {
    ::unlink(given.socket.c_str());
  }
  log.write(severity::info, "", "has stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app;
  arguments given;
  parse(app, given);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(given);
  } catch (const transformd::config_error& e) {
    std::fprintf(stderr, "wasm-transformd: %s\n", e.what());
    return 2;
  } catch (const tool::failure& e) {
    std::fprintf(stderr, "wasm-transformd: %s\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "wasm-transformd: %s\n", e.what());
    return 1;
  }
}
