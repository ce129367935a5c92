// SPDX-License-Identifier: Apache-2.0
//
// The command line.
#pragma once

#include "decompressor.hh"
#include "encoding.hh"
#include "error_limit.hh"
#include "metrics_server.hh"
#include "options/commands.hh"
#include "options/registry.hh"
#include "record.hh"
#include "rights.hh"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tool {

/// Of `run`.
struct run_options {
  std::string guest;
  std::string input = "-";
  std::string output = "-";
  std::string output_directory;
  wasm_on_error on_error = WASM_ON_ERROR_FAIL;
  std::string dead_letters;  ///< Where they go, with WASM_ON_ERROR_DEAD_LETTER.
  error_limit max_errors;
  std::string cache_directory;
  format shape = format::lines;
  std::optional<format> input_shape;   ///< Instead of `shape`.
  std::optional<format> output_shape;  ///< Likewise.
  encoding text = encoding::utf8;
  char delimiter = '\n';
  char separator = ',';              ///< csv
  std::vector<std::string> columns;  ///< csv: of the output. Empty: those of the input, or of the first record.
  input_codec codec = input_codec::automatic;
  bool uncommitted = false;  ///< batches: also records whose transactions were aborted or are open.
  bool partial_batch = false;  ///< batches: the input may end within one.
  std::string key_field;
  std::string headers_field;
  std::string output_key_field;
  std::string output_headers_field;
  bool origin = false;  ///< Output says whose it is.
  std::string places;   ///< File that says for each output record whose it is.
  std::optional<std::int64_t> default_timestamp;  ///< Of records that have none, in milliseconds since 1970. None: now.
  std::uint64_t seed = 0;  ///< Of what guests take for chance. 0: the system's.
  wasm_compression output_compression = WASM_COMPRESSION_NONE;
  std::string checkpoint;  ///< File.
  std::string name;
  std::optional<std::string> input_topic;
  std::vector<std::string> output_topics;
  std::vector<std::pair<std::string, std::string>> env;
  std::size_t batch_size = 1000;
  wasm_compression compression = WASM_COMPRESSION_NONE;
  std::uint64_t memory_limit = 64U << 20;
  std::uint64_t record_timeout_ns = 3'000'000'000;
  wasmengine::transform_limits limits;  ///< Of the transform, beside those of the runtime.
  rights allowed;
  registry_choice schema_registry;
  std::size_t threads = 1;
  std::optional<listen_address> metrics_listen;
  std::string coredump;  ///< File, or directory, for the core dump of a guest that fails.
  std::string profile;   ///< File.
  bool perf_map = false;
  bool debug_info = false;
  std::string compile_helper;  ///< Program.
  bool progress = false;  ///< Also where standard error is no terminal.
  bool json = false;   ///< The summary, and an error.
  bool quiet = false;  ///< No summary.
  std::string remote;       ///< Address of a server that runs the guest. Empty: here.
  std::string remote_ca;    ///< File.
  std::string remote_token; ///< File.

  [[nodiscard]] format input_format() const noexcept { return input_shape.value_or(shape); }
  [[nodiscard]] format output_format() const noexcept { return output_shape.value_or(shape); }
};

/// Of `serve`.
struct serve_options {
  std::vector<std::string> listen;
  std::string module_directory;
  bool uploads = false;
  std::string tls_certificate;  ///< Files.
  std::string tls_key;
  std::string tls_client_ca;
  std::string token_file;
  bool insecure = false;
  std::size_t threads = 0;
  std::size_t max_streams = 1'000;
  std::size_t max_modules = 1'000;
  std::uint64_t max_memory = 0;
  std::uint64_t upload_memory = 256U << 20;
  std::uint64_t max_batch = 16U << 20;
  std::uint64_t memory_limit = 64U << 20;
  std::uint64_t record_timeout_ns = 3'000'000'000;
  std::chrono::milliseconds grace{10'000};
  std::string compile_helper;  ///< Program.
  std::string cache_directory;
  std::optional<listen_address> metrics_listen;
};

struct validate_options {
  std::string guest;
  std::uint64_t memory_limit = 64U << 20;
  rights allowed;
};

struct inspect_options {
  std::string guest;
  bool json = false;
};

struct precompile_options {
  std::string guest;
  std::string output;
  std::string compile_helper;  ///< Program.
  std::uint64_t memory_limit = 64U << 20;
};

/// Of an output record.
inline constexpr std::uint64_t output_buffer_limit = 64U << 20;

/// How the names of compiled modules end. They are not recognized by content: they are machine code and must not be run
/// by accident.
inline constexpr const char* compiled_suffix = ".cwasm";

/// Reads the command line. Throws `failure`. The result runs its command. Empty if help was asked for. It has been
/// printed then.
[[nodiscard]] std::optional<action> parse_options(int argc, char** argv);

/// Shows what can be on the command line, for its manual.
void visit_options(const std::function<void(CLI::App&)>& visit);

}  // namespace tool
