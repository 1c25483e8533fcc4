#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collectives/wide/exchange/exchange_feedback.hpp"
#include "collectives/wide/exchange/link_peers.hpp"
#include "collectives/wide/protocol/messages.hpp"
#include "libtrain/rounds/bandwidth.hpp"
#include "libtrain/rounds/fragments.hpp"
#include "libtrain/rounds/outer_state.hpp"

namespace train {

/// One lane's exchanges with the same lane of other clusters, one attempt at a time, on a thread of
/// its own: of one fragment, or of several one after another. What an attempt sends stays as it is
/// until commit() or forget(): a retry sends the same.
class LaneExchange {
 public:
  struct Options {
    wide::Codec codec = wide::Codec::int8;
    std::chrono::milliseconds transfer_max{std::chrono::minutes(10)};
    /// A link without any stream for so long fails the attempt.
    std::chrono::milliseconds link_down_max{8'000};
    /// A failure that may be the echo of another cluster's is said only after this time: until
    /// then the coordinator has called the attempt off, if it was one.
    std::chrono::milliseconds echo_max{20'000};
    /// Names the tensor that a value of a fragment is of.
    std::function<std::string(int fragment, std::size_t value)> tensor_of{};
    /// Of all that it holds; must outlive it.
    std::pmr::memory_resource* memory = std::pmr::get_default_resource();
  };
  /// `counts`: this lane's values of each fragment.
  LaneExchange(Options options, std::span<const std::size_t> counts);
  ~LaneExchange();
  LaneExchange(const LaneExchange&) = delete;
  LaneExchange& operator=(const LaneExchange&) = delete;

  /// The next exchange takes these fragments; others' memory is given back.
  void use(FragmentRange fragments);
  /// What it sends of one of them; not to be touched while an attempt runs.
  std::span<float> values(int fragment) { return part(fragment).values; }
  /// Once the attempt is done: the same bits in all clusters.
  std::span<const float> mean(int fragment) { return part(fragment).mean; }
  /// Σ mean² over the fragments, in a fixed order.
  double mean_squares() const { return mean_squares_; }
  /// What this lane can send per second, from the exchanges that were committed; 0: not known.
  std::uint64_t bandwidth_kbit() const { return bandwidth_.kbit(); }

  /// Begins an attempt. `links` go to this lane of other clusters, by name.
  void start(const wide::Start& start, const std::string& self,
             const std::map<std::string, wide::Link>& links);
  /// Gives the attempt up, here and towards the others. Returns when its thread has ended.
  void stop(const std::string& reason);

  enum class Stage : std::uint8_t { idle, running, done, failed };
  struct Outcome {
    Stage stage = Stage::idle;
    std::string peer;   ///< who did not answer; empty: nobody in particular
    std::string fatal;  ///< not empty: no attempt can help
  };
  /// Also looks after the links. Cheap.
  Outcome poll();

  /// The attempt's result counts: its encodings' losses are carried into the next exchange.
  void commit();
  /// The values will not be sent again.
  void forget();
  /// As if nothing had ever been exchanged.
  void reset();

 private:
  struct Part {
    std::size_t count = 0;
    LaneValues values, mean;
    wide::ExchangeFeedback feedback;
  };
  struct Attempt;
  Part& part(int fragment) { return parts_.at(static_cast<std::size_t>(fragment)); }
  std::span<Part> used();
  void run(Attempt& attempt);
  void exchange(Attempt& attempt);
  std::string not_finite() const;
  void fail(Attempt& attempt, std::string peer, std::string fatal);

  Options options_;
  std::vector<Part> parts_;  // by fragment
  FragmentRange used_{0, 0};
  double mean_squares_ = 0.0;
  Bandwidth bandwidth_;
  bool encoded_ = false;     // the last attempt went through the codec
  bool has_weight_ = false;  // and this cluster's values counted in it
  std::unique_ptr<Attempt> attempt_;
};

}  // namespace train
