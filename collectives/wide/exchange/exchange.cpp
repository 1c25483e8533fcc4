#include "collectives/wide/exchange/exchange.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <numeric>

#include <fmt/format.h>

namespace train::wide {
namespace {

__extension__ using Wide = unsigned __int128;

void check(const ExchangePlan& plan, const Peers& peers, const ExchangeFeedback& feedback,
           std::size_t values, std::size_t mean) {
  const auto clusters = static_cast<std::size_t>(peers.size());
  const std::size_t owned = std::accumulate(plan.owned.begin(), plan.owned.end(), std::size_t{0});
  invariant(plan.owned.size() == clusters && plan.weights.size() == clusters,
            "a plan has a part and a weight for each cluster");
  invariant(owned == values && values == mean && values == feedback.count(),
            "the parts of a plan add up to the lane's values");
  invariant(plan.chunk_values > 0 && plan.chunk_values % codec_block == 0 && plan.bytes_ahead > 0,
            "chunks are whole blocks");
  invariant(std::accumulate(plan.weights.begin(), plan.weights.end(), std::uint64_t{0}) > 0,
            "somebody trained tokens");
}

std::size_t chunks_of(const ExchangePlan& plan, std::size_t cluster) {
  return (plan.owned[cluster] + plan.chunk_values - 1) / plan.chunk_values;
}

std::size_t most_chunks(const ExchangePlan& plan) {
  std::size_t most = 0;
  for (std::size_t i = 0; i < plan.owned.size(); ++i) most = std::max(most, chunks_of(plan, i));
  return most;
}

// A window of bytes, not of chunks: codecs make chunks small, but round trips no shorter.
std::size_t chunks_ahead(const ExchangePlan& plan, Codec codec) {
  const std::size_t chunk_bytes = encoded_bytes(codec, plan.chunk_values);
  const std::size_t ahead = (plan.bytes_ahead + chunk_bytes - 1) / chunk_bytes;
  return std::clamp<std::size_t>(ahead, 1, std::max<std::size_t>(1, most_chunks(plan)));
}

// Chunks of one kind that have memory at the same time.
std::size_t chunk_window(const ExchangePlan& plan, Codec codec) {
  return 2 * chunks_ahead(plan, codec) + 1;
}

// One exchange under way.
class Run {
 public:
  Run(Peers& peers, const ExchangePlan& plan, ExchangeFeedback& feedback,
      std::span<const float> values, std::span<float> mean)
      : peers_(peers),
        plan_(plan),
        feedback_(feedback),
        values_(values),
        mean_(mean),
        clusters_(static_cast<std::size_t>(peers.size())),
        self_(static_cast<std::size_t>(peers.self())),
        ahead_(chunks_ahead(plan, feedback.codec())),
        window_(chunk_window(plan, feedback.codec())),
        lanes_(clusters_) {
    std::size_t begin = 0;
    std::uint64_t id = plan.first_id;
    for (std::size_t cluster = 0; cluster < clusters_; ++cluster) {
      begins_.push_back(begin);
      ids_.push_back(id);
      begin += plan_.owned[cluster];
      id += 2 * chunks_of(plan_, cluster);
      if (cluster == self_) continue;
      for (auto* slots : lanes_[cluster].all()) *slots = empty_slots();
    }
    feedback_.sums.begin(begins_[self_], plan_.owned[self_]);
    own_sums_ = empty_slots();
    for (Slot& slot : own_sums_) slot.works.resize(clusters_);
  }

