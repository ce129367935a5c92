// SPDX-License-Identifier: Apache-2.0
//
// Where output goes: standard output or files that get their names when they are complete.
#pragma once

#include "file.hh"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// A file being written.
class output_file {
 public:
  enum class mode {
    replace,    ///< Has a temporary name until `commit`. It is removed if that is not called.
    append,     ///< Has its name from the beginning and keeps what is in it.
    resumable,  ///< As `replace`, but its temporary name is known and it is not removed.
    resumable_append,  ///< As `resumable`, but `commit` appends it to an existing file.
  };

  /// `-` is standard output. A `secret` can be read by its owner only. Throws `failure`.
  explicit output_file(const std::string& path, mode how = mode::replace, bool secret = false);
  output_file(output_file&&) noexcept = default;
  output_file& operator=(output_file&&) = delete;
  ~output_file();

  /// Throws `failure`.
  void write(std::string_view bytes);
  /// Gives the file its name and replaces an existing file, or is appended to it. `append_at` is what `append_at` was
  /// when that began. Throws `failure`.
  void commit(std::uint64_t append_at = 0);
  /// Removes the temporary file. It may still be written to.
  void remove() noexcept;

  /// Bytes in the file.
  [[nodiscard]] std::uint64_t size() const noexcept { return _size; }
  /// Where in the other file the bytes will be if they are appended. Throws `failure`.
  [[nodiscard]] std::uint64_t append_at() const;
  /// Cuts the file to a size that it had. Throws `failure`.
  void cut(std::uint64_t size);
  /// Waits until the bytes are on the disk. Throws `failure`.
  void sync();
  /// Whether it is what a terminal shows.
  [[nodiscard]] bool is_terminal() const noexcept;

 private:
  void open_plain(int flags);

  std::string _path;
  std::string _temporary;  ///< Empty for what is written in place: standard output, devices, pipes, `append`.
  mode _mode;
  descriptor _file;
  std::uint64_t _size = 0;
};

/// The files of all output topics.
class output_files {
 public:
  struct settings {
    std::string file = "-";
    std::string directory;  ///< If not empty: a file per topic in it, instead of `file`.
    std::string suffix;     ///< Of those files' names, after the topic's.
    /// If not empty: a file for records of no topic, which is appended to: at once, or if resumable when all is
    /// complete.
    std::string dead_letters = {};
    /// If not empty: a file that says for each output record whose it is.
    std::string places = {};
    bool resumable = false;
    bool batches = false;             ///< Kafka's batches: their offsets are counted here.
    std::function<std::string()> header = {};  ///< What each topic's file begins with.
  };

  /// What a checkpoint has of the files.
  struct state {
    std::vector<std::uint64_t> sizes;
    /// When all is complete: where dead letters will begin in the file that they are appended to.
    std::uint64_t append_at = 0;
    friend bool operator==(const state&, const state&) = default;
  };

  output_files(const settings& s, const std::vector<std::string>& topics);
  /// Gives resumable files that are complete their names, as far as they have none. `complete` is their state.
  /// Throws `failure`.
  static void finish(const settings& s, const std::vector<std::string>& topics, const state& complete);

  [[nodiscard]] std::size_t count() const noexcept { return _files.size(); }
  /// Number of the topics, which is that of the dead letters.
  [[nodiscard]] std::size_t topics() const noexcept { return _topics; }
  /// Whether it is the number of a topic and not of the dead letters.
  [[nodiscard]] bool is_topic(std::size_t topic) const noexcept { return topic < _topics; }
  /// Number of the file for a topic's records. Dead letters have the number behind the last topic's.
  [[nodiscard]] std::size_t file_of(std::size_t topic) const noexcept {
    if (!is_topic(topic)) {
      return topic_files();
    }
    return _file_per_topic ? topic : 0;
  }
  /// Number of the file for the places of output records, if there is one.
  [[nodiscard]] std::optional<std::size_t> places() const noexcept { return _places; }
  void write(std::size_t file, std::string_view bytes);
  void commit();
  void remove() noexcept;

  [[nodiscard]] state get() const;
  /// As `get` when all is written. `commit` then goes by it.
  [[nodiscard]] state complete();
  /// Cuts the files to what they had. Throws `failure`.
  void set(const state& s);
  void sync();
  /// Whether a terminal shows some of the output.
  [[nodiscard]] bool on_terminal() const noexcept;

 private:
  [[nodiscard]] std::size_t topic_files() const noexcept { return _file_per_topic ? _topics : 1; }
  [[nodiscard]] bool has_topics(std::size_t file) const noexcept { return file < topic_files(); }
  void begin(std::size_t file);
  void number(std::size_t file, std::string& batches);

  std::size_t _topics;
  bool _file_per_topic;
  bool _batches;
  std::function<std::string()> _header;
  std::vector<output_file> _files;
  std::optional<std::size_t> _places;
  std::vector<bool> _begun;
  std::vector<std::int64_t> _next_offset;
  std::uint64_t _append_at = 0;
};

}  // namespace tool
