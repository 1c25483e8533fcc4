#include "libtrain/rounds/order.hpp"

#include <algorithm>
#include <array>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/message_fields.hpp"

namespace train {
namespace {

template <typename Archive>
void fields(Archive& archive, Order& order) {
  auto kind = static_cast<std::uint8_t>(order.kind);
  archive(kind);
  order.kind = static_cast<Order::Kind>(kind);
  archive(order.number, order.samples, order.start, order.state, order.peers, order.text,
          order.state_goes_to);
}

}  // namespace

void share(Communicator& cluster, Order& order) {
  if (cluster.size() == 1) return;
  const bool root = cluster.rank() == 0;
  order.text.resize(std::min(order.text.size(), wide::text_bytes_max));
  wide::Writer writer;
  if (root) fields(writer, order);
  std::array<std::int64_t, 1> length{static_cast<std::int64_t>(writer.bytes.size())};
  cluster.broadcast(std::span(length), 0).wait();
  writer.bytes.resize(static_cast<std::size_t>(length[0]));
  cluster.broadcast({writer.bytes.data(), writer.bytes.size(), DataType::u8}, 0).wait();
  if (root) return;
  wide::Reader reader(writer.bytes);
  fields(reader, order);
  invariant(reader.complete(), "an order reads as it was written");
}

}  // namespace train
