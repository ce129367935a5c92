// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hh"

namespace tool {

/// Runs records through a guest. Throws `failure`.
void run(const run_options& o);

}  // namespace tool
