// SPDX-License-Identifier: Apache-2.0
#include "control.hh"

#include "metrics.hh"
#include "page.hh"
#include "timestamp.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>

namespace transformd {

namespace {

using nlohmann::json;

std::string printed(const json& what) {
  // Bytes that are no UTF-8 must not end the daemon.
  return what.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

http_answer fault(int status, std::string_view why) { return {status, "application/json", printed({{"error", why}})}; }

json as_json(const worker_status& w) {
  json out{{"state", name_of(w.state)},
           {"records_in", w.records_in},
           {"records_out", w.records_out},
           {"skipped", w.skipped},
           {"dead_lettered", w.dead_lettered},
           {"commits", w.commits},
           {"aborts", w.aborts},
           {"rebalances", w.rebalances},
           {"partitions", json::array()}};
  if (!w.error.empty()) {
    out["error"] = w.error;
  }
  if (!w.module_sha256.empty()) {
    out["module_sha256"] = w.module_sha256;
  }
  for (const auto& p : w.partitions) {
    out["partitions"].push_back({{"topic", p.name.topic},
                                 {"partition", p.name.partition},
                                 {"position", p.position < 0 ? json() : json(p.position)},
                                 {"lag", p.lag ? json(*p.lag) : json()}});
  }
  return out;
}

json as_json(const transform_status& t, const transform_file& file) {
  json out{{"name", t.name},
           {"state", t.state},
           {"input_topic", file.input_topic},
           {"output_topics", file.output_topics},
           {"group", file.group},
           {"guarantee", file.delivery == guarantee::exactly_once ? "exactly-once" : "at-least-once"},
           {"module", file.module_shown()},
           {"module_sha256", t.module_sha256},
           {"workers", json::array()}};
  if (!t.error.empty()) {
    out["error"] = t.error;
  }
  for (const auto& w : t.workers) {
    out["workers"].push_back(as_json(w));
  }
  return out;
}

/// `%3A` is a colon.
std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// The value of `name=` in a query.
std::optional<std::string> parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto item = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const auto equals = item.find('=');
    if (equals != std::string_view::npos && item.substr(0, equals) == name) {
      return decoded(item.substr(equals + 1));
    }
  }
  return std::nullopt;
}

/// A request that makes no sense.
class bad_request : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The number of `name=` in a query. Throws `bad_request` if it is none from 0 to `most`.
std::optional<std::int64_t> number(std::string_view query, std::string_view name, std::int64_t most = INT64_MAX) {
  const auto text = parameter(query, name);
  if (!text) {
    return std::nullopt;
  }
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), out);
  if (error != std::errc{} || end != text->data() + text->size() || out < 0 || out > most) {
    throw bad_request(fmt::format("{} is `{}`; it must be a number from 0 to {}", name, *text, most));
  }
  return out;
}

/// What a query says where to go on.
seek_request seek_of(std::string_view query) {
  seek_request out;
  if (const auto partition = number(query, "partition", INT32_MAX)) {
    out.partition = static_cast<std::int32_t>(*partition);
  }
  const auto to = parameter(query, "to");
  const auto offset = number(query, "offset");
  const auto time = parameter(query, "timestamp");
  const auto timestamp = time ? parse_timestamp(*time) : std::nullopt;
  if (time && !timestamp) {
    throw bad_request(fmt::format("timestamp is `{}`; it must be like 2026-01-01T00:00:00Z or milliseconds since 1970", *time));
  }
  if ((to ? 1 : 0) + (offset ? 1 : 0) + (timestamp ? 1 : 0) != 1) {
    throw bad_request("seek wants one of to=earliest, to=latest, offset=NUMBER and timestamp=TIME");
  }
  if (to && *to != "earliest" && *to != "latest") {
    throw bad_request(fmt::format("to is `{}`; it must be earliest or latest", *to));
  }
  if (to) {
    out.to.at = *to == "earliest" ? position::kind::earliest : position::kind::latest;
  } else if (offset) {
    out.to = {position::kind::offset, *offset};
  } else {
    out.to = {position::kind::timestamp, *timestamp};
  }
  return out;
}

constexpr std::array<std::string_view, 7> commands{"start", "stop", "pause", "resume", "seek", "deploy", "rollback"};
constexpr std::string_view prefix = "/transforms/";
/// A follower of a log gets an answer after this at the latest.
constexpr std::int64_t longest_wait_s = 60;

}  // namespace

std::uint64_t control::largest_body(std::string_view method, std::string_view path) noexcept {
  return method == "POST" && path.starts_with(prefix) && path.ends_with("/deploy") ? largest_module : 64U << 10;
}

