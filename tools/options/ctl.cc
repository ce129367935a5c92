// SPDX-License-Identifier: Apache-2.0
#include "commands.hh"
#include "values.hh"

#include "../control/ctl.hh"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace tool {

namespace {

constexpr const char* about_ctl =
    "Actions:\n"
    "  list                 All transforms with state, counters and lag.\n"
    "  status NAME          One of them, with partitions and errors.\n"
    "  logs NAME            Its last lines and those of its guests.\n"
    "  pause, resume NAME   Takes no more records, or takes them again.\n"
    "  stop, start NAME     Leaves the group, or joins it again: also after a failure.\n"
    "  seek NAME            Goes on at another place, which becomes the group's position.\n"
    "  deploy NAME MODULE   Runs another module. A module that is refused changes nothing: exit code 1.\n"
    "  rollback NAME        Runs the module before that again.\n"
    "They fall between two transactions. A daemon has a part of the partitions: name all daemons to reach all of them.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform ctl list\n"
    "  wasm-transform ctl logs orders --follow --since 10m\n"
    "  wasm-transform ctl seek orders --timestamp 2026-01-01T00:00:00Z\n"
    "  wasm-transform ctl deploy orders build/orders.wasm --daemon kafka-1:9103 --daemon kafka-2:9103\n"
    "\n";

const std::map<std::string, ctl_action> actions{
    {"list", ctl_action::list},     {"status", ctl_action::status}, {"logs", ctl_action::logs},
    {"start", ctl_action::start},   {"stop", ctl_action::stop},     {"pause", ctl_action::pause},
    {"resume", ctl_action::resume}, {"seek", ctl_action::seek},     {"deploy", ctl_action::deploy},
    {"rollback", ctl_action::rollback}};

struct parsed {
  ctl_options ctl;
  std::string action;
  std::optional<double> since_ns;
};

void check(const parsed& p) {
  const auto& o = p.ctl;
  if (o.transform.empty() != (o.action == ctl_action::list)) {
    wrong(o.action == ctl_action::list ? "ctl list takes no transform" : fmt::format("ctl {} wants the name of a transform", p.action));
  }
  if (o.module.empty() == (o.action == ctl_action::deploy)) {
    wrong(o.action == ctl_action::deploy ? "ctl deploy wants a module" : fmt::format("ctl {} takes no module", p.action));
  }
  const int places = (o.earliest ? 1 : 0) + (o.latest ? 1 : 0) + (o.offset ? 1 : 0) + (o.timestamp ? 1 : 0);
  if (places != (o.action == ctl_action::seek ? 1 : 0) || (o.partition && o.action != ctl_action::seek)) {
    wrong(o.action == ctl_action::seek ? "ctl seek wants one of --earliest, --latest, --offset and --timestamp"
                                       : "--earliest, --latest, --offset, --timestamp and --partition are for ctl seek");
  }
  if ((o.follow || o.since) && o.action != ctl_action::logs) {
    wrong("--follow and --since are for ctl logs");
  }
  if (o.follow && o.daemons.size() > 1) {
    wrong("--follow is for one daemon");
  }
}

}  // namespace

action add_ctl(CLI::App& app) {
  auto& command = *app.add_subcommand("ctl", "Looks at wasm-transformd and commands it.");
  auto p = std::make_shared<parsed>();
  auto& o = p->ctl;
  command.add_option("ACTION", p->action, "What to do: see below")->required()->check(CLI::IsMember(actions));
  command.add_option("NAME", o.transform, "The transform")->check(topic_name());
  command.add_option("MODULE", o.module, "The module, for deploy")->check(CLI::ExistingFile);
  command
      .add_option("--daemon,-d", o.daemons,
                  "HOST:PORT of --listen, or the path of --socket; repeat for more (default: $WASM_TRANSFORMD or 127.0.0.1:9103)")
      ->envname("WASM_TRANSFORMD")
      ->option_text("ADDRESS")
      ->allow_extra_args(false);
  command.add_flag("--json", o.json, "The daemon's answer as it is");
  command.add_flag("--follow,-f", o.follow, "logs: goes on until it is interrupted");
  command.add_option("--since", p->since_ns, "logs: only lines that are not older, such as 10m")
      ->transform(duration_value())
      ->option_text("TIME");
  command.add_flag("--earliest", o.earliest, "seek: to the first records that are still there");
  command.add_flag("--latest", o.latest, "seek: behind the last ones");
  command.add_option("--offset", o.offset, "seek: to this offset in each partition")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->option_text("N");
  command.add_option("--timestamp", o.timestamp, "seek: to the first record that is not older: 2026-01-01T00:00:00Z or milliseconds")
      ->option_text("TIME");
  command.add_option("--partition", o.partition, "seek: only in this partition")
      ->check(CLI::Range(0, std::numeric_limits<std::int32_t>::max()))
      ->option_text("N");
  command.footer(std::string(about_ctl) + exit_codes);
  return [p] {
    auto& c = p->ctl;
    c.action = actions.at(p->action);
    if (p->since_ns) {
      c.since = std::chrono::milliseconds(static_cast<std::int64_t>(*p->since_ns / 1e6));
    }
    if (c.daemons.empty()) {
      c.daemons = {"127.0.0.1:9103"};
    }
    check(*p);
    ctl(c);
  };
}

}  // namespace tool
