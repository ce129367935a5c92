// SPDX-License-Identifier: Apache-2.0
//
// MQTT topics: filters and the templates of output topics.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mosquitto_wasm {

/// Whether a client may subscribe to it.
[[nodiscard]] bool is_filter(const std::string& text);

/// Whether a client may publish to it.
[[nodiscard]] bool is_topic(const std::string& text);

[[nodiscard]] bool matches(const std::string& filter, const char* topic);

/// A topic with places for the input topic, `{topic}`, and for its levels, `{1}` to `{9}`.
class topic_template {
 public:
  topic_template() = default;
  /// Throws std::invalid_argument with the reason.
  explicit topic_template(std::string_view text);

  /// The topic for a message of this topic. Empty if there is none: the topic lacks a level, or what comes out is no
  /// topic or one of the broker's.
  [[nodiscard]] std::string expand(std::string_view topic) const;

  [[nodiscard]] bool empty() const noexcept { return _parts.empty(); }
  [[nodiscard]] bool operator==(const topic_template&) const = default;

 private:
  static constexpr int text = -1;
  static constexpr int whole = 0;

  struct part {
    int level;  ///< From 1 on. Or `whole`. Or `text`.
    std::string literal;
    [[nodiscard]] bool operator==(const part&) const = default;
  };

  std::vector<part> _parts;
};

}  // namespace mosquitto_wasm
