// SPDX-License-Identifier: Apache-2.0
#include "broker_imports.hh"

#include <wasm_engine/wasm_engine.hh>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string_view>

namespace tool {

namespace {

using nlohmann::json;

constexpr std::string_view registry = "redpanda_schema_registry";

struct host_module {
  std::string_view name;
  std::span<const std::string_view> functions;
};

// Those of Redpanda 24 to 26, by src/v/wasm/wasmtime.cc in its repository.
constexpr std::array<std::string_view, 6> transform_functions = {
    "check_abi_version_1", "check_abi_version_2", "read_batch_header", "read_next_record", "write_record", "write_record_with_options"};
constexpr std::array<std::string_view, 6> registry_functions = {
    "check_abi_version_0", "get_schema_definition",  "get_schema_definition_len",
    "get_subject_schema",  "get_subject_schema_len", "create_subject_schema"};
constexpr std::array<std::string_view, 44> wasi_functions = {
    "args_get",           "args_sizes_get",          "clock_res_get",         "clock_time_get",   "environ_get",
    "environ_sizes_get",  "fd_advise",               "fd_allocate",           "fd_close",         "fd_datasync",
    "fd_fdstat_get",      "fd_fdstat_set_flags",     "fd_filestat_get",       "fd_filestat_set_size", "fd_filestat_set_times",
    "fd_pread",           "fd_prestat_dir_name",     "fd_prestat_get",        "fd_pwrite",        "fd_read",
    "fd_readdir",         "fd_renumber",             "fd_seek",               "fd_sync",          "fd_tell",
    "fd_write",           "path_create_directory",   "path_filestat_get",     "path_filestat_set_times", "path_link",
    "path_open",          "path_readlink",           "path_remove_directory", "path_rename",      "path_symlink",
    "path_unlink_file",   "poll_oneoff",             "proc_exit",             "random_get",       "sched_yield",
    "sock_accept",        "sock_recv",               "sock_send",             "sock_shutdown"};

const std::array<host_module, 3> host_modules = {host_module{"redpanda_transform", transform_functions},
                                                 host_module{registry, registry_functions},
                                                 host_module{"wasi_snapshot_preview1", wasi_functions}};

bool has(const std::string& module, const std::string& function) {
  return std::any_of(host_modules.begin(), host_modules.end(), [&](const host_module& m) {
    return m.name == module && std::find(m.functions.begin(), m.functions.end(), function) != m.functions.end();
  });
}

json imports_of(std::span<const std::uint8_t> module) {
  const auto runtime = wasmengine::runtime::create().value();
  return json::parse(runtime.inspect(module).value()).at("imports");
}

}  // namespace

std::vector<std::string> unknown_imports(std::span<const std::uint8_t> module) {
  std::vector<std::string> unknown;
  for (const auto& import : imports_of(module)) {
    const auto from = import.at("module").get<std::string>();
    const auto name = import.at("name").get<std::string>();
    if (import.at("kind") != "function" || !has(from, name)) {
      unknown.push_back(fmt::format("{}.{}", from, name));
    }
  }
  return unknown;
}

bool uses_schema_registry(std::span<const std::uint8_t> module) {
  const auto imports = imports_of(module);
  return std::any_of(imports.begin(), imports.end(), [](const json& import) { return import.at("module") == registry; });
}

}  // namespace tool
