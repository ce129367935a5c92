// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hh"

namespace tool {

/// Prints what is known about a module.
void inspect(const inspect_options& o);

}  // namespace tool
