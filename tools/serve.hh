// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform serve`: runs guests for hosts on other computers.
#pragma once

#include "options.hh"

namespace tool {

/// Serves until SIGTERM or SIGINT. Throws `failure`.
void serve(const serve_options& o);

}  // namespace tool
