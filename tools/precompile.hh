// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hh"

namespace tool {

/// Writes a compiled module. Throws `failure`.
void precompile(const precompile_options& o);

}  // namespace tool
