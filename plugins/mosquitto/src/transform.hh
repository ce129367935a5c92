// SPDX-License-Identifier: Apache-2.0
//
// A transform: its guest, the messages that wait for it, and what becomes of them.
#pragma once

#include "budget.hh"
#include "log.hh"
#include "message.hh"
#include "settings.hh"

#include <deque>
#include <optional>
#include <string>

#include <wasm_engine/wasm_engine.hh>

namespace mosquitto_wasm {

namespace we = wasmengine;

/// What a transform has done since it was made. Each message that was received ends as exactly one of transformed,
/// dropped, passed, denied and dead_lettered, or is still queued.
struct counters {
  std::uint64_t received = 0;       ///< Messages that matched a filter.
  std::uint64_t deferred = 0;       ///< Of those: taken from the broker and finished later.
  std::uint64_t transformed = 0;    ///< The guest has finished them.
  std::uint64_t published = 0;      ///< Messages that the guest made of them.
  std::uint64_t failed = 0;         ///< The guest failed at them or was not running.
  std::uint64_t overflowed = 0;     ///< The queue was full.
  std::uint64_t dropped = 0;
  std::uint64_t passed = 0;
  std::uint64_t denied = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t restarts = 0;       ///< Of the guest.
  std::uint64_t loads = 0;          ///< Versions that have run.
  std::uint64_t guest_ns = 0;       ///< Time of the broker's thread.
};

class transform {
 public:
  /// Without a version at first. `lines` must outlive it.
  transform(std::string name, guest_log& lines)
      : _name(std::move(name)), _lines(lines), _builder(we::batch_builder::create().value()) {}

  [[nodiscard]] const std::string& name() const noexcept { return _name; }
  [[nodiscard]] const counters& count() const noexcept { return _count; }
  [[nodiscard]] std::size_t queued_messages() const noexcept { return _queue.size(); }
  [[nodiscard]] std::size_t queued_bytes() const noexcept { return _queued_bytes; }
  [[nodiscard]] std::uint64_t memory() const noexcept;

  /// Begins to compile a version, which takes over when its guest has started. Until then, or for good if it fails,
  /// the old version goes on. Throws std::exception if the version is refused at once.
  void load(transform_settings wanted);
  /// Waits until the first version runs. Throws std::exception if it does not.
  void finish_first_load();
  [[nodiscard]] bool loading() const noexcept { return _next.has_value(); }
  /// Whether a version runs or will.
  [[nodiscard]] bool alive() const noexcept { return _engine || _next; }
  /// Whether this is what runs or is being loaded.
  [[nodiscard]] bool has(const transform_settings& wanted) const noexcept;

  /// Takes no more messages.
  void retire() noexcept { _retired = true; }
  [[nodiscard]] bool retired() const noexcept { return _retired; }

  [[nodiscard]] bool accepts(const char* topic) const;
  /// A message that the broker is about to publish. Gives what the broker's callback returns.
  int receive(mosquitto_evt_message& event, budget& round);

  /// Looks whether a version is compiled. To be called now and then.
  void poll_compilation();
  /// Whether `run` would do something.
  [[nodiscard]] bool has_work() const noexcept;
  /// Lets the guest run for a time slice at most.
  void run(budget& round);
  /// All that was given to the broker so far is published before the next message is received.
  void flushed() noexcept { _unflushed = false; }

 private:
  enum class state { off, starting, idle, transforming };

  struct output {
    std::string topic;
    std::string payload;
    std::vector<user_property> users;
  };

  /// Output of the message that the guest works on, encoded, one behind the other.
  struct collected {
    struct piece {
      std::uint32_t topic;
      std::size_t size;
    };
    std::vector<std::uint8_t> bytes;
    std::vector<piece> pieces;
    std::size_t most_bytes = 0;
    std::size_t most_pieces = 0;

    void operator()(we::output_block block);
    void clear() noexcept;
  };

  /// A version on its way.
  struct version {
    transform_settings wanted;
    we::runtime runtime;
    we::compilation compiling;
    we::factory factory;
    we::future starting;
  };

  /// The message of the broker's callback or none: then it was taken earlier.
  using origin = mosquitto_evt_message*;

  void compiled();
  void take_over_if_started();
  void give_up_load(const std::string& why);
  void start();
  void started(const we::result<wasm_poll>& polled);
  void run_front(budget& round);
  [[nodiscard]] we::result<bool> step(const message_view& m, budget& round);
  [[nodiscard]] we::result<we::future> begin(const message_view& m);
  void after_failure();
  [[nodiscard]] message pop() noexcept;
  [[nodiscard]] bool full(const message_view& m) const noexcept;
  int defer(mosquitto_evt_message& event);

  int succeed(const message_view& m, origin from, budget& round);
  int fail(const message_view& m, origin from, const std::string& status, const std::string& why, budget& round);
  int apply(action what, const message_view& m, origin from, const std::string& status, const std::string& why,
            budget& round);
  [[nodiscard]] std::vector<output> outputs(const message_view& m) const;
  [[nodiscard]] bool publish_in_place(const output& first, const message_view& m, origin from);
  void hand_over(const std::string& topic, std::string_view payload, const message_view& m,
                 std::span<const user_property> users, budget& round);

  std::string _name;
  guest_log& _lines;
  counters _count;
  line_limit _failures;
  bool _retired = false;

  transform_settings _settings;
  we::runtime _runtime;
  we::factory _factory;
  we::engine _engine;
  std::optional<version> _next;

  // In this order: the operation must go before what it borrows, and the engine outlives both.
  collected _output;
  we::batch_builder _builder;
  we::future _operation;
  state _state = state::off;
  clock::time_point _retry{};
  clock::duration _wait{};
  std::int64_t _offset = 0;

  std::deque<message> _queue;
  std::size_t _queued_bytes = 0;
  bool _unflushed = false;
};

}  // namespace mosquitto_wasm
