#pragma once

#include "collectives/wide/codec/error_feedback.hpp"
#include "collectives/wide/codec/sum_feedback.hpp"

namespace train::wide {

/// What an exchange's two encodings lose, to be sent in later ones: of this cluster's values, and
/// of the means of the slice that it sums. Counts when the exchange does.
struct ExchangeFeedback {
  /// `memory`, which an exchange's buffers come from, too, must outlive it.
  ExchangeFeedback(Codec codec, std::size_t count,
                   std::pmr::memory_resource* resource = std::pmr::get_default_resource())
      : memory(resource), values(codec, count, resource), sums(codec, resource) {}

  Codec codec() const { return values.codec(); }
  std::size_t count() const { return values.count(); }

  /// The exchange has been applied. With a weight of zero nobody took this cluster's values, and it
  /// still owes what it owed before.
  void commit(bool has_weight = true) {
    sums.commit();
    has_weight ? values.commit() : values.discard();
  }
  /// The exchange will not be retried with these values.
  void discard() { values.discard(); }
  /// As if nothing had ever been exchanged.
  void reset() {
    values.reset();
    sums.reset();
  }

  std::pmr::memory_resource* memory;
  ErrorFeedback values;
  SumFeedback sums;
};

}  // namespace train::wide
