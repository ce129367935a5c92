// SPDX-License-Identifier: Apache-2.0
//
// How a session gets from what a host asks for to a compiled transform.
#include "protocol.hh"
#include "session.hh"

#include <algorithm>
#include <utility>

namespace wasmengine::remote {

namespace {

using cause = wire::Failure;

/// The lower one of what the host wants, unless that is 0, and what the server has.
std::uint64_t lower(std::uint64_t wanted, std::uint64_t own) { return wanted == 0 ? own : std::min(wanted, own); }

transform_config describe(const wire::Open& open, const wire::Limits& limits) {
  transform_config t{open.name(), open.input_topic(), {open.output_topics().begin(), open.output_topics().end()}, {}};
  for (const auto& v : open.env()) {
    t.env.emplace_back(v.name(), v.value());
  }
  t.limits.memory = limits.memory();
  t.limits.record_time = std::chrono::nanoseconds(limits.record_time_ns());
  t.limits.output_buffer = limits.output_buffer();
  return t;
}

/// What makes a compiled transform the same: module, description and limits.
std::string key_of(const std::string& hash, const wire::Open& open, const wire::Limits& limits) {
  wire::Open same;
  same.set_module_sha256(hash);
  same.set_name(open.name());
  same.set_input_topic(open.input_topic());
  *same.mutable_output_topics() = open.output_topics();
  *same.mutable_env() = open.env();
  *same.mutable_limits() = limits;
  return same.SerializeAsString();
}

}  // namespace

std::optional<std::string> session::examine(const wire::Open& open) {
  if (open.version() < oldest_version || open.oldest_version() > newest_version || open.oldest_version() > open.version()) {
    return "the host speaks versions " + std::to_string(open.oldest_version()) + " to " + std::to_string(open.version()) +
           " of the protocol and the server " + std::to_string(oldest_version) + " to " + std::to_string(newest_version);
  }
  if (open.ByteSizeLong() > max_open_size) {
    return "Open has more than " + std::to_string(max_open_size) + " bytes";
  }
  if (!open.module_sha256().empty() && open.module_sha256().size() != hash_size) {
    return "the module's SHA-256 does not have 32 bytes";
  }
  if (open.module_sha256().empty() && open.module_name().empty()) {
    return "no module is named";
  }
  return std::nullopt;
}

wire::Limits session::limits_of(const wire::Open& open) const {
  const auto& own = _core.config;
  const auto& wanted = open.limits();
  wire::Limits limits;
  limits.set_memory(lower(wanted.memory(), own.memory_limit));
  limits.set_record_time_ns(lower(wanted.record_time_ns(), own.record_time_limit_ns));
  limits.set_output_buffer(lower(wanted.output_buffer(), own.output_buffer_limit));
  limits.set_batch(own.max_batch);
  return limits;
}

task<module_bytes> session::upload(const wire::Open& open) {
  auto room = _core.store.reserve(open.module_size());
  if (!room) {
    fail(cause::CAUSE_SERVER, "there is no room for a module of " + std::to_string(open.module_size()) + " bytes");
    co_return nullptr;
  }
  auto ask = std::make_unique<wire::ToHost>();
  ask->mutable_need_module();
  send(std::move(ask));
  std::vector<std::uint8_t> bytes;
  while (bytes.size() < open.module_size()) {
    const auto piece = co_await next();
    if (!piece) {
      fail(cause::CAUSE_SERVER, "the upload ended early");
      co_return nullptr;
    }
    const auto& data = piece->chunk().data();
    if (!piece->has_chunk() || data.empty() || data.size() > max_chunk_size || data.size() > open.module_size() - bytes.size()) {
      violation("a piece of the module was expected");
      co_return nullptr;
    }
    _since = clock::now();
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  const auto& hash = open.module_sha256();
  if (sha256(bytes) != hash) {
    fail(cause::CAUSE_REFUSED, "the module that was uploaded has another SHA-256 than Open says");
    co_return nullptr;
  }
  ++_core.counted.uploads;
  _core.log(_peer + " uploaded a module of " + std::to_string(bytes.size()) + " bytes, SHA-256 " + hex(hash));
  co_return _core.store.add(hash, std::move(bytes), std::move(*room));
}

task<std::optional<session::deployed>> session::deploy(const wire::Open& open) {
  const auto limits = limits_of(open);
  auto hash = open.module_sha256();
  module_bytes module;
  if (hash.empty()) {
    const auto named = _core.store.by_name(open.module_name());
    if (!named) {
      fail(cause::CAUSE_REFUSED, "there is no module \"" + open.module_name() + "\" here");
      co_return std::nullopt;
    }
    hash = named->hash;
    module = named->bytes;
  }
  const auto key = key_of(hash, open, limits);
  auto compiling = _core.cache.get(key);
  if (!compiling) {
    if (!module) {
      module = _core.store.by_hash(hash);
    }
    if (!module && (!_core.config.uploads || open.module_size() == 0)) {
      const auto name = open.module_name().empty() ? "" : " \"" + open.module_name() + "\"";
      fail(cause::CAUSE_REFUSED, "there is no module" + name + " with SHA-256 " + hex(hash) + " here" +
                                     (_core.config.uploads ? "" : " and uploads are not allowed"));
      co_return std::nullopt;
    }
    if (!module) {
      module = co_await upload(open);
      if (!module) {
        co_return std::nullopt;
      }
    }
    if (!_core.has_room_for_module()) {
      fail(cause::CAUSE_SERVER, "the server has as many modules as it may have");
      co_return std::nullopt;
    }
    compiling = _core.cache.get(key, *module, describe(open, limits));
    if (!compiling) {
      fail(compiling.err());
      co_return std::nullopt;
    }
  }
  _phase = phase::working;
  if (const auto compiled = co_await on(_shard.events, *compiling); !compiled) {
    fail(compiled.err());
    co_return std::nullopt;
  }
  co_return deployed{compiling.value().take().value(), std::move(hash), limits};
}

}  // namespace wasmengine::remote
