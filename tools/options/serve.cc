// SPDX-License-Identifier: Apache-2.0
#include "../serve.hh"

#include "commands.hh"
#include "values.hh"

#include <memory>
#include <optional>

namespace tool {

namespace {

struct parsed {
  serve_options serve;
  double record_timeout_ns = 3e9;
  double grace_ns = 10e9;
  std::optional<std::string> metrics_listen;
};

void add_options(CLI::App& command, parsed& p) {
  auto& o = p.serve;
  command
      .add_option("--listen", o.listen,
                  "Where hosts connect: ADDRESS:PORT, with PORT 0 any that is free, or unix:/PATH; repeat for more (default: "
                  "127.0.0.1:7070)")
      ->option_text("ADDRESS")
      ->allow_extra_args(false);
  command.add_option("--module-dir", o.module_directory, "The files NAME.wasm in it are the modules that hosts can name")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  command.add_flag("--allow-uploads", o.uploads, "Hosts may upload modules");
  auto* certificate = command.add_option("--tls-cert", o.tls_certificate, "The server's certificate with its chain, PEM");
  certificate->check(CLI::ExistingFile)->option_text("FILE");
  auto* key = command.add_option("--tls-key", o.tls_key, "Its key, PEM");
  key->check(CLI::ExistingFile)->option_text("FILE")->needs(certificate);
  certificate->needs(key);
  command.add_option("--tls-client-ca", o.tls_client_ca, "Hosts must have a certificate of this authority, PEM")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(certificate);
  command.add_option("--token-file", o.token_file, "Hosts must send the token that is the file's one line")
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
  command.add_flag("--insecure", o.insecure, "Also without TLS and without a token on addresses that others can reach");
  command.add_option("--threads,-j", o.threads, "Event loops (default: one per core)")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  command.add_option("--max-streams", o.max_streams, "Engines at a time (default: 1000)")
      ->check(CLI::Range(1, 10'000'000))
      ->option_text("N");
  command.add_option("--max-modules", o.max_modules, "Compiled transforms at a time (default: 1000)")
      ->check(CLI::Range(1, 10'000'000))
      ->option_text("N");
  add_memory_limit(command, o.memory_limit);
  command.add_option("--max-memory", o.max_memory, "Linear memory of all guests, such as 8GiB: fewer engines (default: no limit)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_option("--upload-memory", o.upload_memory, "Uploaded modules that are kept (default: 256MiB)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_option("--max-batch", o.max_batch, "A batch as it comes (default: 16MiB)")
      ->transform(size_value())
      ->option_text("SIZE");
  command
      .add_option("--record-timeout", p.record_timeout_ns, "Time for one record at most, such as 500ms (default: 3s)")
      ->transform(duration_value())
      ->option_text("TIME");
  command
      .add_option("--grace", p.grace_ns, "At SIGTERM, time for batches that are in progress (default: 10s)")
      ->transform(duration_value())
      ->option_text("TIME");
  command.add_option("--cache-dir", o.cache_directory, "Keeps compiled modules in this directory, for the next time")
      ->option_text("DIR");
  add_compile_helper(command, o.compile_helper);
  command
      .add_option("--metrics-listen", p.metrics_listen, "Serves http://ADDR:PORT/metrics for Prometheus (default: none)")
      ->option_text("[ADDR:]PORT");
}

serve_options complete(parsed& p) {
  auto& o = p.serve;
  if (o.listen.empty()) {
    o.listen.emplace_back("127.0.0.1:7070");
  }
  if (p.record_timeout_ns < 1e6 || p.record_timeout_ns > 86'400e9) {
    wrong("--record-timeout must be from 1ms to a day");
  }
  o.record_timeout_ns = static_cast<std::uint64_t>(p.record_timeout_ns);
  if (p.grace_ns < 0 || p.grace_ns > 86'400e9) {
    wrong("--grace must be at most a day");
  }
  o.grace = std::chrono::milliseconds(static_cast<std::int64_t>(p.grace_ns / 1e6));
  if (o.memory_limit < (64U << 10) || o.memory_limit > (std::uint64_t{4} << 30)) {
    wrong("--memory-limit must be from 64KiB to 4GiB");
  }
  if (o.max_memory != 0 && o.max_memory < o.memory_limit) {
    wrong("--max-memory must be at least --memory-limit");
  }
  if (o.max_batch < 1024 || o.max_batch > (1U << 30)) {
    wrong("--max-batch must be from 1KiB to 1GiB");
  }
  if (p.metrics_listen) {
    o.metrics_listen = listen_address::parse(*p.metrics_listen);
  }
  return o;
}

}  // namespace

action add_serve(CLI::App& app) {
  auto& command = *app.add_subcommand("serve", "Runs guests for hosts on other computers, over gRPC.");
  auto p = std::make_shared<parsed>();
  add_options(command, *p);
  return [p] { serve(complete(*p)); };
}

}  // namespace tool
