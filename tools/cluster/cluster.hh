// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform deploy`, `list`, `pause`, `resume`, `delete` and `logs`: transforms of a Redpanda cluster, by its
// admin API and, for logs, its HTTP Proxy.
#pragma once

#include "broker_limits.hh"
#include "http_client.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tool {

/// Of all of them.
struct cluster_options {
  http_address address;
  bool json = false;
  bool quiet = false;
};

struct deploy_options {
  cluster_options cluster;
  std::string directory = ".";  ///< The project.
  std::string guest;            ///< Empty: what was built of it.
  std::string name;             ///< Empty, as the following: what the project says.
  std::string input_topic;
  std::vector<std::string> output_topics;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string from;  ///< Where in the input it begins: `latest`, `earliest`, `+N`, `-N` or `@MILLISECONDS`. Empty: the broker's choice.
  broker_limits limits;
  bool dry_run = false;
};

struct named_options {
  cluster_options cluster;
  std::string name;
};

struct logs_options {
  cluster_options cluster;
  std::string name;
  std::optional<std::size_t> tail;  ///< The last lines only.
  std::int64_t offset = 0;          ///< Where reading begins, in each partition.
  bool follow = false;
};

/// Each throws `failure`.
void deploy(const deploy_options& o);
void list(const cluster_options& o);
void pause(const named_options& o);
void resume(const named_options& o);
void remove(const named_options& o);
void logs(const logs_options& o);

/// Throws `failure` with what the broker says unless the status is one of success.
void expect_success(const http_answer& answer, const std::string& what);

}  // namespace tool
