// SPDX-License-Identifier: Apache-2.0
#include "topic.hh"

#include <cstddef>
#include <stdexcept>

#include <mosquitto.h>

namespace mosquitto_wasm {

namespace {

constexpr std::size_t longest = 65535;

bool is_text(const std::string& text) {
  return !text.empty() && text.size() <= longest &&
         mosquitto_validate_utf8(text.c_str(), static_cast<int>(text.size())) == MOSQ_ERR_SUCCESS;
}

/// The level with this number, from 1 on. None has no address.
std::string_view level_of(std::string_view topic, int number) {
  for (; number > 1; --number) {
    const auto slash = topic.find('/');
    if (slash == std::string_view::npos) {
      return {};
    }
    topic.remove_prefix(slash + 1);
  }
  return topic.substr(0, topic.find('/'));
}

}  // namespace

bool is_filter(const std::string& text) {
  return is_text(text) && mosquitto_sub_topic_check(text.c_str()) == MOSQ_ERR_SUCCESS;
}

bool is_topic(const std::string& text) {
  return is_text(text) && mosquitto_pub_topic_check(text.c_str()) == MOSQ_ERR_SUCCESS;
}

bool matches(const std::string& filter, const char* topic) {
  bool result = false;
  return mosquitto_topic_matches_sub(filter.c_str(), topic, &result) == MOSQ_ERR_SUCCESS && result;
}

topic_template::topic_template(std::string_view source) {
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) {
      _parts.push_back({text, literal});
      literal.clear();
    }
  };
  for (std::size_t at = 0; at < source.size(); ++at) {
    if (source[at] != '{') {
      literal += source[at];
      continue;
    }
    const auto end = source.find('}', at);
    const auto place = source.substr(at + 1, end == std::string_view::npos ? end : end - at - 1);
    if (end == std::string_view::npos) {
      throw std::invalid_argument("'{' without '}'");
    }
    flush();
    if (place == "topic") {
      _parts.push_back({whole, {}});
    } else if (place.size() == 1 && place[0] >= '1' && place[0] <= '9') {
      _parts.push_back({place[0] - '0', {}});
    } else {
      throw std::invalid_argument("unknown place {" + std::string(place) + "}: there are {topic} and {1} to {9}");
    }
    at = end;
  }
  flush();
  if (source.starts_with('$')) {
    throw std::invalid_argument("topics that begin with '$' are the broker's");
  }
  if (expand("1/2/3/4/5/6/7/8/9").empty()) {
    throw std::invalid_argument("this is no topic: it is empty or has a '+', a '#' or bytes that are not UTF-8");
  }
}

std::string topic_template::expand(std::string_view topic) const {
  std::string expanded;
  for (const auto& part : _parts) {
    const auto piece = part.level == text    ? std::string_view(part.literal)
                       : part.level == whole ? topic
                                             : level_of(topic, part.level);
    if (piece.data() == nullptr) {
      return {};
    }
    expanded += piece;
  }
  const bool own = !expanded.starts_with('$') || expanded == topic;
  return own && is_topic(expanded) ? expanded : std::string();
}

}  // namespace mosquitto_wasm