  // Buffers outlive the works that use them, however the exchange ends.
  ~Run() {
    for (Lane& lane : lanes_) {
      for (auto* slots : lane.all()) {
        for (Slot& slot : *slots) end(slot);
      }
    }
    for (Slot& slot : own_sums_) end(slot);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Step s sends chunk s of every part to its owner, sums the chunk that was sent ahead_ steps ago,
  // and takes the sums that others made of the one before that.
  void run() {
    for (std::size_t step = 0; step < most_chunks(plan_) + 2 * ahead_; ++step) {
      expect(step);
      send_to_owners(step);
      if (step >= ahead_) sum_own(step - ahead_);
      if (step >= 2 * ahead_) take_sums(step - 2 * ahead_);
    }
    for (Lane& lane : lanes_) {
      for (Slot& slot : lane.to_owner) wait(slot);
    }
    for (Slot& slot : own_sums_) wait(slot);
  }

 private:
  struct Slot {
    explicit Slot(std::pmr::memory_resource* memory) : bytes(memory) {}

    std::pmr::vector<std::byte> bytes;
    std::vector<Work> works = std::vector<Work>(1);
  };
  // Between this cluster and another one.
  struct Lane {
    std::vector<Slot> to_owner;     // chunks of its part, as this cluster has them
    std::vector<Slot> from_others;  // chunks of this cluster's part, as it has them
    std::vector<Slot> sums;         // chunks of its part, summed

    std::array<std::vector<Slot>*, 3> all() { return {&to_owner, &from_others, &sums}; }
  };
  struct Chunk {
    std::size_t begin, count;
    std::uint64_t id;  // of the values; the sums have the next one
  };

  bool has(std::size_t cluster, std::size_t chunk) const {
    return chunk < chunks_of(plan_, cluster);
  }
  Chunk chunk_of(std::size_t cluster, std::size_t chunk) const {
    const std::size_t first = chunk * plan_.chunk_values;
    return {begins_[cluster] + first, std::min(plan_.chunk_values, plan_.owned[cluster] - first),
            ids_[cluster] + 2 * chunk};
  }

  std::vector<Slot> empty_slots() const {
    std::vector<Slot> slots;
    slots.reserve(window_);
    while (slots.size() < window_) slots.emplace_back(feedback_.memory);
    return slots;
  }

  Slot& reuse(std::vector<Slot>& slots, std::size_t chunk, std::size_t count) const {
    Slot& slot = slots[chunk % window_];
    wait(slot);
    slot.bytes.resize(encoded_bytes(feedback_.codec(), count));
    return slot;
  }

  static void wait(Slot& slot) {
    for (Work& work : slot.works) {
      work.wait();
      work = Work();
    }
  }

  static void end(Slot& slot) {
    for (Work& work : slot.works) {
      try {
        work.wait();
      } catch (const std::exception&) {
        // The first failure is on its way already.
      }
    }
  }

  void expect(std::size_t step) {
    for (std::size_t other = 0; other < clusters_; ++other) {
      if (other == self_) continue;
      const auto from = static_cast<int>(other);
      if (has(self_, step)) {
        const Chunk chunk = chunk_of(self_, step);
        Slot& slot = reuse(lanes_[other].from_others, step, chunk.count);
        slot.works[0] = peers_.receive(from, chunk.id, slot.bytes);
      }
      if (has(other, step)) {
        const Chunk chunk = chunk_of(other, step);
        Slot& slot = reuse(lanes_[other].sums, step, chunk.count);
        slot.works[0] = peers_.receive(from, chunk.id + 1, slot.bytes);
      }
    }
  }

  void send_to_owners(std::size_t step) {
    for (std::size_t owner = 0; owner < clusters_; ++owner) {
      if (owner == self_ || !has(owner, step)) continue;
      const Chunk chunk = chunk_of(owner, step);
      Slot& slot = reuse(lanes_[owner].to_owner, step, chunk.count);
      feedback_.values.encode(chunk.begin, values_.subspan(chunk.begin, chunk.count), slot.bytes);
      // Others wait for these before they go on; for sums nobody waits until the end.
      slot.works[0] =
          peers_.send(static_cast<int>(owner), chunk.id, slot.bytes, Peers::Priority::high);
    }
  }

  void sum_own(std::size_t step) {
    if (!has(self_, step)) return;
    const Chunk chunk = chunk_of(self_, step);
    const Codec codec = feedback_.codec();
    Slot& out = reuse(own_sums_, step, chunk.count);
    // For now the place of this cluster's own contribution, encoded as the others' are.
    feedback_.values.encode(chunk.begin, values_.subspan(chunk.begin, chunk.count), out.bytes);
    const std::span<float> sum = mean_.subspan(chunk.begin, chunk.count);
    std::ranges::fill(sum, 0.0f);
    for (std::size_t cluster = 0; cluster < clusters_; ++cluster) {
      Slot& slot = cluster == self_ ? out : lanes_[cluster].from_others[step % window_];
      if (cluster != self_) wait(slot);
      decode_add(codec, slot.bytes, weight_of(cluster), sum);
    }
    feedback_.sums.quantise(chunk.begin, sum, out.bytes);
    for (std::size_t other = 0; other < clusters_; ++other) {
      if (other == self_) continue;
      out.works[other] =
          peers_.send(static_cast<int>(other), chunk.id + 1, out.bytes, Peers::Priority::low);
    }
  }

  void take_sums(std::size_t step) {
    for (std::size_t owner = 0; owner < clusters_; ++owner) {
      if (owner == self_ || !has(owner, step)) continue;
      const Chunk chunk = chunk_of(owner, step);
      Slot& slot = lanes_[owner].sums[step % window_];
      wait(slot);
      decode(feedback_.codec(), slot.bytes, mean_.subspan(chunk.begin, chunk.count));
    }
  }

  float weight_of(std::size_t cluster) const {
    const std::uint64_t total =
        std::accumulate(plan_.weights.begin(), plan_.weights.end(), std::uint64_t{0});
    return static_cast<float>(static_cast<double>(plan_.weights[cluster]) /
                              static_cast<double>(total));
  }

  Peers& peers_;
  const ExchangePlan& plan_;
  ExchangeFeedback& feedback_;
  std::span<const float> values_;
  std::span<float> mean_;
  std::size_t clusters_;
  std::size_t self_;
  std::size_t ahead_;
  std::size_t window_;
  std::vector<std::size_t> begins_;
  std::vector<std::uint64_t> ids_;
  std::vector<Lane> lanes_;
  std::vector<Slot> own_sums_;
};

}  // namespace

std::vector<std::size_t> owned_by_speed(std::size_t count, std::span<const std::uint64_t> speed) {
  const std::uint64_t total = std::accumulate(speed.begin(), speed.end(), std::uint64_t{0});
  invariant(total > 0, "some cluster has a link");
  const std::size_t blocks = (count + codec_block - 1) / codec_block;
  std::vector<std::size_t> owned;
  std::uint64_t speed_before = 0;
  std::size_t begin = 0;
  for (const std::uint64_t own : speed) {
    speed_before += own;
    // Bytes per second times blocks may pass 64 bits.
    const auto end_block =
        static_cast<std::size_t>(static_cast<Wide>(blocks) * speed_before / total);
    const std::size_t end = std::min(count, end_block * codec_block);
    owned.push_back(end - begin);
    begin = end;
  }
  return owned;
}

std::uint64_t ids_needed(const ExchangePlan& plan) {
  std::uint64_t ids = 0;
  for (std::size_t i = 0; i < plan.owned.size(); ++i) ids += 2 * chunks_of(plan, i);
  return ids;
}

std::uint64_t bytes_sent(const ExchangePlan& plan, Codec codec, int cluster) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < plan.owned.size(); ++i) {
    const std::size_t encoded = encoded_bytes(codec, plan.owned[i]);
    bytes += static_cast<int>(i) == cluster ? (plan.owned.size() - 1) * encoded : encoded;
  }
  return bytes;
}

