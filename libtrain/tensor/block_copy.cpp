#include "libtrain/tensor/block_copy.hpp"

#include <cstring>

#include "collectives/error.hpp"

namespace train {
namespace {

// visit(offset in the whole, offset in the blocks, bytes) per run.
template <typename Visit>
void for_each_run_of(const Shape& shape, std::size_t element_bytes, std::span<const Block> blocks,
                     Visit visit) {
  std::size_t local = 0;
  for (const Block& block : blocks) {
    for_each_run(shape, block, [&](std::int64_t first, std::int64_t count) {
      const std::size_t bytes = static_cast<std::size_t>(count) * element_bytes;
      visit(static_cast<std::size_t>(first) * element_bytes, local, bytes);
      local += bytes;
    });
  }
}

void check_whole(const Shape& shape, std::size_t element_bytes, std::size_t whole_bytes) {
  invariant(whole_bytes == static_cast<std::size_t>(shape.elements()) * element_bytes,
            "the whole tensor has the shape's elements");
}

}  // namespace

void copy_from_whole(const Shape& shape, std::size_t element_bytes,
                     std::span<const std::byte> whole, std::span<const Block> blocks,
                     std::span<std::byte> local) {
  check_whole(shape, element_bytes, whole.size());
  for_each_run_of(shape, element_bytes, blocks, [&](auto from, auto to, auto bytes) {
    std::memcpy(local.subspan(to, bytes).data(), whole.data() + from, bytes);
  });
}

void copy_to_whole(const Shape& shape, std::size_t element_bytes, std::span<const std::byte> local,
                   std::span<const Block> blocks, std::span<std::byte> whole) {
  check_whole(shape, element_bytes, whole.size());
  for_each_run_of(shape, element_bytes, blocks, [&](auto to, auto from, auto bytes) {
    std::memcpy(whole.data() + to, local.subspan(from, bytes).data(), bytes);
  });
}

}  // namespace train
