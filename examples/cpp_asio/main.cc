// SPDX-License-Identifier: Apache-2.0
//
// A host on Boost.Asio: cpp_asio GUEST.wasm [PORT]
//
// A server on the loopback interface. Each line of a client becomes a batch of one record. What the guest writes goes
// back to the client, a line for each record.
//
//   awaitables      compilation, starts and transforms are awaited by coroutines; one thread runs all of it
//   connections     each has an engine of its own, so a client's guest cannot hold the others up
//   back-pressure   the sink's promise is resolved when the lines are written: a client that does not read has to wait
//   host function   a guest may import `host.later`, a coroutine that waits for a timer
//   failures        a guest that fails is reported to its client and started again
//   stopping        SIGINT and SIGTERM end the loop, and the io_context drops what is in progress
#include <wasm_engine/asio.hh>
#include <wasm_engine/wasm_engine.hh>

#include <boost/asio.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace we = wasmengine;
using asio::ip::tcp;
using asio::use_awaitable;

constexpr std::size_t max_line = 64 * 1024;

/// Writes records to a client. The block of records is valid until the promise is settled, but it is copied anyway.
class line_writer {
 public:
  explicit line_writer(tcp::socket& socket) : _socket(socket) {}

  wasm_callback_result operator()(we::output_block block, we::output_call call) {
    _lines.clear();
    for (const auto& record : block) {
      const auto payload = we::payload::read(we::output_record(record).payload()).value();
      _lines.append(payload.value.value_or("")).append("\n");
    }
    asio::async_write(_socket, asio::buffer(_lines),
                      [written = call.later().value()](const boost::system::error_code& error, std::size_t) mutable {
                        // Either one has no effect if the engine is gone.
                        (void)(error ? written.reject(error.message()) : written.resolve());
                      });
    return WASM_CALLBACK_RESULT_PENDING;
  }

 private:
  tcp::socket& _socket;
  std::string _lines;
};

/// One client.
asio::awaitable<void> serve(tcp::socket socket, const we::factory& factory) {
  const auto executor = co_await asio::this_coro::executor;
  auto engine = we::engine::create(factory).value();
  (co_await we::async_wait(engine.start().value(), executor, use_awaitable)).value();
  auto builder = we::batch_builder::create().value();
  line_writer sink(socket);
  std::string input;
  for (std::int64_t offset = 0;; ++offset) {
    auto buffer = asio::dynamic_buffer(input, max_line);
    const auto size = co_await asio::async_read_until(socket, std::move(buffer), '\n', use_awaitable);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    builder.reset({.base_offset = offset}).value();
    builder.add(std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
                {std::nullopt, std::string_view(input).substr(0, size - 1), {}}).value();

    // Batch and sink are borrowed until the transform has completed.
    auto transform = engine.transform(builder.finish().value(), sink).value();
    const auto done = co_await we::async_wait(std::move(transform), executor, use_awaitable);
    if (!done) {
      std::cerr << done.err().what() << '\n';
      const auto line = "! " + std::string(done.err().status_name()) + "\n";
      co_await asio::async_write(socket, asio::buffer(line), use_awaitable);
      (co_await we::async_wait(engine.start().value(), executor, use_awaitable)).value();
    }
    input.erase(0, size);
  }
}

/// A client that goes away is no failure of the server.
void ended(std::exception_ptr failure) {
  try {
    if (failure) {
      std::rethrow_exception(failure);
    }
  } catch (const boost::system::system_error& error) {
    std::cerr << "a client has gone: " << error.code().message() << '\n';
  } catch (const we::error& error) {
    std::cerr << "a client's guest does not start: " << error.what() << '\n';
  }
}

asio::awaitable<void> listen(tcp::acceptor& acceptor, const we::runtime& runtime,
                             const std::vector<std::uint8_t>& module) {
  const auto executor = co_await asio::this_coro::executor;
  auto compiling = runtime.compile(module, {"example", "in", {"out"}, {}}).value();
  const auto factory = (co_await we::async_wait(std::move(compiling), executor, use_awaitable)).value();
  std::cout << "port " << acceptor.local_endpoint().port() << std::endl;
  for (;;) {
    auto socket = co_await acceptor.async_accept(use_awaitable);
    // `factory` lives as long as this coroutine: until the io_context goes, as do all clients.
    asio::co_spawn(executor, serve(std::move(socket), factory), ended);
  }
}

/// What `host.later` does. It runs to its end even if its guest is gone.
asio::awaitable<std::int64_t> twice_later(std::int64_t n) {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(20));
  co_await timer.async_wait(use_awaitable);
  co_return 2 * n;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: cpp_asio GUEST.wasm [PORT]\n";
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  const auto port = static_cast<unsigned short>(argc > 2 ? std::atoi(argv[2]) : 0);

  wasm_runtime_config config{};
  config.record_time_limit_ns = 100'000'000;
  const auto runtime = we::runtime::create(config).value();

  asio::io_context io(1);
  we::host_module host("host");
  host.add("later", [&io](std::int64_t n) { return we::run_on(io.get_executor(), twice_later(n)); });
  runtime.add(host).value();
  we::prepare_thread(runtime).value();

  tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), port});
  asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&io](auto...) { io.stop(); });
  asio::co_spawn(io, listen(acceptor, runtime, module), [](std::exception_ptr failure) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  });
  io.run();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
