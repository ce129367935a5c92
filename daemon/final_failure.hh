// SPDX-License-Identifier: Apache-2.0
//
// A failure that trying again would not mend.
#pragma once

#include <stdexcept>

namespace transformd {

/// The transform is wrong and not the cluster: its workers end.
class final_failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace transformd
