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
[[nodiscard]] action add_diff(CLI::App& app);
[[nodiscard]] action add_bench(CLI::App& app);
[[nodiscard]] action add_replay(CLI::App& app);
[[nodiscard]] action add_deploy(CLI::App& app);
[[nodiscard]] action add_list(CLI::App& app);
[[nodiscard]] action add_logs(CLI::App& app);
[[nodiscard]] action add_pause(CLI::App& app);
[[nodiscard]] action add_resume(CLI::App& app);
[[nodiscard]] action add_delete(CLI::App& app);
[[nodiscard]] action add_serve(CLI::App& app);
[[nodiscard]] action add_validate(CLI::App& app);
[[nodiscard]] action add_inspect(CLI::App& app);
[[nodiscard]] action add_precompile(CLI::App& app);
[[nodiscard]] action add_ctl(CLI::App& app);

}  // namespace tool
