// SPDX-License-Identifier: Apache-2.0
#include "dead_letter.hh"

#include "../bad_line.hh"
#include "../exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <map>

namespace tool {

namespace {

using nlohmann::ordered_json;

/// Headers that every dead letter has behind its own, in their order. Then come those of `optional_headers` that it
/// has.
constexpr std::array<std::string_view, 4> added_headers = {"wasm-transform", "wasm-offset", "wasm-error", "wasm-error-message"};
constexpr std::array<std::string_view, 3> optional_headers = {"wasm-stderr", "wasm-line", how_read_header};

std::string_view key_of(const ordered_json& header) {
  const auto found = header.is_object() ? header.find("key") : header.end();
  return header.is_object() && found != header.end() && found->is_string() ? std::string_view(found->get_ref<const std::string&>())
                                                                           : std::string_view();
}

/// A member that is text, decoded, or its twin in base64.
std::optional<std::string> text_of(const ordered_json& object, const std::string& name, encoding text) {
  for (const auto& [member, from] : {std::pair(name, text), std::pair(name + "_base64", encoding::base64)}) {
    const auto found = object.find(member);
    if (found != object.end() && found->is_string()) {
      return decode(from, found->get<std::string>());
    }
  }
  return std::nullopt;
}

/// Index of the first header that was added last. The number of headers if there is none.
std::size_t own_headers(const ordered_json& headers, std::size_t count) {
  auto end = count;
  for (auto name = optional_headers.rbegin(); name != optional_headers.rend(); ++name) {
    end -= end > 0 && key_of(headers[end - 1]) == *name ? 1 : 0;
  }
  if (end < added_headers.size()) {
    return count;
  }
  for (std::size_t i = 0; i < added_headers.size(); ++i) {
    if (key_of(headers[end - added_headers.size() + i]) != added_headers[i]) {
      return count;
    }
  }
  return end - added_headers.size();
}

}  // namespace

dead_letter read_dead_letter(std::string_view text_of_letter, encoding text) {
  auto all = ordered_json::parse(text_of_letter, nullptr, false);
  if (!all.is_object()) {
    throw failure(exit_code::bad_input, "it is no JSON object");
  }
  dead_letter letter;
  if (const auto headers = all.find("headers"); headers != all.end() && headers->is_array()) {
    auto own = own_headers(*headers, headers->size());
    std::map<std::string_view, std::string> added;
    for (auto i = own; i < headers->size(); ++i) {
      added.emplace(key_of((*headers)[i]), text_of((*headers)[i], "value", text).value_or(""));
    }
    letter.offset = added["wasm-offset"];
    letter.error = added["wasm-error"];
    letter.message = added["wasm-error-message"];
    letter.line_number = added["wasm-line"];
    letter.how_read = added[how_read_header];
    if (!letter.line_number.empty()) {
      letter.line = text_of(all, "value", text);
      if (!letter.line) {
        throw failure(exit_code::bad_input, fmt::format("it is the dead letter of a line and has no value in {}", name_of(text)));
      }
      return letter;
    }
    // A record may have been a dead letter several times.
    for (auto before = headers->size(); own < before;) {
      before = own;
      own = own_headers(*headers, before);
    }
    headers->erase(headers->begin() + static_cast<std::ptrdiff_t>(own), headers->end());
  }
  all.erase("topic");  // It names the input topic, which the user may have changed.
  letter.record = all.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return letter;
}

}  // namespace tool
