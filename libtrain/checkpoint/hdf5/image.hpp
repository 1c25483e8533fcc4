#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace train {

/// The bytes of a file that HDF5 works on, in memory: its bookkeeping, and holes where the datasets
/// lie. Pages that nobody wrote read as zeros and take no memory.
class FileImage {
 public:
  std::uint64_t size() const { return size_; }
  void resize(std::uint64_t size) { size_ = size; }

  void read(std::uint64_t at, std::span<std::byte> out) const;
  void write(std::uint64_t at, std::span<const std::byte> bytes);

 private:
  std::map<std::uint64_t, std::vector<std::byte>> pages_;  // by number
  std::uint64_t size_ = 0;
};

}  // namespace train
