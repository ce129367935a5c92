// SPDX-License-Identifier: Apache-2.0
//
// The files that a run writes: none of them may be another one.
#pragma once

#include "../options.hh"

namespace tool {

/// Throws `failure` if two of them are the same, by whatever names, or one is in the directory of the output files.
void check_files(const run_options& o);

}  // namespace tool
