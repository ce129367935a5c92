// Keeps the records whose value is a JSON object in which the field $FILTER_FIELD is $FILTER_VALUE.
//
// The value is compared as it is written, a string without its quotes: FILTER_VALUE=3 matches 3 and "3", but not 3.0.
// The scan finds fields at the top level only, and it does not decode escapes. Without FILTER_FIELD all pass.

#include <cstdlib>

#include "transform_guest.hh"

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Takes tokens off the front of a JSON text: strings with their quotes, punctuation, and whatever lies between.
class scanner {
 public:
  explicit scanner(tg::bytes text) : rest_(text) {}

  // The next token; empty at the end.
  tg::bytes next() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
    std::size_t size = 0;
    if (rest_.starts_with('"')) {
      size = string_size();
    } else if (!rest_.empty() && is_punctuation(rest_.front())) {
      size = 1;
    } else {
      while (size < rest_.size() && !is_space(rest_[size]) && !is_punctuation(rest_[size])) size++;
    }
    const tg::bytes token = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return token;
  }

 private:
  static bool is_punctuation(char c) { return tg::bytes("{}[]:,").find(c) != tg::bytes::npos; }

  std::size_t string_size() const {
    for (std::size_t at = 1; at < rest_.size(); at++) {
      if (rest_[at] == '\\') {
        at++;
      } else if (rest_[at] == '"') {
        return at + 1;
      }
    }
    return rest_.size();
  }

  tg::bytes rest_;
};

tg::bytes unquoted(tg::bytes token) {
  const bool quoted = token.size() >= 2 && token.starts_with('"') && token.ends_with('"');
  return quoted ? token.substr(1, token.size() - 2) : token;
}

// Whether the JSON object has the field at its top level with this value.
bool has_field(tg::bytes json, tg::bytes field, tg::bytes value) {
  scanner scan(json);
  int depth = 0;
  tg::bytes name, previous;
  for (tg::bytes token = scan.next(); !token.empty(); previous = token, token = scan.next()) {
    if (token == "{" || token == "[") {
      depth++;
    } else if (token == "}" || token == "]") {
      depth--;
    } else if (depth == 1 && token == ":") {
      name = unquoted(previous);
    } else if (depth == 1 && previous == ":" && name == field) {
      return unquoted(token) == value;
    }
  }
  return false;
}

}  // namespace

int main() {
  const char* field = std::getenv("FILTER_FIELD");
  const char* value = std::getenv("FILTER_VALUE");
  tg::run([=](const tg::record& record) {
    const bool keep = field == nullptr || has_field(record.value().value_or(""), field, value ? value : "");
    if (keep && tg::write(record) < 0) tg::fail("filter: write failed");
  });
}
