// SPDX-License-Identifier: Apache-2.0
//
// What asio.hh promises without coroutines. Compiled only: by GCC with coroutines off and by Clang, for which Boost
// 1.74 has no awaitables.
#include <wasm_engine/asio.hh>
#include <wasm_engine/engine.hh>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>

void waits(boost::asio::io_context& io, wasmengine::engine& engine, wasmengine::compilation compilation);

void waits(boost::asio::io_context& io, wasmengine::engine& engine, wasmengine::compilation compilation) {
  using wasmengine::async_wait;
  async_wait(engine.start().value(), io.get_executor(), [](const wasmengine::result<void>&) {});
  async_wait(std::move(compilation), boost::asio::make_strand(io), [](const wasmengine::result<wasmengine::factory>&) {});
  async_wait(engine.stop().value(), boost::asio::any_io_executor(io.get_executor()), boost::asio::use_future);
}
