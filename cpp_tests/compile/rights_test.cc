// SPDX-License-Identifier: Apache-2.0
//
// What a transform may import: host modules, the schema registry and WASI; refused by name, wherever the code comes
// from.
#include "support/cache.hh"
#include "support/host_guest.hh"

#include <gmock/gmock.h>

using namespace cache_tests;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

namespace {

using imports = std::vector<we::allowed_import>;

we::transform_config allowing(std::optional<imports> list, std::uint32_t wasi = 0) {
  auto transform = with_topics({"out"});
  transform.allowed_imports = std::move(list);
  transform.wasi_rights = wasi;
  return transform;
}

/// A runtime with what `h_call` imports: `t.f` and `t.report`.
we::runtime with_functions() {
  auto runtime = we::runtime::create().value();
  we::host_module t("t");
  t.add("f", [](std::int32_t a, std::int32_t b) { return a + b; });
  t.add("report", [](std::int32_t) {});
  runtime.add(t).value();
  return runtime;
}

std::string refusal(const we::runtime& runtime, const kafka::bytes& guest, const we::transform_config& transform) {
  const auto validated = runtime.validate(guest, transform);
  if (validated) {
    return "";
  }
  EXPECT_EQ(validated.err().status(), WASM_STATUS_MODULE_IMPORT_DENIED) << validated.err().what();
  return validated.err().what();
}

TEST(Rights, WithAListAllElseIsDeniedByName) {
  const auto runtime = with_functions();
  const auto guest = host_guest::module("h_call");
  EXPECT_EQ(refusal(runtime, guest, allowing(std::nullopt)), "");
  EXPECT_EQ(refusal(runtime, guest, allowing(imports{{"t", ""}})), "");
  EXPECT_EQ(refusal(runtime, guest, allowing(imports{{"t", "f"}, {"t", "report"}})), "");
  EXPECT_THAT(refusal(runtime, guest, allowing(imports{{"t", "f"}})),
              AllOf(HasSubstr("transform \"tested\""), HasSubstr("no right to: t.report (allowed_imports"),
                    Not(HasSubstr("t.f"))));
  EXPECT_THAT(refusal(runtime, guest, allowing(imports{})), AllOf(HasSubstr("t.f ("), HasSubstr("t.report (")));
  EXPECT_THAT(refusal(runtime, guest, allowing(imports{{"redpanda_transform", ""}})), HasSubstr("t.f ("));
  EXPECT_EQ(refusal(runtime, module("c_identity"), allowing(imports{})), "") << "redpanda_transform is always allowed";
}

TEST(Rights, TheSchemaRegistryIsOne) {
  const auto runtime = we::runtime::create().value();
  const auto guest = module("rust_avro");
  EXPECT_EQ(refusal(runtime, guest, allowing(imports{{"redpanda_schema_registry", ""}})), "");
  EXPECT_THAT(refusal(runtime, guest, allowing(imports{})), HasSubstr("redpanda_schema_registry."));
  EXPECT_THAT(refusal(runtime, guest, allowing(imports{{"redpanda_schema_registry", "get_schema_definition"}})),
              Not(HasSubstr("check_abi_version")))
      << "who may call one of its functions may ask for its version";
}

TEST(Rights, OfWasiAreThoseThatTheDocsSayGuestsNeed) {
  const auto runtime = we::runtime::create().value();
  constexpr std::uint32_t output = WASM_WASI_RIGHT_OUTPUT;
  constexpr std::uint32_t rust = WASM_WASI_RIGHT_OUTPUT | WASM_WASI_RIGHT_ENVIRONMENT;
  constexpr std::uint32_t go = rust | WASM_WASI_RIGHT_ARGUMENTS | WASM_WASI_RIGHT_CLOCKS | WASM_WASI_RIGHT_RANDOM |
                               WASM_WASI_RIGHT_SLEEP;
  const struct {
    const char* guest;
    std::uint32_t needs;
  } guests[]{{"c_identity", WASM_WASI_RIGHT_BASE},
             {"c_logger", output},
             {"cpp_identity", output},
             {"cpp_filter", rust},
             {"rust_identity", rust},
             {"rust_redact", rust | WASM_WASI_RIGHT_RANDOM},
             {"go_identity", go},
             {"go_rekey", go}};
  for (const auto& [guest, needs] : guests) {
    EXPECT_EQ(refusal(runtime, module(guest), allowing(std::nullopt, needs)), "") << guest;
    for (std::uint32_t bit = WASM_WASI_RIGHT_ARGUMENTS; bit <= WASM_WASI_RIGHT_SOCKETS; bit <<= 1) {
      if ((needs & bit) != 0) {
        EXPECT_NE(refusal(runtime, module(guest), allowing(std::nullopt, (needs & ~bit) | WASM_WASI_RIGHT_BASE)), "")
            << guest << " needs " << bit;
      }
    }
  }
  EXPECT_THAT(refusal(runtime, module("rust_redact"), allowing(std::nullopt, rust)),
              HasSubstr("no right to: wasi_snapshot_preview1.random_get (wasi_rights needs WASM_WASI_RIGHT_RANDOM)"));
}

TEST(Rights, AreAskedForWhereverTheCodeComesFrom) {
  scratch dir;
  const auto make = [&] {
    auto runtime = with_functions();
    runtime.set_code_cache({dir.cache.string()}).value();
    return runtime;
  };
  const auto guest = host_guest::module("h_call");
  const auto runtime = make();
  auto precompiling = runtime.precompile(guest).value();
  we::drive(precompiling).value();
  const auto taken = precompiling.take().value();
  const auto bytes = taken.bytes();
  const kafka::bytes artifact{bytes.begin(), bytes.end()};
  const auto denied = allowing(imports{{"t", "f"}});
  const auto allowed = allowing(imports{{"t", ""}});
  for (const auto& fresh : {make(), make()}) {
    const auto cache = we::factory_cache::create(fresh).value();
    for (int i = 0; i < 2; ++i) {
      // The second time its code is in memory.
      auto first = fresh.compile(guest, denied).value();
      auto second = fresh.load(artifact, denied).value();
      auto third = cache.get("denied", guest, denied).value();
      for (auto* future : {&first, &second, &third}) {
        const auto end = finish(*future);
        EXPECT_EQ(end.status, WASM_STATUS_MODULE_IMPORT_DENIED) << end.message();
        EXPECT_THAT(end.message(), HasSubstr("t.report"));
      }
      auto good = cache.get("allowed", guest, allowed).value();
      EXPECT_TRUE(succeeded(finish(good)));
    }
  }
  auto refused = runtime.precompile(guest, denied).value();
  EXPECT_EQ(finish(refused).status, WASM_STATUS_MODULE_IMPORT_DENIED);
}

TEST(Rights, ThatCannotBeMeantAreInvalid) {
  const auto runtime = we::runtime::create().value();
  const auto guest = module("c_identity");
  const auto refused = [&](const we::transform_config& transform) {
    const auto validated = runtime.validate(guest, transform);
    EXPECT_EQ(validated.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(runtime.compile(guest, transform).err().status(), WASM_STATUS_INVALID_ARGUMENT);
    return std::string(validated.err().what());
  };
  EXPECT_THAT(refused(allowing(std::nullopt, 1U << 20)), HasSubstr("wasi_rights is 0x100000"));
  EXPECT_THAT(refused(allowing(imports{{"", "f"}})), HasSubstr("allowed_imports"));
  EXPECT_THAT(refused(allowing(imports{{"wasi_snapshot_preview1", ""}})), HasSubstr("wasi_rights"));
  wasm_factory_config raw{};
  raw.size = sizeof(raw);
  raw.module = we::as_slice(guest);
  raw.name = we::as_slice("tested");
  raw.allowed_import_count = 1;
  EXPECT_EQ(wasm_factory_validate(runtime.get(), &raw, nullptr), WASM_STATUS_NULL_ARGUMENT);
  const std::string bad("\xff");
  const wasm_allowed_import import{we::as_slice(bad), {}};
  raw.allowed_imports = &import;
  EXPECT_EQ(wasm_factory_validate(runtime.get(), &raw, nullptr), WASM_STATUS_INVALID_UTF8);
}

TEST(FactoryValidate, RefusesWhatACompilationWouldAndNothingElse) {
  const auto runtime = we::runtime::create().value();
  EXPECT_TRUE(runtime.validate(module("c_identity"), with_topics({"out"})));
  const auto refused = runtime.validate(module("wat_no_start"), with_topics({"out"}));
  EXPECT_EQ(refused.err().status(), WASM_STATUS_MODULE_NO_START);
  EXPECT_THAT(refused.err().what(), HasSubstr("transform \"tested\""));
  EXPECT_EQ(runtime.validate(module("c_identity"), {}).err().status(), WASM_STATUS_INVALID_ARGUMENT) << "no name";
  EXPECT_EQ(wasm_factory_validate(runtime.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  wasm_factory_config raw{};
  EXPECT_EQ(wasm_factory_validate(runtime.get(), &raw, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  raw.size = sizeof(raw);
  EXPECT_EQ(wasm_factory_validate(nullptr, &raw, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations, 0U) << "nothing is compiled";
}

}  // namespace
