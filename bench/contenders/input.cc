// SPDX-License-Identifier: Apache-2.0
//
// Makes the input of a cell: bench-input RECORDS SIZE FILE writes one Kafka record batch, uncompressed, as on the wire.
//
// Each value is a JSON object of exactly SIZE bytes, at least 64. "level" is "error" in every fourth record, "region"
// is "eu" in every third; both stand in front, and "email" stands behind a field that fills the value up. So filter and
// route find their field early, and redact has to go through all of it. Keys are null and there are no headers. The
// same arguments give the same bytes.
#include "support/kafka.hh"

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace {

std::string value_of(std::size_t index, std::size_t size) {
  char email[16];
  std::snprintf(email, sizeof(email), "u%04zu@x.io", index % 10'000);
  std::string value = R"({"level":")";
  value += index % 4 == 0 ? "error" : "info";
  value += R"(","region":")";
  value += index % 3 == 0 ? "eu" : "us";
  value += R"(","pad":")";
  std::string end = R"(","email":")";
  end += email;
  end += R"("})";
  for (std::uint32_t letter = static_cast<std::uint32_t>(index); value.size() + end.size() < size;) {
    letter = letter * 1'664'525 + 1'013'904'223;
    value += static_cast<char>('a' + (letter >> 24) % 26);
  }
  return value + end;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench-input RECORDS SIZE FILE\n");
    return 2;
  }
  const auto count = std::strtoull(argv[1], nullptr, 10);
  const auto size = std::strtoull(argv[2], nullptr, 10);
  std::vector<std::string> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(value_of(i, size));
    if (values.back().size() != size) {
      std::fprintf(stderr, "bench-input: a value cannot have %llu bytes\n", size);
      return 2;
    }
  }
  const auto batch = kafka::values(values).encode();
  std::ofstream out(argv[3], std::ios::binary);
  out.write(reinterpret_cast<const char*>(batch.data()), static_cast<std::streamsize>(batch.size()));
  return out.flush() ? 0 : 1;
}
