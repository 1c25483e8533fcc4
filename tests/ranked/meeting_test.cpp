// What transports owe to one that is put on top of them: meetings about elements that they must not
// touch, with words for all ranks beside the call.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/ordered/ordered_communicator.hpp"
#include "tests/support/ranked.hpp"

namespace train {
namespace {

using detail::Kind;
using detail::Operation;
using detail::Place;

// An address that nobody may read: small messages travel with the meeting if they are the host's.
std::byte* elsewhere() {
  return reinterpret_cast<std::byte*>(64);
}

Operation call_on_device(std::uint64_t sequence) {
  Operation operation{.kind = Kind::all_reduce};
  operation.sequence = sequence;
  operation.called = Clock::now();
  operation.deadline = operation.called + std::chrono::minutes(1);
  operation.send = {elsewhere(), 4, DataType::f32};
  operation.receive = {elsewhere(), 4, DataType::f32};
  operation.place = Place::device;
  return operation;
}

void part(detail::Transport& transport, const Operation& operation) {
  Operation parting{.kind = Kind::barrier};
  parting.sequence = operation.sequence;
  parting.deadline = operation.deadline;
  CHECK(transport.move(parting) == 0);
}

}  // namespace

TEST_CASE("ranks meet about a device's elements, with words of one of them for all") {
  ranked([](Communicator& world) {
    auto& ordered = dynamic_cast<detail::OrderedCommunicator&>(world);
    const auto transport = ordered.split_transport(0, world.rank(), "meeting");
    for (std::uint64_t sequence = 0; sequence < 3; ++sequence) {
      auto operation = call_on_device(sequence);
      const std::vector<std::uint64_t> words{sequence, 42, 7};
      if (world.rank() == 0) operation.attached = words;
      const auto arrivals = transport->meet(operation);
      CHECK(arrivals.front().details == words);
      for (std::size_t rank = 1; rank < arrivals.size(); ++rank) {
        CHECK(arrivals[rank].details.empty());
      }
      CHECK(detail::place_of(arrivals) == Place::device);
      CHECK(describe(arrivals.back().signature) == "all_reduce(sum, f32, count 4) on the device");
      CHECK_NOTHROW(detail::require_agreement(transport->who(), arrivals));
      part(*transport, operation);
    }
    transport->check_peers();
    transport->leave();
  });
}

TEST_CASE("ranks that have elements in different places disagree; one that has none does not") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    auto& ordered = dynamic_cast<detail::OrderedCommunicator&>(world);
    const auto transport = ordered.split_transport(0, world.rank(), "places");
    const int last = world.size() - 1;
    for (const auto place : {Place::nowhere, Place::host}) {
      auto operation = call_on_device(place == Place::host ? 1 : 0);
      if (world.rank() == last) {
        operation.place = place;
        operation.send.count = operation.receive.count = 0;  // of an all_to_all, say
      }
      operation.kind = Kind::all_to_all;
      operation.counts.assign(static_cast<std::size_t>(world.size()), 0);
      operation.receive_counts = operation.counts;
      const auto arrivals = transport->meet(operation);
      if (place == Place::nowhere) {
        CHECK_NOTHROW(detail::require_agreement(transport->who(), arrivals));
        CHECK(detail::place_of(arrivals) == Place::device);
      } else {
        CHECK_THROWS_AS(detail::require_agreement(transport->who(), arrivals), Error);
      }
      part(*transport, operation);
    }
    transport->leave();
  });
}

TEST_CASE("a rank that failed is found out without a call") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    auto& ordered = dynamic_cast<detail::OrderedCommunicator&>(world);
    const auto transport = ordered.split_transport(0, world.rank(), "failing");
    if (world.rank() == 0) {
      transport->fail({"its disk is full", false});
    } else {
      std::string text;
      const auto deadline = Clock::now() + std::chrono::seconds(30);
      while (text.empty() && Clock::now() < deadline) {
        try {
          transport->check_peers();
        } catch (const detail::PeerFailure& failure) {
          text = failure.what();
          transport->fail({text, true});
        }
      }
      CAPTURE(text);
      CHECK(text.find("rank 0 of group 'failing' failed: its disk is full") == 0);
    }
    world.barrier().wait();
    transport->leave();
  });
}

}  // namespace train
