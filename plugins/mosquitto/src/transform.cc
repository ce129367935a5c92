// SPDX-License-Identifier: Apache-2.0
#include "transform.hh"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace mosquitto_wasm {

namespace {

constexpr clock::duration first_wait = std::chrono::seconds(1);
constexpr clock::duration longest_wait = std::chrono::seconds(30);

std::int64_t now_in_milliseconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/// Adds the time that passes to a budget and a counter.
class stopwatch {
 public:
  stopwatch(budget& round, std::uint64_t& total) : _round(round), _total(total), _begin(clock::now()) {}
  ~stopwatch() {
    const auto time = clock::now() - _begin;
    _round.spend(time);
    _total += static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count());
  }
  stopwatch(const stopwatch&) = delete;
  stopwatch& operator=(const stopwatch&) = delete;

 private:
  budget& _round;
  std::uint64_t& _total;
  clock::time_point _begin;
};

}  // namespace

void transform::collected::operator()(we::output_block block) {
  for (const auto& record : block) {
    if (pieces.size() == most_pieces || record.payload_size > most_bytes - bytes.size()) {
      throw std::runtime_error("its output for one message exceeds output_limit or output_messages");
    }
    bytes.insert(bytes.end(), record.payload, record.payload + record.payload_size);
    pieces.push_back({record.topic, record.payload_size});
  }
}

void transform::collected::clear() noexcept {
  bytes.clear();
  pieces.clear();
}

std::uint64_t transform::memory() const noexcept {
  const auto size = _engine.memory_size();
  return size ? *size : 0;
}

bool transform::has(const transform_settings& wanted) const noexcept {
  return _next ? _next->wanted == wanted : _engine && _settings == wanted;
}

// --- Versions -------------------------------------------------------------------------------------------------------

void transform::load(transform_settings wanted) {
  version next;
  wasm_runtime_config config{};
  config.memory_limit = wanted.memory_limit;
  config.record_time_limit_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(wanted.record_time).count());
  config.output_buffer_limit = wanted.output_limit;
  next.runtime = we::runtime::create(config, [&lines = _lines](const we::log_line& line) { lines.add(line); }).value();
  we::transform_config description{wanted.name, wanted.filters.front(), {}, wanted.env};
  for (const auto& output : wanted.outputs) {
    description.output_topics.push_back(output.name);
  }
  next.compiling = next.runtime.compile(wanted.module, description).value();
  next.wanted = std::move(wanted);
  // A version that is on its way still is dropped.
  _next = std::move(next);
}

void transform::finish_first_load() {
  try {
    while (_next) {
      if (!_next->factory) {
        compiled();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      } else {
        take_over_if_started();
      }
    }
  } catch (...) {
    _next.reset();
    _engine = {};
    throw;
  }
}

void transform::poll_compilation() {
  if (_next && !_next->factory) {
    try {
      compiled();
    } catch (const std::exception& e) {
      give_up_load(e.what());
    }
  }
}

/// Begins to start the version if it is compiled.
void transform::compiled() {
  auto& next = *_next;
  if (next.compiling.poll().value() != WASM_POLL_READY) {
    return;
  }
  next.factory = next.compiling.take().value();
  we::prepare_thread(next.runtime).value();
  if (_engine) {
    next.starting = _engine.replace(next.factory).value();
  } else {
    _engine = we::engine::create(next.factory).value();
    next.starting = _engine.start().value();
  }
}

void transform::take_over_if_started() {
  if (_next->starting.poll().value() != WASM_POLL_READY) {
    return;
  }
  _settings = std::move(_next->wanted);
  _factory = std::move(_next->factory);
  _runtime = std::move(_next->runtime);
  _next.reset();
  _output.most_bytes = _settings.output_limit;
  _output.most_pieces = _settings.output_messages;
  // An engine that had failed was started by the switch.
  _operation = {};
  _state = state::idle;
  _wait = {};
  ++_count.loads;
}

void transform::give_up_load(const std::string& why) {
  const bool first = _count.loads == 0;
  _next.reset();
  if (first) {
    _engine = {};
  }
  const auto* what = first ? " is not loaded: " : " is not reloaded, the old version stays: ";
  log(MOSQ_LOG_ERR, "transform " + _name + what + why);
}

// --- The guest ------------------------------------------------------------------------------------------------------

void transform::start() {
  _state = state::starting;
  ++_count.restarts;
  auto starting = _engine.start();
  if (starting) {
    _operation = std::move(*starting);
  } else {
    started(starting.err());
  }
}

void transform::started(const we::result<wasm_poll>& polled) {
  if (polled && *polled != WASM_POLL_READY) {
    return;
  }
  _operation = {};
  if (polled) {
    _state = state::idle;
    return;
  }
  _state = state::off;
  if (!_next) {
    // Nothing of what may have gone wrong stays. A version on its way needs the engine that it is to replace.
    _engine = we::engine::create(_factory).value();
  }
  _wait = std::clamp(2 * _wait, first_wait, longest_wait);
  _retry = clock::now() + _wait;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(_wait).count();
  log(MOSQ_LOG_ERR, "transform " + _name + " does not start, next try in " + std::to_string(seconds) +
                        " s: " + polled.err().what());
}

