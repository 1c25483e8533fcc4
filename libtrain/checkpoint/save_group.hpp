#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.hpp"

namespace train {

/// Thrown out of a SaveGroup's calls when the save was given up.
class SaveGivenUp : public std::exception {
 public:
  const char* what() const noexcept override { return "the save was given up"; }
};

/// The ranks of a save as they agree on how it went. Another thread may give it up: a call that
/// waits then throws SaveGivenUp within a tenth of a second, and the communicator must be destroyed
/// before this.
class SaveGroup {
 public:
  /// `given_up` may be null.
  explicit SaveGroup(Communicator& ranks, const std::atomic<bool>* given_up = nullptr)
      : ranks_(ranks), given_up_(given_up) {}

  int rank() const { return ranks_.rank(); }
  int size() const { return ranks_.size(); }

  /// Runs `part` on this rank. When it has thrown on any rank, throws an Error with the message of
  /// the lowest of those on all ranks. Collective.
  template <typename Part>
  void together(const Part& part) {
    std::string failure;
    try {
      part();
    } catch (const std::exception& error) {
      failure = *error.what() == '\0' ? "unknown failure" : error.what();
    }
    throw_first(failure);
  }

  /// Root's words on every rank. Collective.
  void broadcast(std::span<std::int64_t> words, int root);
  /// All ranks' words, in rank order; counts[r] of rank r. Collective.
  std::vector<std::int64_t> all_gather(std::span<const std::int64_t> words,
                                       std::span<const std::size_t> counts);
  /// The text of rank `root` on every rank. Collective.
  std::string said_by(int root, const std::string& text);

 private:
  void throw_first(const std::string& failure);
  std::vector<std::int64_t>& keep(std::span<const std::int64_t> words);
  void wait(Work work);

  Communicator& ranks_;
  const std::atomic<bool>* given_up_;
  // What calls under way read and write, should a wait be given up.
  std::vector<std::unique_ptr<std::vector<std::int64_t>>> kept_;
};

}  // namespace train
