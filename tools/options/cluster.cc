// SPDX-License-Identifier: Apache-2.0
//
// Options of the commands about a Redpanda cluster.
#include "commands.hh"
#include "values.hh"

#include "../cluster/cluster.hh"
#include "../file.hh"

#include <fmt/format.h>

#include <cstdlib>
#include <memory>

namespace tool {

namespace {

constexpr const char* about_cluster =
    "A password is never an option: --password-file, or $WASM_TRANSFORM_PASSWORD.\n"
    "\n";

constexpr const char* about_deploy =
    "The module is checked as a host checks it, imports that the broker does not have included, and started. It ends with exit\n"
    "code 3 and sends nothing if the module would not run on any broker. What goes beyond the usual limits of a broker is a\n"
    "warning: a cluster may have others.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform build && wasm-transform deploy\n"
    "  wasm-transform deploy --admin https://broker:9644 --user admin --password-file password --ca ca.pem\n"
    "  wasm-transform deploy --guest rekey.wasm --input-topic orders --output-topic by-customer --from earliest\n"
    "  wasm-transform deploy --dry-run --json\n"
    "\n";

constexpr const char* about_list =
    "Examples:\n"
    "  wasm-transform list\n"
    "  wasm-transform list --json | jq -r '.[].name'\n"
    "\n";

constexpr const char* about_logs =
    "Logs are in the topic _redpanda.transform_logs, which the cluster's HTTP Proxy reads.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform logs rekey --tail 20\n"
    "  wasm-transform logs rekey --follow --proxy http://broker:8082\n"
    "\n";

struct secret {
  std::string file;
};

/// `what` is --admin or --proxy.
std::shared_ptr<secret> add_cluster(CLI::App& command, cluster_options& o, const char* what, const char* address) {
  auto password = std::make_shared<secret>();
  o.address.base = address;
  command.add_option(what, o.address.base, fmt::format("Where it is (default: {})", address))
      ->check(CLI::Validator([](std::string& url) -> std::string {
        if (!url.starts_with("http://") && !url.starts_with("https://")) {
          return fmt::format("\"{}\" is no URL of http or https", url);
        }
        // A message would show it, and so would the list of processes.
        return url.substr(0, url.find('/', url.find("//") + 2)).find('@') == url.npos
                   ? ""
                   : "the URL has a user: that is for --user, and the password for --password-file";
      }, "URL"))
      ->option_text("URL");
  auto* user = command.add_option("--user", o.address.user, "Who asks, by basic authentication");
  user->option_text("NAME");
  command.add_option("--password-file", password->file, "The password is the file's one line")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(user);
  command.add_option("--ca", o.address.ca, "Trusts this authority, PEM (default: the system's)")
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
  return password;
}

void complete(cluster_options& o, const secret& password) {
  while (o.address.base.ends_with('/')) {
    o.address.base.pop_back();
  }
  if (!password.file.empty()) {
    o.address.password = read_token(password.file);
  } else if (const char* given = std::getenv("WASM_TRANSFORM_PASSWORD"); given != nullptr) {
    o.address.password = given;
  }
}

void add_quiet(CLI::App& command, cluster_options& o) {
  command.add_flag("--quiet,-q", o.quiet, "Says nothing unless something fails");
}

action add_named(CLI::App& app, const char* name, const char* description, void (*run)(const named_options&)) {
  auto& command = *app.add_subcommand(name, description);
  auto o = std::make_shared<named_options>();
  command.add_option("NAME", o->name, "The transform")->required()->option_text("NAME");
  const auto password = add_cluster(command, o->cluster, "--admin", "http://localhost:9644");
  add_quiet(command, o->cluster);
  command.footer(fmt::format("{}Examples:\n  wasm-transform {} rekey\n\n{}", about_cluster, name, exit_codes));
  return [o, password, run] {
    complete(o->cluster, *password);
    run(*o);
  };
}

}  // namespace

action add_deploy(CLI::App& app) {
  auto& command = *app.add_subcommand("deploy", "Gives a module to a Redpanda cluster.");
  auto o = std::make_shared<deploy_options>();
  auto env = std::make_shared<std::vector<std::string>>();
  command.add_option("--directory", o->directory, "The project (default: the current directory)")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  command.add_option("--guest", o->guest, "The module (default: the one that `build` made)")
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
  command.add_option("--name", o->name, "Its name (default: that of transform.json)")->option_text("NAME");
  command.add_option("--input-topic", o->input_topic, "Its input (default: that of transform.json)")
      ->check(topic_name())
      ->option_text("TOPIC");
  command.add_option("--output-topic", o->output_topics, "An output; repeat for more (default: those of transform.json)")
      ->check(topic_name())
      ->option_text("TOPIC")
      ->allow_extra_args(false);
  command.add_option("--env", *env, "A variable beside those of transform.json; repeat for more")
      ->check(assignment())
      ->option_text("NAME=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--from", o->from,
                  "Where it begins: latest, earliest, +N from the start, -N from the end, or @MILLISECONDS since 1970 (default: "
                  "latest)")
      ->option_text("WHERE");
  const auto password = add_cluster(command, o->cluster, "--admin", "http://localhost:9644");
  command.add_option("--broker-memory", o->limits.memory, "What the cluster gives a transform (default: 2MiB)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_option("--broker-module-size", o->limits.module_size, "How large a module the cluster takes (default: 10MiB)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_flag("--dry-run", o->dry_run, "Checks and sends nothing");
  command.add_flag("--json", o->cluster.json, "Writes what was deployed to standard output as JSON");
  add_quiet(command, o->cluster);
  command.footer(std::string(about_deploy) + about_cluster + exit_codes);
  return [o, env, password] {
    complete(o->cluster, *password);
    for (const auto& assigned : *env) {
      const auto equals = assigned.find('=');
      o->environment.emplace_back(assigned.substr(0, equals), assigned.substr(equals + 1));
    }
    deploy(*o);
  };
}

action add_list(CLI::App& app) {
  auto& command = *app.add_subcommand("list", "Lists the transforms of a Redpanda cluster.");
  auto o = std::make_shared<cluster_options>();
  const auto password = add_cluster(command, *o, "--admin", "http://localhost:9644");
  command.add_flag("--json", o->json, "As JSON");
  command.footer(std::string(about_list) + about_cluster + exit_codes);
  return [o, password] {
    complete(*o, *password);
    list(*o);
  };
}

action add_logs(CLI::App& app) {
  auto& command = *app.add_subcommand("logs", "Shows what a transform of a Redpanda cluster printed.");
  auto o = std::make_shared<logs_options>();
  command.add_option("NAME", o->name, "The transform")->required()->option_text("NAME");
  const auto password = add_cluster(command, o->cluster, "--proxy", "http://localhost:8082");
  auto* tail = command.add_option("--tail", o->tail, "The last N lines only");
  tail->check(CLI::Range(0, 1'000'000))->option_text("N");
  command.add_option("--offset", o->offset, "Where reading begins in each partition, if the first records are gone (default: 0)")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  command.add_flag("--follow,-f", o->follow, "Goes on with what comes, until it is interrupted");
  command.add_flag("--json", o->cluster.json, "A LogRecord of OpenTelemetry a line");
  command.footer(std::string(about_logs) + about_cluster + exit_codes);
  return [o, password] {
    complete(o->cluster, *password);
    logs(*o);
  };
}

action add_pause(CLI::App& app) { return add_named(app, "pause", "Pauses a transform of a Redpanda cluster.", pause); }
action add_resume(CLI::App& app) { return add_named(app, "resume", "Resumes a transform where it was paused.", resume); }
action add_delete(CLI::App& app) { return add_named(app, "delete", "Deletes a transform of a Redpanda cluster.", remove); }

}  // namespace tool