/// Brings the engine back after a transform that failed.
void transform::after_failure() {
  _operation = {};
  const auto state = _engine.state();
  if (state && *state == WASM_ENGINE_STATE_IDLE) {
    _state = state::idle;  // only the batch was refused
    return;
  }
  start();
}

/// Gives the guest a message. The future is empty if the guest has finished it.
we::result<we::future> transform::begin(const message_view& m) {
  try {
    we::payload record{std::nullopt, m.payload, {}};
    const auto users = user_properties(m.properties);
    for (const auto& [name, value] : users) {
      record.headers.push_back({name, value});
    }
    if (_settings.key == key_source::topic) {
      record.key = m.topic;
    } else if (_settings.key == key_source::property) {
      const auto named = [&](const auto& user) { return user.name == _settings.key_property; };
      const auto found = std::find_if(users.begin(), users.end(), named);
      if (found != users.end()) {
        record.key = found->value;
      }
    }
    _output.clear();
    we::batch_config config;
    config.base_offset = _offset++;
    _builder.reset(config).value();
    _builder.add(now_in_milliseconds(), record).value();
    return _engine.transform_and_poll(_builder.finish().value(), _output);
  } catch (const we::error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return we::error(WASM_STATUS_OUT_OF_MEMORY);
  }
}

/// Gives the guest a message or lets it go on with that message. True if the guest has finished it.
we::result<bool> transform::step(const message_view& m, budget& round) {
  const stopwatch time(round, _count.guest_ns);
  if (_state == state::idle) {
    auto begun = begin(m);
    if (!begun) {
      return begun.err();
    }
    _operation = std::move(*begun);
  } else {
    const auto polled = _operation.poll();
    if (!polled) {
      return polled.err();
    }
    if (*polled == WASM_POLL_READY) {
      _operation = {};
    }
  }
  _state = _operation ? state::transforming : state::idle;
  return _state == state::idle;
}

// --- Messages -------------------------------------------------------------------------------------------------------

bool transform::accepts(const char* topic) const {
  return !_retired && _count.loads != 0 &&
         std::any_of(_settings.filters.begin(), _settings.filters.end(),
                     [&](const auto& filter) { return matches(filter, topic); });
}

int transform::receive(mosquitto_evt_message& event, budget& round) {
  ++_count.received;
  const message_view m(event);
  const bool first = _queue.empty();
  if (first && _state == state::off) {
    return fail(m, &event, "not-running", "the guest does not start", round);
  }
  // A version that is about to take over does so between two messages, in `run`.
  const bool at_once = first && _state == state::idle && !(_next && _next->starting) && round.left();
  if (!at_once) {
    if (full(m)) {
      ++_count.overflowed;
      return apply(_settings.on_full, m, &event, "queue-full", "too many messages wait", round);
    }
    return defer(event);
  }
  do {
    const auto finished = step(m, round);
    if (!finished) {
      after_failure();
      return fail(m, &event, finished.err().status_name(), finished.err().what(), round);
    }
    if (*finished) {
      return succeed(m, &event, round);
    }
  } while (round.left());
  return defer(event);
}

bool transform::full(const message_view& m) const noexcept {
  return _queue.size() >= _settings.queue_messages ||
         _queued_bytes + m.topic.size() + m.payload.size() + sizeof(message) > _settings.queue_bytes;
}

int transform::defer(mosquitto_evt_message& event) {
  _queue.emplace_back(message_view(event));
  _queued_bytes += _queue.back().size();
  ++_count.deferred;
  take(event);
  return MOSQ_ERR_SUCCESS;
}

message transform::pop() noexcept {
  _queued_bytes -= _queue.front().size();
  message first = std::move(_queue.front());
  _queue.pop_front();
  return first;
}

bool transform::has_work() const noexcept {
  if (_next && _next->starting) {
    return true;
  }
  switch (_state) {
    case state::starting:
    case state::transforming: return true;
    case state::idle: return !_queue.empty();
    case state::off: return _count.loads != 0 && (!_queue.empty() || clock::now() >= _retry);
  }
  return false;
}

void transform::run(budget& round) {
  if (_next && _next->starting && _state != state::transforming) {
    const stopwatch time(round, _count.guest_ns);
    try {
      take_over_if_started();
    } catch (const std::exception& e) {
      give_up_load(e.what());
    }
  }
  if (_count.loads == 0) {
    return;
  }
  if (_state == state::starting) {
    const stopwatch time(round, _count.guest_ns);
    started(_operation.poll());
  } else if (_state == state::off && _queue.empty()) {
    if (clock::now() >= _retry) {
      start();
    }
  } else if (_state == state::off) {
    const auto first = pop();
    fail(message_view(first), nullptr, "not-running", "the guest does not start", round);
  } else if (!_queue.empty()) {
    run_front(round);
  }
}

void transform::run_front(budget& round) {
  const auto finished = step(message_view(_queue.front()), round);
  if (finished && !*finished) {
    return;
  }
  // What follows may throw for want of memory. The message is not transformed again for that.
  const auto first = pop();
  if (finished) {
    succeed(message_view(first), nullptr, round);
  } else {
    after_failure();
    fail(message_view(first), nullptr, finished.err().status_name(), finished.err().what(), round);
  }
}

