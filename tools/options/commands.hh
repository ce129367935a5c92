// SPDX-License-Identifier: Apache-2.0
//
// The subcommands, each with its options.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace tool {

/// Runs a command with what was on the command line. Throws `failure`.
using action = std::function<void()>;

/// Adds a subcommand. The result is called after the command line was parsed.
[[nodiscard]] action add_init(CLI::App& app);
[[nodiscard]] action add_build(CLI::App& app);
[[nodiscard]] action add_test(CLI::App& app);
[[nodiscard]] action add_run(CLI::App& app);
[[nodiscard]] action add_serve(CLI::App& app);
[[nodiscard]] action add_validate(CLI::App& app);
[[nodiscard]] action add_inspect(CLI::App& app);
[[nodiscard]] action add_precompile(CLI::App& app);
[[nodiscard]] action add_ctl(CLI::App& app);

}  // namespace tool
