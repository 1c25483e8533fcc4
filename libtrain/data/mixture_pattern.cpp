#include "libtrain/data/mixture_pattern.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr double kUnits = 1u << 31;  // so small that count_of_lighter() stays within 64 bits

std::vector<std::uint64_t> shares_of(const std::vector<double>& weights) {
  invariant(!weights.empty(), "a mixture has sources");
  const double largest = std::ranges::max(weights);
  double sum = 0.0;  // of weights that cannot overflow
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] > 0.0) || !std::isfinite(weights[i])) {
      throw Error(
          fmt::format("source {} of a mixture has the weight {}; it must be positive and "
                      "finite",
                      i + 1, weights[i]));
    }
    sum += weights[i] / largest;
  }
  std::vector<std::uint64_t> shares;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double share = weights[i] / largest / sum;
    shares.push_back(static_cast<std::uint64_t>(std::llround(share * kUnits)));
    if (shares.back() == 0) {
      throw Error(
          fmt::format("source {} of a mixture has the weight {}, {:.2g} of all: it would "
                      "give less than one sample in four billion; leave it out",
                      i + 1, weights[i], share));
    }
  }
  return shares;
}

}  // namespace

MixturePattern::MixturePattern(const std::vector<double>& weights) {
  using Root = std::pair<std::uint64_t, std::size_t>;  // its weight, its node
  std::priority_queue<Root, std::vector<Root>, std::greater<>> roots;
  for (const std::uint64_t share : shares_of(weights)) {
    roots.emplace(share, nodes_.size());
    nodes_.push_back({.weight = share});
  }
  const auto take_lightest = [&] {
    const std::size_t node = roots.top().second;
    roots.pop();
    nodes_[node].parent = nodes_.size();
    return node;
  };
  while (roots.size() > 1) {
    const std::size_t lighter = take_lightest();
    const std::size_t heavier = take_lightest();
    const std::uint64_t weight = nodes_[lighter].weight + nodes_[heavier].weight;
    roots.emplace(weight, nodes_.size());
    nodes_.push_back({.weight = weight, .lighter = lighter, .heavier = heavier});
  }
}

/// floor(end p / t). Its parts: below 2^64, as t is about 2^31 and p at most half of it.
std::uint64_t MixturePattern::count_of_lighter(const Node& node, std::uint64_t end) const {
  const std::uint64_t part = nodes_[node.lighter].weight;
  return end / node.weight * part + end % node.weight * part / node.weight;
}

MixturePattern::Slot MixturePattern::at(std::uint64_t position) const {
  std::size_t at = nodes_.size() - 1;
  while (at >= sources()) {
    const Node& node = nodes_[at];
    const std::uint64_t before = count_of_lighter(node, position);
    const bool is_lighter = count_of_lighter(node, position + 1) > before;
    at = is_lighter ? node.lighter : node.heavier;
    position = is_lighter ? before : position - before;
  }
  return {at, position};
}

std::uint64_t MixturePattern::count(std::size_t source, std::uint64_t end) const {
  invariant(source < sources(), "a source of the mixture");
  return count_at(source, end);
}

std::uint64_t MixturePattern::count_at(std::size_t node, std::uint64_t end) const {
  if (node + 1 == nodes_.size()) return end;
  const Node& parent = nodes_[nodes_[node].parent];
  const std::uint64_t above = count_at(nodes_[node].parent, end);
  const std::uint64_t lighter = count_of_lighter(parent, above);
  return node == parent.lighter ? lighter : above - lighter;
}

}  // namespace train
