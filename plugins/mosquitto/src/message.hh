// SPDX-License-Identifier: Apache-2.0
//
// Messages: as the broker lends them, as the plugin keeps and publishes them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <mosquitto.h>
#include <mosquitto_broker.h>

namespace mosquitto_wasm {

/// A user property of MQTT 5.
struct user_property {
  std::string name;
  std::string value;
  [[nodiscard]] bool operator==(const user_property&) const = default;
};

struct free_properties {
  void operator()(mosquitto_property* all) const noexcept { mosquitto_property_free_all(&all); }
};
using properties = std::unique_ptr<mosquitto_property, free_properties>;

/// A message that somebody else has.
struct message_view {
  std::string_view topic;
  std::string_view payload;
  const mosquitto_property* properties;
  int qos;
  bool retain;

  explicit message_view(const mosquitto_evt_message& event);
  explicit message_view(const struct message& kept);
};

/// A message of the plugin's own.
struct message {
  std::string topic;
  std::string payload;
  mosquitto_wasm::properties properties;
  int qos;
  bool retain;

  explicit message(const message_view& view);
  /// About how much memory it takes.
  [[nodiscard]] std::size_t size() const noexcept { return sizeof(message) + topic.size() + payload.size(); }
};

[[nodiscard]] std::vector<user_property> user_properties(const mosquitto_property* all);

/// Properties of a message that is made of another one: what the original has but for its user properties, then these.
/// That the payload is text is only said if it is.
[[nodiscard]] properties derived_properties(const mosquitto_property* original, std::span<const user_property> users,
                                            std::string_view payload);

/// Whether the original says that its payload is text and this payload is not.
[[nodiscard]] bool breaks_format(const mosquitto_property* original, std::string_view payload);

/// Whether MQTT can have it as the name or value of a property.
[[nodiscard]] bool fits_property(const std::string& text);

/// A text cut and cleaned so that it can be a property.
[[nodiscard]] std::string property_text(std::string_view text);

/// Adds a user property at the end. Throws std::bad_alloc.
void append(mosquitto_property** all, const user_property& property);

/// Has the broker publish a message in its next round. Throws std::bad_alloc.
void publish(const std::string& topic, std::string_view payload, int qos, bool retain, properties with);

/// Replaces the payload of a message that the broker is about to publish. Throws std::bad_alloc.
void set_payload(mosquitto_evt_message& event, std::string_view payload);

/// Takes a message from the broker: the publisher is told that it was accepted and no subscriber gets it.
void take(mosquitto_evt_message& event) noexcept;

}  // namespace mosquitto_wasm
