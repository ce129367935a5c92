// SPDX-License-Identifier: Apache-2.0
//
// The options of `run` that are about formats.
#pragma once

#include "../options.hh"

namespace CLI {
class App;
}

namespace tool {

/// For the help of `run`.
extern const char* const about_formats;

void add_formats(CLI::App& command, run_options& o);

/// Which of them go together. Throws `failure`.
void check_formats(run_options& o);

}  // namespace tool