// --- What becomes of messages ---------------------------------------------------------------------------------------

std::vector<transform::output> transform::outputs(const message_view& m) const {
  std::vector<output> all;
  std::span<const std::uint8_t> rest = _output.bytes;
  for (const auto& piece : _output.pieces) {
    const auto record = we::payload::read(rest.first(piece.size)).value();
    rest = rest.subspan(piece.size);
    output made{_settings.outputs.at(piece.topic).topic.expand(m.topic), std::string(record.value.value_or("")), {}};
    if (made.topic.empty()) {
      throw std::runtime_error("output " + _settings.outputs[piece.topic].name + " gives no topic for the input topic");
    }
    for (const auto& header : record.headers) {
      made.users.push_back({std::string(header.key), std::string(header.value.value_or(""))});
    }
    if (_settings.key == key_source::property && record.key) {
      const auto named = [&](const auto& user) { return user.name == _settings.key_property; };
      const auto found = std::find_if(made.users.begin(), made.users.end(), named);
      auto& user = found != made.users.end() ? *found : made.users.emplace_back();
      user = {_settings.key_property, std::string(*record.key)};
    }
    for (const auto& user : made.users) {
      if (!fits_property(user.name) || !fits_property(user.value)) {
        throw std::runtime_error("a header of its output is no user property: UTF-8 without control characters");
      }
    }
    all.push_back(std::move(made));
  }
  return all;
}

int transform::succeed(const message_view& m, origin from, budget& round) {
  std::vector<output> all;
  try {
    all = outputs(m);
  } catch (const std::exception& e) {
    return fail(m, from, "bad-output", e.what(), round);
  }
  ++_count.transformed;
  _count.published += all.size();
  std::span<const output> rest = all;
  bool in_place = false;
  if (from != nullptr && !all.empty() && publish_in_place(all.front(), m, from)) {
    in_place = true;
    rest = rest.subspan(1);
  }
  for (const auto& made : rest) {
    hand_over(made.topic, made.payload, m, made.users, round);
  }
  if (from != nullptr && !in_place) {
    take(*from);
  }
  return MOSQ_ERR_SUCCESS;
}

/// Changes the message of the broker's callback into the output if it can be: if that does not overtake anything and
/// needs nothing but another payload and more properties. Versions of the broker differ in who frees what is replaced.
bool transform::publish_in_place(const output& first, const message_view& m, origin from) {
  if (_unflushed || first.topic != m.topic || breaks_format(m.properties, first.payload)) {
    return false;
  }
  const auto had = user_properties(m.properties);
  if (first.users.size() < had.size() || !std::equal(had.begin(), had.end(), first.users.begin())) {
    return false;
  }
  if (first.payload != m.payload) {
    set_payload(*from, first.payload);
  }
  for (auto more = first.users.begin() + static_cast<std::ptrdiff_t>(had.size()); more != first.users.end(); ++more) {
    append(&from->properties, *more);
  }
  from->retain = from->retain && _settings.retain;
  return true;
}

void transform::hand_over(const std::string& topic, std::string_view payload, const message_view& m,
                          std::span<const user_property> users, budget& round) {
  publish(topic, payload, m.qos, m.retain && _settings.retain, derived_properties(m.properties, users, payload));
  round.publish();
  _unflushed = true;
}

int transform::fail(const message_view& m, origin from, const std::string& status, const std::string& why,
                    budget& round) {
  ++_count.failed;
  const auto text = "transform " + _name + ": a message of topic " + std::string(m.topic) + " failed: " + why;
  _failures.write(MOSQ_LOG_ERR, text, clock::now());
  return apply(_settings.on_error, m, from, status, why, round);
}

int transform::apply(action what, const message_view& m, origin from, const std::string& status,
                     const std::string& why, budget& round) {
  const auto dead_letter = what == action::dead_letter ? _settings.dead_letter.expand(m.topic) : std::string();
  if (what == action::deny && from != nullptr) {
    ++_count.denied;
    return MOSQ_ERR_ACL_DENIED;
  }
  if (what == action::pass) {
    ++_count.passed;
    if (from != nullptr && !_unflushed) {
      return MOSQ_ERR_SUCCESS;
    }
    publish(std::string(m.topic), m.payload, m.qos, m.retain,
            derived_properties(m.properties, user_properties(m.properties), m.payload));
    round.publish();
    _unflushed = true;
  } else if (!dead_letter.empty()) {
    ++_count.dead_lettered;
    auto users = user_properties(m.properties);
    users.push_back({"wasm-transform", _name});
    users.push_back({"wasm-topic", std::string(m.topic)});
    users.push_back({"wasm-error", status});
    users.push_back({"wasm-error-message", property_text(why)});
    hand_over(dead_letter, m.payload, m, users, round);
  } else {
    ++_count.dropped;
  }
  if (from != nullptr) {
    take(*from);
  }
  return MOSQ_ERR_SUCCESS;
}

}  // namespace mosquitto_wasm
