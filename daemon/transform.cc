// SPDX-License-Identifier: Apache-2.0
#include "transform.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <exception>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>

namespace transformd {

namespace {

std::vector<std::uint8_t> read_module(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw config_error(fmt::format("cannot read the module {}", path.string()));
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string sha256(std::span<const std::uint8_t> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 failed");
  }
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += fmt::format("{:02x}", digest[i]);
  }
  return text;
}

}  // namespace

/// A worker, which lives on its loop.
struct transform::place {
  event_loop& loop;
  const std::size_t index;
  std::unique_ptr<worker> member = {};  ///< Made and destroyed on the loop. The pointer is guarded by the mutex.
  worker_status last = {};              ///< After it has gone.
};

transform::transform(transform_file file, const wasmengine::runtime& runtime, std::deque<event_loop>& loops,
                     asio::thread_pool& blocking, logger& log, std::string instance)
    : _file(std::move(file)),
      _runtime(runtime),
      _loops(loops),
      _log(log),
      _shared{_file, {}, blocking, log, std::move(instance), [this] { stop([] {}); }} {}

transform::~transform() = default;

void transform::start() {
  {
    const std::lock_guard lock(_mutex);
    ++_going;
  }
  asio::co_spawn(_loops.front().context(), compile_and_run(), asio::detached);
}

asio::awaitable<void> transform::compile_and_run() {
  try {
    const auto module = read_module(_file.module);
    const auto digest = sha256(module);
    {
      const std::lock_guard lock(_mutex);
      _sha256 = digest;
    }
    if (_file.module_sha256 && *_file.module_sha256 != digest) {
      throw config_error(fmt::format("the module {} has the SHA-256 {}; {} wants {}", _file.module.string(), digest,
                                     _file.path.string(), *_file.module_sha256));
    }
    auto compilation = _runtime.compile(module, {.name = _file.name,
                                                 .input_topic = _file.input_topic,
                                                 .output_topics = _file.output_topics,
                                                 .env = _file.env});
    _shared.factory = (co_await wasmengine::async_wait(std::move(compilation).value(),
                                                       _loops.front().context().get_executor(), asio::use_awaitable))
                          .value();
    const std::lock_guard lock(_mutex);
    if (!_stopping) {
      _state = "running";
      const auto count = _file.workers != 0 ? _file.workers : _loops.size();
      for (std::size_t i = 0; i < count; ++i) {
        auto& at = *_places.emplace_back(std::make_unique<place>(_loops[i % _loops.size()], i));
        ++_going;
        asio::co_spawn(at.loop.context(), run_worker(at), asio::detached);
      }
    }
  } catch (const std::exception& e) {
    fail(e.what());
  }
  leave();
}

asio::awaitable<void> transform::run_worker(place& at) {
  try {
    auto made = std::make_unique<worker>(_shared, at.loop.context(), at.index);
    worker* member = made.get();
    {
      const std::lock_guard lock(_mutex);
      at.member = std::move(made);
      if (_stopping) {
        member->stop();
      }
      member->pause(_paused);
    }
    co_await member->run();
    const std::lock_guard lock(_mutex);
    at.last = member->status();
    at.member.reset();
  } catch (const std::exception& e) {
    fail(e.what());
  }
  leave();
}

void transform::fail(const std::string& why) {
  _log.write(severity::error, _file.name, why);
  {
    const std::lock_guard lock(_mutex);
    _state = "failed";
    _error = why;
  }
  stop([] {});
}

/// A coroutine has ended.
void transform::leave() {
  std::vector<std::function<void()>> told;
  {
    const std::lock_guard lock(_mutex);
    if (--_going > 0 || !_stopping) {
      return;
    }
    if (_state != "failed") {
      _state = "stopped";
    }
    told.swap(_when_stopped);
  }
  for (const auto& done : told) {
    done();
  }
}

void transform::stop(std::function<void()> done) {
  {
    const std::lock_guard lock(_mutex);
    _stopping = true;
    for (const auto& at : _places) {
      asio::post(at->loop.context(), [this, &at = *at] {
        const std::lock_guard inner(_mutex);
        if (at.member) {
          at.member->stop();
        }
      });
    }
    if (_going > 0) {
      _when_stopped.push_back(std::move(done));
      return;
    }
  }
  done();
}

void transform::pause(bool paused) {
  const std::lock_guard lock(_mutex);
  _paused = paused;
  for (const auto& at : _places) {
    asio::post(at->loop.context(), [this, &at = *at] {
      const std::lock_guard inner(_mutex);
      if (at.member) {
        at.member->pause(_paused);
      }
    });
  }
}

transform_status transform::status() const {
  const std::lock_guard lock(_mutex);
  transform_status out{_file.name, _state, _error, _sha256, {}};
  for (const auto& at : _places) {
    out.workers.push_back(at->member ? at->member->status() : at->last);
    if (out.workers.back().state == worker_state::failed) {
      out.state = "failed";
      out.error = out.workers.back().error;
    }
  }
  if (out.state == "running" && _paused) {
    out.state = "paused";
  }
  return out;
}

}  // namespace transformd
