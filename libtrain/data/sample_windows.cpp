#include "libtrain/data/sample_windows.hpp"

#include <algorithm>

#include "collectives/error.hpp"

namespace train {
namespace {

/// Keeps the draw of offsets apart from the draw of orders.
constexpr std::uint64_t kOffsetStream = 0x6f66667365747321u;

}  // namespace

SampleWindows::SampleWindows(std::uint64_t tokens, std::size_t context, std::uint64_t seed)
    : tokens_(tokens), context_(context), seed_(seed) {
  invariant(context > 0 && tokens > context, "the tokens hold a sample");
}

/// How many offsets there are to begin at: at most a window, and leaving room for one.
std::uint64_t SampleWindows::offsets() const {
  return std::min<std::uint64_t>(context_, tokens_ - context_);
}

/// Blocks of offsets() epochs use each offset once, in a drawn order. So all blocks have equally
/// many samples, and locate() need not walk through the epochs before.
SampleWindows::Cut SampleWindows::cut_of(std::uint64_t epoch) const {
  const SampleOrder order(offsets(), seed_ ^ kOffsetStream, epoch / offsets());
  const std::uint64_t offset = order(epoch % offsets());
  return {offset, (tokens_ - 1 - offset) / context_};
}

SampleWindows::Place SampleWindows::locate(std::uint64_t sample) const {
  const std::uint64_t most = (tokens_ - 1) / context_;
  const std::uint64_t spare = (tokens_ - 1) % context_;
  const std::uint64_t short_epochs = offsets() > spare + 1 ? offsets() - spare - 1 : 0;
  const std::uint64_t block = offsets() * most - short_epochs;
  Place at{sample / block * offsets(), sample % block};
  for (std::uint64_t count; at.index >= (count = samples_per_epoch(at.epoch)); ++at.epoch) {
    at.index -= count;
  }
  return at;
}

double SampleWindows::epochs_in(std::uint64_t samples) const {
  const Place at = locate(samples);
  return static_cast<double>(at.epoch) +
         static_cast<double>(at.index) / static_cast<double>(samples_per_epoch(at.epoch));
}

SampleWindows::Walk::Walk(const SampleWindows& windows, std::uint64_t first)
    : windows_(windows),
      place_(windows.locate(first)),
      cut_(windows.cut_of(place_.epoch)),
      order_(cut_.samples, windows.seed_, place_.epoch) {}

std::uint64_t SampleWindows::Walk::next() {
  if (place_.index == cut_.samples) {
    place_ = {place_.epoch + 1, 0};
    cut_ = windows_.cut_of(place_.epoch);
    order_ = SampleOrder(cut_.samples, windows_.seed_, place_.epoch);
  }
  return cut_.offset + order_(place_.index++) * windows_.context_;
}

}  // namespace train
