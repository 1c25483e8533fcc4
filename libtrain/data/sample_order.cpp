#include "libtrain/data/sample_order.hpp"

#include <algorithm>
#include <bit>

#include "collectives/error.hpp"

namespace train {
namespace {

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014): a bijection of 64-bit words in which every input bit moves every output bit.
std::uint64_t mix(std::uint64_t word) {
  word += 0x9e3779b97f4a7c15u;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

std::uint64_t mask_of(int bits) {
  return (std::uint64_t{1} << bits) - 1;
}

}  // namespace

SampleOrder::SampleOrder(std::uint64_t size, std::uint64_t seed, std::uint64_t epoch)
    : size_(size) {
  invariant(size > 0 && size <= std::uint64_t{1} << 63, "an order has 1 to 2^63 samples");
  // A floor of 64 keeps the halves wide enough to reach odd and even permutations of a few samples.
  const int bits = std::max(6, static_cast<int>(std::bit_width(size - 1)));
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
  std::uint64_t key = mix(mix(seed) ^ epoch);
  for (std::uint64_t& round_key : keys_) round_key = key = mix(key);
}

std::uint64_t SampleOrder::permute(std::uint64_t value) const {
  std::uint64_t low = value & mask_of(low_bits_);
  std::uint64_t high = value >> low_bits_;
  for (int round = 0; round < kRounds; round += 2) {
    high ^= mix(low ^ keys_[round]) & mask_of(high_bits_);
    low ^= mix(high ^ keys_[round + 1]) & mask_of(low_bits_);
  }
  return high << low_bits_ | low;
}

std::uint64_t SampleOrder::operator()(std::uint64_t position) const {
  invariant(position < size_, "position within the epoch");
  do {
    position = permute(position);
  } while (position >= size_);
  return position;
}

}  // namespace train
