// SPDX-License-Identifier: Apache-2.0
#include "formats.hh"

#include "values.hh"

#include <fmt/format.h>

#include <set>

namespace tool {

namespace {

const std::map<std::string, format> input_formats = {
    {"lines", format::lines}, {"json", format::json}, {"records", format::records}, {"kcat", format::kcat},
    {"rpk", format::rpk},     {"csv", format::csv},   {"batches", format::batches}};
const std::map<std::string, format> output_formats = {{"lines", format::lines},
                                                      {"json", format::json},
                                                      {"records", format::records},
                                                      {"csv", format::csv},
                                                      {"batches", format::batches}};
const std::map<std::string, wasm_compression> codecs = {{"none", WASM_COMPRESSION_NONE},
                                                        {"gzip", WASM_COMPRESSION_GZIP},
                                                        {"snappy", WASM_COMPRESSION_SNAPPY},
                                                        {"lz4", WASM_COMPRESSION_LZ4},
                                                        {"zstd", WASM_COMPRESSION_ZSTD}};

/// One byte, also as `\0`, `\t`, `\n` or `\xHH`.
CLI::Validator byte_value() {
  return {[](std::string& text) -> std::string {
            if (text.size() == 1) {
              return "";
            }
            static const std::map<std::string, char> names = {{"\\0", '\0'}, {"\\t", '\t'}, {"\\n", '\n'}, {"\\r", '\r'}};
            if (const auto found = names.find(text); found != names.end()) {
              text = std::string(1, found->second);
              return "";
            }
            const auto is_hex = [](unsigned char c) { return std::isxdigit(c) != 0; };
            if (text.size() == 4 && text.starts_with("\\x") && is_hex(text[2]) && is_hex(text[3])) {
              text = std::string(1, static_cast<char>(std::stoi(text.substr(2), nullptr, 16)));
              return "";
            }
            return fmt::format("\"{}\" is not one byte, such as ; or \\t or \\0 or \\x1e", text);
          },
          "BYTE"};
}

/// An option that takes a byte.
CLI::Option* add_byte(CLI::App& command, const char* name, char& byte, const char* about) {
  auto* option = command.add_option_function<std::string>(
      name, [&byte](const std::string& text) { byte = text.empty() ? '\0' : text[0]; }, about);
  option->transform(byte_value())->option_text("BYTE");
  return option;
}

}  // namespace

const char* const about_formats =
    "Formats:\n"
    "  lines    The line is the value. Key and headers are null and are not written. A null value is written as an\n"
    "           empty line. --delimiter ends lines by another byte.\n"
    "  json     As lines, but lines must be JSON and --key-field names the member that is the key. Output values must be\n"
    "           JSON, too.\n"
    "  records  As from `rpk topic consume --format json`: an object with topic, key, value, headers (of key and\n"
    "           value), timestamp in ms, partition and offset. All of them may be absent. Key and values may be null.\n"
    "           key_base64 and value_base64 may stand for key and value. Members that a record does not have are\n"
    "           refused. What `kcat -J` prints is known by its members.\n"
    "           Output records have the timestamp and partition of the input record that they come from and no\n"
    "           offset.\n"
    "  kcat     Input only. As records, but only what `kcat -J` prints: payload, ts, headers in pairs.\n"
    "  rpk      Input only. As records, but only what rpk prints. It does not tell null from empty: both are null.\n"
    "  csv      The first row has the names of columns. Other rows become objects in JSON, whose members are text.\n"
    "           Output values must be such objects. --columns are their names, if the input has no others.\n"
    "  batches  Kafka's record batches, one behind the other: a segment of a log (a .log file of a broker) or the\n"
    "           records of a fetch, in each compression. Control batches are passed over, and so are records whose\n"
    "           transaction was aborted or has not ended. Input that ends within a batch is an error. Output batches are\n"
    "           numbered from 0 in each file.\n"
    "Blank lines are skipped in all but lines. Records without a timestamp get the time at which they are read.\n"
    "Those without an offset have the number of the record in the input, from 0. The mark of UTF-8 at the beginning of\n"
    "the input is left out in all but lines and batches. Input in gzip and Zstandard is known by its content.\n"
    "\n"
    "--checkpoint FILE: a run that is killed goes on where its output ended if the same command is given again. Its\n"
    "output is then that of a run that was not killed, unless the guest keeps something from record to record. Until\n"
    "all is done output and dead letters have their name with .partial behind it, and after a failure too: the failed\n"
    "record is tried again. FILE.lock keeps other runs out. --env is in the file as a checksum only.\n"
    "\n";

void add_formats(CLI::App& command, run_options& o) {
  command.add_option("--format,-f", o.shape, "lines (the default), json, records, csv or batches, of input and output")
      ->transform(one_of<format>(output_formats))
      ->option_text("FORMAT");
  command.add_option("--input-format", o.input_shape, "Of the input, instead of --format; also kcat and rpk")
      ->transform(one_of<format>(input_formats))
      ->option_text("FORMAT");
  command.add_option("--output-format", o.output_shape, "Of the output, instead of --format")
      ->transform(one_of<format>(output_formats))
      ->option_text("FORMAT");
  add_byte(command, "--delimiter", o.delimiter, "lines: what ends a line, such as \\0 (default: \\n)");
  add_byte(command, "--separator", o.separator, "csv: what separates fields (default: ,)");
  command.add_option("--columns", o.columns, "csv: the columns of the output, a list (default: those of the input, or the members of "
                                             "the first value)")
      ->delimiter(',')
      ->option_text("LIST")
      ->allow_extra_args(false);
  command
      .add_option("--input-compression", o.codec, "Of the input as a whole: auto (the default) knows gzip and zstd by the first bytes")
      ->transform(one_of<input_codec>({{"auto", input_codec::automatic},
                                       {"none", input_codec::none},
                                       {"gzip", input_codec::gzip},
                                       {"zstd", input_codec::zstd}}))
      ->option_text("CODEC");
  command.add_option("--output-compression", o.output_compression, "batches: of the output's (default: none)")
      ->transform(one_of<wasm_compression>(codecs))
      ->option_text("CODEC");
  command.add_flag("--uncommitted", o.uncommitted, "batches: also records whose transactions were aborted or have not ended");
  command.add_flag("--ignore-partial-batch", o.partial_batch,
                   "batches: the input may end within a batch, as a part of a fetch does; it is left out (default: an error)");
  command.add_option("--key-field", o.key_field, "json, csv: the top-level member, or the column, that becomes the key")
      ->option_text("NAME");
  command.add_option("--headers-field", o.headers_field, "json: the top-level member, an object, that becomes the headers")
      ->option_text("NAME");
  command.add_option("--output-key-field", o.output_key_field, "json: the member of the output that gets the key")
      ->option_text("NAME");
  command.add_option("--output-headers-field", o.output_headers_field, "json: the member of the output that gets the headers")
      ->option_text("NAME");
  command.add_flag("--origin", o.origin,
                   "records, csv: each output record has input_offset, input_index (the number of the input record, from 0) "
                   "and ordinal (its number among the output of that)");
  command
      .add_option("--output-places", o.places,
                  "A file with a line for each output record: its bytes, and the line (0 of batches), number (from 0) and offset of "
                  "its input record")
      ->option_text("FILE");
  command
      .add_option("--default-timestamp", o.default_timestamp,
                  "Of records without a timestamp, in ms since 1970 (default: the time at which they are read)")
      ->check(CLI::NonNegativeNumber)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->option_text("MS");
  command.add_option("--encoding", o.text, "utf8 (the default), base64 or hex: of keys and values, in both directions")
      ->transform(one_of<encoding>({{"utf8", encoding::utf8}, {"base64", encoding::base64}, {"hex", encoding::hex}}))
      ->option_text("ENCODING");
  command.add_option("--checkpoint", o.checkpoint, "Keeps in this file how far the run has come, so that it can go on")
      ->option_text("FILE");
}

void check_formats(run_options& o) {
  const auto in = o.input_format();
  const auto out = o.output_format();
  const auto is_text = [](format f) { return f == format::lines || has_objects(f); };
  if (!o.key_field.empty() && in != format::json && in != format::csv) {
    wrong("--key-field goes with --format json only, and with csv");
  }
  if (!o.headers_field.empty() && in != format::json) {
    wrong("--headers-field goes with --input-format json only");
  }
  if ((!o.output_key_field.empty() || !o.output_headers_field.empty()) && out != format::json) {
    wrong("--output-key-field and --output-headers-field go with --output-format json only");
  }
  if (!o.output_key_field.empty() && o.output_key_field == o.output_headers_field) {
    wrong("--output-key-field and --output-headers-field are the same");
  }
  if (o.text != encoding::utf8 && !is_text(in) && !is_text(out)) {
    wrong("--encoding goes with --format lines and records only: JSON is UTF-8");
  }
  if (o.delimiter != '\n' && in != format::lines && out != format::lines) {
    wrong("--delimiter goes with --format lines only");
  }
  if (o.delimiter != '\n' && (in != format::lines || out != format::lines)) {
    wrong("--delimiter goes with --format lines for both input and output");
  }
  if ((!o.columns.empty()) && out != format::csv) {
    wrong("--columns goes with --output-format csv only");
  }
  if (std::set(o.columns.begin(), o.columns.end()).size() != o.columns.size()) {
    wrong("--columns: the same column is named twice");
  }
  if (o.separator != ',' && in != format::csv && out != format::csv) {
    wrong("--separator goes with --format csv only");
  }
  if (o.separator == '"' || o.separator == '\n' || o.separator == '\r') {
    wrong("--separator cannot be a quote or the end of a line");
  }
  if (o.origin && out != format::records && out != format::csv) {
    wrong("--origin goes with --output-format records and csv only");
  }
  if (!o.places.empty() && (!o.output_directory.empty() || o.threads > 1 || !o.checkpoint.empty() || out == format::batches)) {
    wrong("--output-places, which diff needs, goes with one output file and one thread, and without --checkpoint and "
          "--output-format batches");
  }
  if (o.uncommitted && in != format::batches) {
    wrong("--uncommitted goes with --input-format batches only");
  }
  if (o.partial_batch && in != format::batches) {
    wrong("--ignore-partial-batch goes with --input-format batches only");
  }
  if (o.output_compression != WASM_COMPRESSION_NONE && out != format::batches) {
    wrong("--output-compression goes with --output-format batches only");
  }
  if (o.compression != WASM_COMPRESSION_NONE && in == format::batches) {
    wrong("--compression goes without --input-format batches, which have one already");
  }
  if (out == format::batches && o.output_directory.empty() && o.output_topics.size() > 1) {
    wrong("--output-format batches does not tell topics apart: with several, use --output-dir");
  }
  if (o.checkpoint.empty()) {
    return;
  }
  if (o.input == "-") {
    wrong("--checkpoint goes with an INPUT that is a file: standard input cannot be read again");
  }
  if (o.output == "-" && o.output_directory.empty()) {
    wrong("--checkpoint goes with --output FILE or --output-dir");
  }
  if (o.dead_letters == "-") {
    wrong("--checkpoint goes with a --dead-letter that is a file");
  }
  if (o.threads > 1) {
    wrong("--checkpoint goes with one thread: several write output in any order");
  }
  if (!o.remote.empty() || o.compression != WASM_COMPRESSION_NONE || out == format::batches) {
    wrong("--checkpoint goes without --remote, --compression and --output-format batches");
  }
}

}  // namespace tool
