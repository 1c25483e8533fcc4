#include "libtrain/parallel/gather.hpp"

#include "libtrain/parallel/redistribute.hpp"

namespace train {

std::vector<std::byte> gather(const LogicalTensor& tensor, Communicator& world, int root) {
  std::vector<std::byte> local(tensor.local.defined() ? tensor.local.bytes() : 0);
  if (tensor.local.defined()) tensor.local.copy_to_host(local);
  const auto elements = static_cast<std::size_t>(tensor.layout.shape().elements());
  std::vector<std::byte> whole(world.rank() == root ? elements * size_of(tensor.type) : 0);
  const Redistribution move{
      .name = tensor.name,
      .from = tensor.layout,
      .to = Layout::on_rank(tensor.layout.shape(), world.size(), root),
      .source = ConstBuffer(local.data(), local.size() / size_of(tensor.type), tensor.type),
      .target = Buffer(whole.data(), whole.size() / size_of(tensor.type), tensor.type)};
  redistribute(world, std::span(&move, 1));
  return whole;
}

}  // namespace train
