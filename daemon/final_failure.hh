// SPDX-License-Identifier: Apache-2.0
//
// Failures that trying again at once would not mend.
#pragma once

#include <stdexcept>

namespace transformd {

/// The transform is wrong and not the cluster: its workers end.
class final_failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// More records were lost than the transform's file allows.
class too_many_lost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace transformd
