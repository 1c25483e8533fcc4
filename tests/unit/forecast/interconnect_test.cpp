#include "libtrain/forecast/interconnect.hpp"

#include <initializer_list>

#include <doctest/doctest.h>

using namespace train;

namespace {

constexpr double gb = 1e9;
// Nodes of 8, of which a rank sends 100 GB/s to others, and a node 40 GB/s to other nodes.
Interconnect nodes_of_8(bool rings) {
  return {.ranks_per_node = 8,
          .node_rate = 100 * gb,
          .network_rate = 40 * gb,
          .latency_s = 1e-5,
          .rings = rings};
}

}  // namespace

TEST_CASE("inside a node ring and direct exchange move the same bytes") {
  for (const bool rings : {false, true}) {
    const auto group = GroupCost::tensor(nodes_of_8(rings), 4, 8);
    CHECK_FALSE(group.crosses_nodes());
    // 7/8 of 8 GB at 100 GB/s, and three hops or one.
    CHECK(group.all_gather(8 * gb) == doctest::Approx(0.07 + (rings ? 3e-5 : 1e-5)));
    CHECK(group.all_reduce(8 * gb, false) == doctest::Approx(2 * group.all_gather(8 * gb)));
  }
}

TEST_CASE("a ring over nodes goes as fast as its slowest part") {
  // 32 data ranks on 4 nodes: one ring, which has the network alone.
  CHECK(GroupCost::data(nodes_of_8(true), 32, 1).all_gather(32 * gb) ==
        doctest::Approx(31.0 / 40 + 5e-5));
  // 8 rings of 4 ranks, one to a node: each has an eighth of it.
  CHECK(GroupCost::data(nodes_of_8(true), 4, 8).all_gather(4 * gb) ==
        doctest::Approx(3.0 / 5 + 2e-5));
  // 2 rings of 16.
  CHECK(GroupCost::data(nodes_of_8(true), 16, 2).all_gather(16 * gb) ==
        doctest::Approx(15.0 / 20 + 4e-5));
}

TEST_CASE("a direct exchange sends to every rank of other nodes") {
  // Of 8 ranks of a node each sends 1/32 to 24 others: 6 of 32 GB leave the node.
  CHECK(GroupCost::data(nodes_of_8(false), 32, 1).all_gather(32 * gb) ==
        doctest::Approx(8 * 24.0 / 40 + 1e-5));
  // bf16 between GPUs is summed so, and gathered in rings.
  const auto rings = GroupCost::data(nodes_of_8(true), 32, 1);
  CHECK(rings.reduce_scatter(32 * gb, true) == doctest::Approx(8 * 24.0 / 40 + 1e-5));
  CHECK(rings.reduce_scatter(32 * gb, false) == doctest::Approx(31.0 / 40 + 5e-5));
}

TEST_CASE("tensor neighbours are closest") {
  CHECK_FALSE(GroupCost::tensor(nodes_of_8(true), 8, 4).crosses_nodes());
  CHECK(GroupCost::tensor(nodes_of_8(true), 2, 16).crosses_nodes());
  // Groups of 6 on nodes of 8: the second lies on two.
  CHECK(GroupCost::tensor(nodes_of_8(true), 4, 6).crosses_nodes());
  CHECK_FALSE(GroupCost::data(nodes_of_8(true), 2, 4).crosses_nodes());
}

TEST_CASE("neighbours of a data group are as close as tensor groups let them be") {
  // 8 ranks of 2 tensor ranks each lie on 2 nodes, as a data group of 8 would.
  CHECK_FALSE(GroupCost::neighbours(nodes_of_8(true), 8, 32, 1).crosses_nodes());
  CHECK_FALSE(GroupCost::neighbours(nodes_of_8(true), 4, 16, 2).crosses_nodes());
  CHECK(GroupCost::neighbours(nodes_of_8(true), 8, 16, 2).crosses_nodes());
  CHECK(GroupCost::neighbours(nodes_of_8(true), 4, 4, 8).crosses_nodes());
  CHECK(GroupCost::neighbours(nodes_of_8(true), 1, 4, 8).all_to_all(8 * gb) == 0.0);
  const auto group = GroupCost::neighbours(nodes_of_8(true), 8, 16, 2);
  CHECK(group.all_to_all(8 * gb) == GroupCost::data(nodes_of_8(false), 8, 2).all_gather(8 * gb));
}

TEST_CASE("ranks with the same place among neighbours are a data group of longer strides") {
  // Of 32 ranks on 4 nodes those of one place: 4, and 8 such groups share a node's network.
  const auto group = GroupCost::replicas(nodes_of_8(true), 8, 32, 1);
  CHECK(group.crosses_nodes());
  CHECK(group.all_gather(4 * gb) ==
        GroupCost::tensor(nodes_of_8(true), 8, 4).all_gather(0.0) + 3.0 / 4 * 4 / (40.0 / 8));
  CHECK(GroupCost::replicas(nodes_of_8(true), 32, 32, 1).all_gather(gb) == 0.0);
}

TEST_CASE("a rank alone exchanges nothing") {
  CHECK(GroupCost::data(nodes_of_8(true), 1, 8).all_reduce(8 * gb, false) == 0.0);
  CHECK(GroupCost::tensor(nodes_of_8(false), 8, 1).all_gather(8 * gb) == 0.0);
}
