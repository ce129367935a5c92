// SPDX-License-Identifier: Apache-2.0
#include "suggestion.hh"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace tool {

namespace {

/// The number of letters to add, leave out, change or swap.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::vector<std::size_t> next(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        next[j] = std::min(next[j], before[j - 2] + 1);
      }
    }
    before.swap(row);
    row.swap(next);
  }
  return row[b.size()];
}

/// The commands that the arguments name, the innermost last.
const CLI::App& command_of(const CLI::App& app, int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      if (command->get_name() == word) {
        return command_of(*command, argc - i, argv + i);
      }
    }
    if (!word.starts_with('-')) {
      break;
    }
  }
  return app;
}

std::vector<std::string> options_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* option : command.get_options()) {
    for (const auto& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
    for (const auto& name : option->get_snames()) {
      names.push_back("-" + name);
    }
  }
  return names;
}

std::vector<std::string> commands_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* c : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(c->get_name());
  }
  return names;
}

/// The values that an option takes, if it takes only some: `one_of` names its validator after them.
std::vector<std::string> values_of(const CLI::Option& option) {
  try {
    // CLI11 gives validators no other way to be looked at.
    const auto values = CLI::detail::split(const_cast<CLI::Option&>(option).get_validator(0)->get_name(), '|');
    return values.size() > 1 ? values : std::vector<std::string>();
  } catch (const CLI::OptionNotFound&) {  // no validator
    return {};
  }
}

std::string meant(const std::optional<std::string>& name) {
  return name ? fmt::format("; did you mean {}?", *name) : std::string();
}

/// What was given of which there is nothing.
std::string explain_extra(const CLI::App& command, int argc, const char* const* argv) {
  const auto options = options_of(command);
  const auto names = commands_of(command);
  const auto title = command.get_parent() == nullptr ? std::string("wasm-transform") : command.get_name();
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto name = word.substr(0, word.find('='));
    if (word == "--") {
      break;
    }
    if (name.size() > 1 && name.starts_with("--") && std::find(options.begin(), options.end(), name) == options.end()) {
      return fmt::format("{} has no option {}{}", title, name, meant(nearest(name, options)));
    }
    if (name.size() > 1 && name[0] == '-' && name[1] != '-' &&
        std::find(options.begin(), options.end(), name.substr(0, 2)) == options.end()) {
      return fmt::format("{} has no option {}{}", title, name.substr(0, 2), meant(nearest("-" + std::string(name), options)));
    }
    if (!names.empty() && !word.starts_with('-') && std::find(names.begin(), names.end(), word) == names.end()) {
      return fmt::format("{} has no command {}{}", title, word, meant(nearest(word, names)));
    }
  }
  return {};
}

/// An option with a value that it does not take.
std::string explain_value(const CLI::App& command, int argc, const char* const* argv) {
  for (const auto* option : command.get_options()) {
    const auto values = values_of(*option);
    if (values.empty()) {
      continue;
    }
    for (int i = 1; i < argc; ++i) {
      const std::string_view word = argv[i];
      std::optional<std::string_view> value;
      for (const auto& name : option->get_lnames()) {
        if (word == "--" + name && i + 1 < argc) {
          value = argv[i + 1];
        } else if (word.starts_with("--" + name + "=")) {
          value = word.substr(name.size() + 3);
        }
      }
      for (const auto& name : option->get_snames()) {
        if (word == "-" + name && i + 1 < argc) {
          value = argv[i + 1];
        } else if (word.starts_with("-" + name) && !word.starts_with("--") && word.size() > 2) {
          value = word.substr(2);
        }
      }
      if (value && std::find_if(values.begin(), values.end(), [&](const auto& v) {
            return CLI::detail::to_lower(v) == CLI::detail::to_lower(std::string(*value));
          }) == values.end()) {
        return fmt::format("{}: \"{}\" is none of {}{}", option->get_name(), *value, fmt::join(values, ", "),
                           meant(nearest(*value, values)));
      }
    }
  }
  return {};
}

/// An option that is given more often than it takes values, or without one.
std::string explain_number(const CLI::App& command) {
  for (const auto* option : command.get_options()) {
    if (option->get_expected_max() == 0 || option->get_items_expected_max() > 1) {
      continue;
    }
    if (option->count() > 1) {
      return fmt::format("{} is given {} times, but takes one value", option->get_name(), option->count());
    }
  }
  return {};
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& names) {
  std::optional<std::string> best;
  // A third of the letters may be wrong.
  std::size_t least = std::max<std::size_t>(1, (word.size() + 1) / 3) + 1;
  for (const auto& name : names) {
    if (const auto d = distance(word, name); d < least) {
      least = d;
      best = name;
    }
  }
  if (best) {
    return best;
  }
  // Or the end is missing.
  for (const auto& name : names) {
    if (word.size() > 3 && name.starts_with(word)) {
      return name;
    }
  }
  return std::nullopt;
}

std::string explain(const CLI::ParseError& e, const CLI::App& app, int argc, const char* const* argv) {
  const auto& command = command_of(app, argc, argv);
  std::string text;
  if (dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr || dynamic_cast<const CLI::RequiredError*>(&e) != nullptr) {
    // An option that is not known hides its value, which then stands where a file should.
    text = explain_extra(command, argc, argv);
  } else if (dynamic_cast<const CLI::ValidationError*>(&e) != nullptr ||
             dynamic_cast<const CLI::ConversionError*>(&e) != nullptr) {
    text = explain_extra(command, argc, argv);
    if (text.empty()) {
      text = explain_value(command, argc, argv);
    }
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&e) != nullptr) {
    text = explain_number(command);
    const std::string_view what = e.what();
    constexpr std::string_view end = " missing";
    if (const auto at = what.find(": 1 required "); text.empty() && at != what.npos && what.ends_with(end)) {
      text = fmt::format("{} takes a value, which is missing", what.substr(0, at));
    }
  }
  return text.empty() ? std::string(e.what()) : text;
}

}  // namespace tool
