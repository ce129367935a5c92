// SPDX-License-Identifier: Apache-2.0
//
// Where output goes: standard output or files that get their names when they are complete.
#pragma once

#include "file.hh"

#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// A file being written. It has a temporary name until `commit`. It is removed if that is not called.
class output_file {
 public:
  /// `-` is standard output. Throws `failure`.
  explicit output_file(const std::string& path);
  output_file(output_file&&) noexcept = default;
  output_file& operator=(output_file&&) = delete;
  ~output_file();

  /// Throws `failure`.
  void write(std::string_view bytes);
  /// Gives the file its name and replaces an existing file. Throws `failure`.
  void commit();
  /// Removes the temporary file. It may still be written to.
  void remove() noexcept;

 private:
  std::string _path;
  std::string _temporary;  ///< Empty for what is written in place: standard output, devices, pipes.
  descriptor _file;
};

/// The files of all output topics.
class output_files {
 public:
  struct settings {
    std::string file = "-";
    std::string directory;  ///< If not empty: a file per topic in it, instead of `file`.
    std::string suffix;     ///< Of those files' names, after the topic's.
    std::string dead_letters = {};  ///< If not empty: a file for records of no topic.
  };

  output_files(const settings& s, const std::vector<std::string>& topics);

  [[nodiscard]] std::size_t count() const noexcept { return _files.size(); }
  /// Whether it is the number of a topic and not of the dead letters.
  [[nodiscard]] bool is_topic(std::size_t topic) const noexcept { return topic < _topics; }
  /// Number of the file for a topic's records. Dead letters have the number behind the last topic's.
  [[nodiscard]] std::size_t file_of(std::size_t topic) const noexcept {
    if (!is_topic(topic)) {
      return count() - 1;
    }
    return _file_per_topic ? topic : 0;
  }
  void write(std::size_t file, std::string_view bytes) { _files[file].write(bytes); }
  void commit();
  void remove() noexcept;

 private:
  std::size_t _topics;
  bool _file_per_topic;
  std::vector<output_file> _files;
};

}  // namespace tool
