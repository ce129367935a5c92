// SPDX-License-Identifier: Apache-2.0
#include "broker_limits.hh"

#include "broker_imports.hh"

#include "../encoding.hh"
#include "../report.hh"

#include <wasm_engine/wasm_engine.hh>

#include <fmt/format.h>

namespace tool {

namespace {

constexpr std::uint64_t ample = 256U << 20;

/// Why the module does not start with so much memory. Empty if it does.
std::string start_failure(const project& p, std::span<const std::uint8_t> module, std::uint64_t memory) {
  const auto first_line = [](const wasmengine::error& e) {
    const auto text = printable(e.what());
    return fmt::format("{}: {}", e.status_name(), text.substr(0, text.find('\n')));
  };
  wasm_runtime_config settings{};
  settings.memory_limit = memory;
  const auto runtime = wasmengine::runtime::create(settings, [](const wasmengine::log_line&) {}).value();
  wasmengine::transform_config config;
  config.name = p.name;
  config.input_topic = p.input_topic;
  config.output_topics = p.output_topics;
  config.env = p.environment;
  auto compilation = runtime.compile(module, config).value();
  if (const auto done = wasmengine::drive(compilation); !done) {
    return first_line(done.err());
  }
  auto engine = wasmengine::engine::create(compilation.take().value()).value();
  auto starting = engine.start().value();
  const auto done = wasmengine::drive(starting);
  return done ? "" : first_line(done.err());
}

void judge_start(const project& p, std::span<const std::uint8_t> module, const broker_limits& limits, broker_judgement& all) {
  const auto why = start_failure(p, module, limits.memory);
  if (why.empty()) {
    return;
  }
  if (const auto anyway = start_failure(p, module, ample); anyway.empty()) {
    all.warnings.push_back(fmt::format("it does not start with the {} of memory that the broker gives, unless the cluster's "
                                       "data_transforms_per_function_memory_limit is raised: {}",
                                       byte_count(limits.memory), why));
  } else if (uses_schema_registry(module)) {
    all.warnings.push_back("it does not start here, where there is no schema registry: " + anyway);
  } else if (anyway.starts_with("guest-timeout") || anyway.starts_with("system")) {
    // That may be this machine.
    all.warnings.push_back("it did not start here: " + anyway);
  } else {
    all.errors.push_back("it does not start: " + anyway);
  }
}

}  // namespace

broker_judgement judge_for_broker(const project& p, std::span<const std::uint8_t> module, const broker_limits& limits) {
  broker_judgement all;
  if (module.size() > limits.module_size) {
    all.warnings.push_back(fmt::format("the module has {} and the broker takes {}: remove debug information, or raise the cluster's "
                              "data_transforms_binary_max_size",
                              byte_count(module.size()), byte_count(limits.module_size)));
  }
  if (p.output_topics.empty() || p.output_topics.size() > limits.output_topics) {
    all.warnings.push_back(
        fmt::format("it has {} output topics and the broker takes 1 to {}", p.output_topics.size(), limits.output_topics));
  }
  if (p.environment.size() > limits.variables) {
    all.warnings.push_back(fmt::format("it has {} variables and the broker takes {}", p.environment.size(), limits.variables));
  }
  for (const auto& [key, value] : p.environment) {
    if (key.starts_with("REDPANDA_")) {
      all.warnings.push_back(fmt::format("the variable {} begins with REDPANDA_, which is the broker's own", key));
    }
  }
  for (const auto& name : unknown_imports(module)) {
    all.errors.push_back(fmt::format("it imports {}, which the broker does not have", name));
  }
  judge_start(p, module, limits, all);
  return all;
}

}  // namespace tool