asio::awaitable<http_answer> control::answer(http_request request) {
  try {
    const auto path = request.path;
    if (path.starts_with(prefix)) {
      const auto rest = path.substr(prefix.size());
      const auto slash = rest.find('/');
      const auto what = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
      co_return co_await of_transform(std::move(request), rest.substr(0, slash), what);
    }
    if (request.method != "GET") {
      co_return fault(405, "only GET is allowed here");
    }
    if (path == "/") {
      co_return http_answer{200, "text/html; charset=utf-8", std::string(page)};
    }
    if (path == "/healthz") {
      co_return http_answer{200, "text/plain", "ok\n"};
    }
    if (path == "/readyz") {
      co_return ready();
    }
    if (path == "/metrics") {
      co_return http_answer{200, "text/plain; version=0.0.4", metrics_text(_server)};
    }
    if (path == "/transforms") {
      json all = json::array();
      for (const auto& t : _server.status()) {
        all.push_back(as_json(t, _server.find(t.name)->file()));
      }
      co_return http_answer{200, "application/json", printed({{"transforms", all}})};
    }
    co_return fault(404, fmt::format("there is nothing at {}", path));
  } catch (const bad_request& e) {
    co_return fault(400, e.what());
  } catch (const std::exception& e) {
    co_return fault(500, e.what());
  }
}

asio::awaitable<http_answer> control::of_transform(http_request request, std::string_view name, std::string_view what) {
  transform* t = _server.find(std::string(name));
  if (t == nullptr) {
    co_return fault(404, fmt::format("there is no transform `{}`", name));
  }
  const bool command = std::ranges::find(commands, what) != commands.end();
  if (!command && !what.empty() && what != "logs") {
    co_return fault(404, fmt::format("a transform has no `{}`", what));
  }
  if (request.method != (command ? "POST" : "GET")) {
    co_return fault(405, fmt::format("only {} is allowed here", command ? "POST" : "GET"));
  }
  if (what == "logs") {
    co_return co_await logs(*t, request.query);
  }
  if (what == "start") {
    if (!t->start()) {
      co_return fault(409, "the transform has not stopped");
    }
  } else if (what == "stop") {
    t->stop([] {});
  } else if (what == "seek") {
    if (!t->seek(seek_of(request.query))) {
      co_return fault(409, "the transform does not run");
    }
  } else if (what == "deploy" || what == "rollback") {
    std::string refused;
    try {
      if (what == "rollback") {
        co_await t->rollback();
      } else {
        co_await t->deploy(std::move(request.body));
      }
    } catch (const std::exception& e) {
      refused = e.what();
    }
    if (!refused.empty()) {
      co_return fault(409, refused);
    }
  } else if (command) {
    t->pause(what == "pause");
  }
  co_return http_answer{command ? 202 : 200, "application/json", printed(as_json(t->status(), t->file()))};
}

/// The lines from `from` and `since` on. If there is none, the answer waits for one, for `wait` seconds at most.
asio::awaitable<http_answer> control::logs(const transform& of, std::string_view query) {
  const auto from = static_cast<std::uint64_t>(number(query, "from").value_or(0));
  const auto since = number(query, "since").value_or(0);
  const auto wait = number(query, "wait", longest_wait_s).value_or(0);
  const auto& name = of.file().name;
  const auto timer = std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor, std::chrono::seconds(wait));
  for (;;) {
    // Before looking: a line may be written in between.
    const auto next = _log.on_next_line(name, [timer] {
      // On any thread. The handler of the wait runs on the timer's own.
      asio::post(timer->get_executor(), [timer] { timer->cancel(); });
    });
    json lines = json::array();
    for (const auto& line : _log.recent(name, from)) {
      if (line.time_ms >= since) {
        lines.push_back({{"number", line.number},
                         {"time_ms", line.time_ms},
                         {"level", name_of(line.level)},
                         {"source", line.guest ? "guest" : "daemon"},
                         {"text", line.text}});
      }
    }
    if (!lines.empty() || timer->expiry() <= std::chrono::steady_clock::now()) {
      co_return http_answer{200, "application/json", printed({{"lines", lines}})};
    }
    boost::system::error_code ignored;
    co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

/// Whether all transforms do their work.
http_answer control::ready() const {
  std::string why;
  for (const auto& t : _server.status()) {
    if (t.state != "running" && t.state != "paused") {
      why += fmt::format("{}: {}{}\n", t.name, t.state, t.error.empty() ? "" : ": " + t.error);
    }
    for (const auto& w : t.workers) {
      if (w.state == worker_state::starting || w.state == worker_state::retrying || (t.state == "running" && !w.error.empty())) {
        why += fmt::format("{}: {}{}\n", t.name, name_of(w.state), w.error.empty() ? "" : ": " + w.error);
      }
    }
  }
  return {why.empty() ? 200 : 503, "text/plain", why.empty() ? "ready\n" : why};
}

}  // namespace transformd