std::uint64_t buffer_bytes(const ExchangePlan& plan, Codec codec, int cluster) {
  const std::size_t window = chunk_window(plan, codec);
  // Chunks have slots in turn, whose memory stays as large as the first of them was.
  const auto slots = [&](std::size_t owner) {
    std::uint64_t bytes = 0;
    const std::size_t owned = plan.owned[owner];
    for (std::size_t i = 0; i < std::min(window, chunks_of(plan, owner)); ++i) {
      bytes += encoded_bytes(codec, std::min(plan.chunk_values, owned - i * plan.chunk_values));
    }
    return bytes;
  };
  const auto self = static_cast<std::size_t>(cluster);
  std::uint64_t bytes = slots(self);
  for (std::size_t other = 0; other < plan.owned.size(); ++other) {
    if (other != self) bytes += 2 * slots(other) + slots(self);
  }
  return bytes;
}

void exchange(Peers& peers, const ExchangePlan& plan, ExchangeFeedback& feedback,
              std::span<const float> values, std::span<float> mean) {
  check(plan, peers, feedback, values.size(), mean.size());
  Run run(peers, plan, feedback, values, mean);
  try {
    run.run();
  } catch (const NotEncodable& error) {
    // No transfer failed: each side would wait for what the other one will not send.
    peers.stop(error.what());
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    peers.stop(error.what());
    throw;
  }
}

}  // namespace train::wide
