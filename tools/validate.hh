// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hh"

namespace tool {

/// Throws `failure` if the module is refused.
void validate(const validate_options& o);

}  // namespace tool
