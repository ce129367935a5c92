// SPDX-License-Identifier: Apache-2.0
//
// What Mosquitto calls. All of it comes on the broker's one thread.
#include "log.hh"
#include "metrics.hh"
#include "settings.hh"
#include "transform.hh"
#include "wake.hh"

#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

namespace mosquitto_wasm {

namespace {

class plugin {
 public:
  /// Throws std::exception if it cannot do what it is configured to do.
  plugin(mosquitto_plugin_id_t* id, std::vector<option> options);
  ~plugin();
  plugin(const plugin&) = delete;
  plugin& operator=(const plugin&) = delete;

 private:
  static int on_message(int, void* event, void* self) noexcept;
  static int on_tick(int, void*, void* self) noexcept;
  static int on_reload(int, void*, void* self) noexcept;

  int receive(mosquitto_evt_message& event);
  void tick();
  void reload();
  void run_guests();
  void bury();
  void apply(const settings& wanted);
  [[nodiscard]] transform* find(const std::string& name) const;

  mosquitto_plugin_id_t* _id;
  std::vector<option> _options;
  guest_log _lines;
  std::vector<std::unique_ptr<transform>> _transforms;
  std::size_t _turn = 0;
  budget _round;
  metrics _metrics;
  waker _waker;
  bool _ticks = false;
};

plugin::plugin(mosquitto_plugin_id_t* id, std::vector<option> options) : _id(id), _options(std::move(options)) {
  if (wasm_library_version_number() < WASM_ENGINE_VERSION_NUMBER) {
    throw std::runtime_error(std::string("libwasm_engine is version ") + wasm_library_version() + " but " +
                             WASM_ENGINE_VERSION + " or later is needed");
  }
  auto wanted = read_settings(_options);
  for (auto& t : wanted.transforms) {
    t.read_module();
    auto made = std::make_unique<transform>(t.name, _lines);
    made->load(std::move(t));
    made->finish_first_load();
    _lines.flush();
    _transforms.push_back(std::move(made));
  }
  apply(wanted);
  if (wanted.wake) {
    _waker.start();
  }
  mosquitto_callback_register(_id, MOSQ_EVT_MESSAGE, on_message, nullptr, this);
  mosquitto_callback_register(_id, MOSQ_EVT_TICK, on_tick, nullptr, this);
  mosquitto_callback_register(_id, MOSQ_EVT_RELOAD, on_reload, nullptr, this);
  log(MOSQ_LOG_INFO, std::to_string(_transforms.size()) + " transforms run, libwasm_engine " + wasm_library_version());
}

plugin::~plugin() {
  mosquitto_callback_unregister(_id, MOSQ_EVT_MESSAGE, on_message, nullptr);
  mosquitto_callback_unregister(_id, MOSQ_EVT_TICK, on_tick, nullptr);
  mosquitto_callback_unregister(_id, MOSQ_EVT_RELOAD, on_reload, nullptr);
  for (const auto& t : _transforms) {
    if (t->queued_messages() != 0) {
      log(MOSQ_LOG_WARNING, "transform " + t->name() + ": " + std::to_string(t->queued_messages()) +
                                " messages waited when the broker ended and are lost");
    }
  }
}

void plugin::apply(const settings& wanted) {
  _round.set_limit(wanted.budget);
  _metrics.set_interval(wanted.metrics_interval);
}

transform* plugin::find(const std::string& name) const {
  const auto found = std::find_if(_transforms.begin(), _transforms.end(),
                                  [&](const auto& t) { return t->name() == name && !t->retired(); });
  return found == _transforms.end() ? nullptr : found->get();
}

int plugin::receive(mosquitto_evt_message& event) {
  for (const auto& t : _transforms) {
    if (t->accepts(event.topic)) {
      if (!_ticks) {
        log(MOSQ_LOG_ERR, "this broker calls no ticks, which 2.0.11 does not with per_listener_settings: messages for "
                          "transforms are denied");
        return MOSQ_ERR_ACL_DENIED;
      }
      const int result = t->receive(event, _round);
      _lines.flush();
      return result;
    }
  }
  return MOSQ_ERR_SUCCESS;
}

void plugin::tick() {
  _ticks = true;
  _waker.disarm();
  run_guests();
  _lines.flush();
  bury();
  const auto now = clock::now();
  if (_metrics.due(now)) {
    _metrics.begin(now);
    for (const auto& t : _transforms) {
      _metrics.add(*t);
    }
  }
  // The broker's next round begins with publishing what it was given in this one.
  _round.renew();
  bool work = false;
  for (const auto& t : _transforms) {
    t->flushed();
    work = work || t->has_work();
  }
  if (work) {
    _waker.arm();
  }
}

/// In turns of a time slice, with what the messages of this round have left, but one slice in any case.
void plugin::run_guests() {
  for (const auto& t : _transforms) {
    t->poll_compilation();
  }
  bool more = true;
  for (bool first = true; more && (first || _round.left());) {
    more = false;
    for (std::size_t i = 0; i < _transforms.size() && (first || _round.left()); ++i) {
      auto& t = *_transforms[_turn++ % _transforms.size()];
      if (t.has_work()) {
        t.run(_round);
        more = true;
        first = false;
      }
    }
    if (first) {
      return;
    }
  }
}

/// Removes transforms that are no longer configured, after their last message, and those that could not be loaded.
void plugin::bury() {
  const auto gone = [&](const auto& t) {
    if (t->alive() && !(t->retired() && t->queued_messages() == 0 && !t->loading())) {
      return false;
    }
    if (find(t->name()) == nullptr || find(t->name()) == t.get()) {
      _metrics.remove(t->name());
    }
    return true;
  };
  _transforms.erase(std::remove_if(_transforms.begin(), _transforms.end(), gone), _transforms.end());
}

/// A configuration that is not as it should be changes nothing. A transform whose module is not as it should be stays
/// as it was.
void plugin::reload() {
  auto wanted = read_settings(_options);
  apply(wanted);
  std::vector<std::unique_ptr<transform>> in_order;
  const auto move_over = [&](const transform* t) {
    const auto same = [&](const auto& other) { return other.get() == t; };
    const auto at = std::find_if(_transforms.begin(), _transforms.end(), same);
    in_order.push_back(std::move(*at));
    _transforms.erase(at);
  };
  for (auto& t : wanted.transforms) {
    const auto name = t.name;
    try {
      auto* existing = find(name);
      if (existing == nullptr) {
        _transforms.push_back(std::make_unique<transform>(name, _lines));
        existing = _transforms.back().get();
      }
      move_over(existing);
      t.read_module();
      if (!existing->has(t)) {
        existing->load(std::move(t));
      }
    } catch (const std::exception& e) {
      log(MOSQ_LOG_ERR, "transform " + name + " is not reloaded: " + e.what());
    }
  }
  for (auto& t : _transforms) {
    t->retire();
    in_order.push_back(std::move(t));
  }
  _transforms = std::move(in_order);
}

int plugin::on_message(int, void* event, void* self) noexcept {
  try {
    return static_cast<plugin*>(self)->receive(*static_cast<mosquitto_evt_message*>(event));
  } catch (const std::exception& e) {
    log(MOSQ_LOG_ERR, std::string("a message is denied: ") + e.what());
    return MOSQ_ERR_ACL_DENIED;
  }
}

int plugin::on_tick(int, void*, void* self) noexcept {
  try {
    static_cast<plugin*>(self)->tick();
  } catch (const std::exception& e) {
    log(MOSQ_LOG_ERR, e.what());
  }
  return MOSQ_ERR_SUCCESS;
}

int plugin::on_reload(int, void*, void* self) noexcept {
  try {
    static_cast<plugin*>(self)->reload();
  } catch (const std::exception& e) {
    log(MOSQ_LOG_ERR, std::string("the configuration is not reloaded: ") + e.what());
  }
  // Other plugins are asked, too.
  return MOSQ_ERR_PLUGIN_DEFER;
}

}  // namespace

}  // namespace mosquitto_wasm

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int mosquitto_plugin_version(int count, const int* versions) {
  return std::find(versions, versions + count, 5) != versions + count ? 5 : -1;
}

EXPORTED int mosquitto_plugin_init(mosquitto_plugin_id_t* id, void** data, mosquitto_opt* options, int count) {
  try {
    std::vector<mosquitto_wasm::option> copied;
    for (int i = 0; i < count; ++i) {
      copied.emplace_back(options[i].key, options[i].value);
    }
    *data = new mosquitto_wasm::plugin(id, std::move(copied));
    return MOSQ_ERR_SUCCESS;
  } catch (const std::exception& e) {
    mosquitto_wasm::log(MOSQ_LOG_ERR, std::string("error: ") + e.what());
    return MOSQ_ERR_INVAL;
  }
}

EXPORTED int mosquitto_plugin_cleanup(void* data, mosquitto_opt*, int) {
  delete static_cast<mosquitto_wasm::plugin*>(data);
  return MOSQ_ERR_SUCCESS;
}
