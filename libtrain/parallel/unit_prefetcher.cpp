#include "libtrain/parallel/unit_prefetcher.hpp"

#include <algorithm>

namespace train {

UnitPrefetcher::UnitPrefetcher(std::span<const ModelUnit> units, const std::vector<Bucket>& buckets,
                               ParameterBuckets& values)
    : units_(units.begin(), units.end()), buckets_of_(units.size()), values_(values) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    const auto& used = units_[unit].parameters;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      const bool needed = std::ranges::any_of(buckets[i].places, [&](const Bucket::Place& place) {
        return std::ranges::find(used, place.parameter) != used.end();
      });
      if (needed && buckets[i].gathered) buckets_of_[unit].push_back(i);
    }
  }
}

void UnitPrefetcher::before_forward(std::size_t unit, bool recording) {
  for (const std::size_t bucket : buckets_of_[unit]) values_.require(bucket);
  if (unit + 1 < units_.size()) {
    for (const std::size_t bucket : buckets_of_[unit + 1]) values_.fetch(bucket);
  } else if (recording) {
    fetch_before(unit);
  }
}

void UnitPrefetcher::after_forward(std::size_t unit) {
  for (const std::size_t bucket : buckets_of_[unit]) values_.release(bucket);
}

void UnitPrefetcher::before_backward(std::size_t unit) {
  if (!units_[unit].backward_reads_values) return;
  for (const std::size_t bucket : buckets_of_[unit]) values_.require(bucket);
  fetch_before(unit);
}

void UnitPrefetcher::after_backward(std::size_t unit) {
  if (!units_[unit].backward_reads_values) return;
  for (const std::size_t bucket : buckets_of_[unit]) values_.release(bucket);
}

// The unit that the backward pass will need next.
void UnitPrefetcher::fetch_before(std::size_t unit) {
  while (unit-- > 0) {
    if (!units_[unit].backward_reads_values || buckets_of_[unit].empty()) continue;
    for (const std::size_t bucket : buckets_of_[unit]) values_.fetch(bucket);
    return;
  }
}

}  // namespace train
