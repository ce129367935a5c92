// SPDX-License-Identifier: Apache-2.0
#include "message.hh"

#include <cstdlib>
#include <cstring>
#include <new>

#include <mqtt_protocol.h>

namespace mosquitto_wasm {

namespace {

struct free_text {
  void operator()(char* text) const noexcept { std::free(text); }
};
using text = std::unique_ptr<char, free_text>;

void check(int status) {
  if (status == MOSQ_ERR_NOMEM) {
    throw std::bad_alloc();
  }
}

/// A copy in the broker's memory with a NUL behind it, as the broker's own have. NULL if there is nothing to copy.
void* broker_copy(std::string_view payload) {
  if (payload.empty()) {
    return nullptr;
  }
  auto* copy = static_cast<char*>(mosquitto_malloc(payload.size() + 1));
  if (copy == nullptr) {
    throw std::bad_alloc();
  }
  std::memcpy(copy, payload.data(), payload.size());
  copy[payload.size()] = 0;
  return copy;
}

bool is_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || more > text.size() - at - 1) {
      return false;
    }
    std::uint32_t code = more == 0 ? lead : lead & (0x3f >> more);
    for (std::size_t i = 1; i <= more; ++i) {
      const auto next = static_cast<unsigned char>(text[at + i]);
      if ((next & 0xc0) != 0x80) {
        return false;
      }
      code = code << 6 | (next & 0x3f);
    }
    static constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    at += more + 1;
  }
  return true;
}

/// Copies one property. User properties are left out, and what only a PUBLISH on its way has.
void copy(mosquitto_property** to, const mosquitto_property* from, std::string_view payload) {
  const int id = mosquitto_property_identifier(from);
  char* raw = nullptr;
  if (id == MQTT_PROP_CONTENT_TYPE || id == MQTT_PROP_RESPONSE_TOPIC) {
    if (mosquitto_property_read_string(from, id, &raw, false) == nullptr) {
      throw std::bad_alloc();
    }
    check(mosquitto_property_add_string(to, id, text(raw).get()));
  } else if (id == MQTT_PROP_CORRELATION_DATA) {
    void* data = nullptr;
    std::uint16_t size = 0;
    mosquitto_property_read_binary(from, id, &data, &size, false);
    const text owned(static_cast<char*>(data));
    check(mosquitto_property_add_binary(to, id, data, size));
  } else if (id == MQTT_PROP_PAYLOAD_FORMAT_INDICATOR && !breaks_format(from, payload)) {
    std::uint8_t format = 0;
    mosquitto_property_read_byte(from, id, &format, false);
    check(mosquitto_property_add_byte(to, id, format));
  }
}

}  // namespace

message_view::message_view(const mosquitto_evt_message& event)
    : topic(event.topic),
      payload(static_cast<const char*>(event.payload), event.payload == nullptr ? 0 : event.payloadlen),
      properties(event.properties),
      qos(event.qos),
      retain(event.retain) {}

message_view::message_view(const message& kept)
    : topic(kept.topic),
      payload(kept.payload),
      properties(kept.properties.get()),
      qos(kept.qos),
      retain(kept.retain) {}

message::message(const message_view& view)
    : topic(view.topic),
      payload(view.payload),
      // Not by mosquitto_property_copy_all, which crashes at empty values and bypasses the broker's account of memory.
      properties(derived_properties(view.properties, user_properties(view.properties), view.payload)),
      qos(view.qos),
      retain(view.retain) {}

std::vector<user_property> user_properties(const mosquitto_property* all) {
  std::vector<user_property> found;
  for (const auto* p = all; p != nullptr; p = mosquitto_property_next(p)) {
    if (mosquitto_property_identifier(p) == MQTT_PROP_USER_PROPERTY) {
      char* name = nullptr;
      char* value = nullptr;
      if (mosquitto_property_read_string_pair(p, MQTT_PROP_USER_PROPERTY, &name, &value, false) == nullptr) {
        throw std::bad_alloc();
      }
      const text owned_name(name);
      const text owned_value(value);
      found.push_back({name, value});
    }
  }
  return found;
}

properties derived_properties(const mosquitto_property* original, std::span<const user_property> users,
                              std::string_view payload) {
  mosquitto_property* all = nullptr;
  try {
    for (const auto* p = original; p != nullptr; p = mosquitto_property_next(p)) {
      copy(&all, p, payload);
    }
    for (const auto& user : users) {
      append(&all, user);
    }
  } catch (...) {
    mosquitto_property_free_all(&all);
    throw;
  }
  return properties(all);
}

bool breaks_format(const mosquitto_property* original, std::string_view payload) {
  std::uint8_t format = 0;
  return original != nullptr &&
         mosquitto_property_read_byte(original, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, &format, false) != nullptr &&
         format == 1 && !is_utf8(payload);
}

bool fits_property(const std::string& text) {
  return text.size() <= 65535 &&
         mosquitto_validate_utf8(text.c_str(), static_cast<int>(text.size())) == MOSQ_ERR_SUCCESS;
}

std::string property_text(std::string_view text) {
  static constexpr std::size_t longest = 1024;
  std::string clean;
  for (const char c : text.substr(0, longest)) {
    clean += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  // A character may have been cut in two.
  for (int i = 0; i < 3 && !fits_property(clean); ++i) {
    clean.pop_back();
  }
  return fits_property(clean) ? clean : "the text is not UTF-8";
}

void append(mosquitto_property** all, const user_property& property) {
  check(mosquitto_property_add_string_pair(all, MQTT_PROP_USER_PROPERTY, property.name.c_str(),
                                           property.value.c_str()));
}

void publish(const std::string& topic, std::string_view payload, int qos, bool retain, properties with) {
  void* copy = broker_copy(payload);
  const auto size = static_cast<int>(payload.size());
  if (mosquitto_broker_publish(nullptr, topic.c_str(), size, copy, qos, retain, with.get()) != MOSQ_ERR_SUCCESS) {
    mosquitto_free(copy);
    throw std::bad_alloc();
  }
  (void)with.release();
}

void set_payload(mosquitto_evt_message& event, std::string_view payload) {
  // The broker frees the old one: it sees another pointer.
  event.payload = broker_copy(payload);
  event.payloadlen = static_cast<std::uint32_t>(payload.size());
}

void take(mosquitto_evt_message& event) noexcept {
  // No client may subscribe to the topic `$` alone to any use: nothing is ever published there but this, without a
  // payload. Returning an error instead would tell the publisher that the message was refused, or disconnect it. The
  // topic is changed in place, because versions of the broker differ in who frees a topic that is replaced.
  event.topic[0] = '$';
  event.topic[1] = 0;
  event.retain = false;
  event.payload = nullptr;
  event.payloadlen = 0;
}

}  // namespace mosquitto_wasm
