#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "collectives/types.hpp"
#include "libtrain/checkpoint/hdf5/image.hpp"
#include "libtrain/tensor/layout.hpp"

namespace train {

/// A block of a tensor as a dataset of an HDF5 file: contiguous, so that its bytes lie in one
/// stretch of the file, row-major and little-endian.
struct ShardDataset {
  std::string name;  ///< "/group/…/name"
  DataType type = DataType::f32;
  Shape tensor;          ///< shape of the whole tensor, kept as an attribute
  Block block;           ///< the dataset's shape is its extent; the offset is kept as an attribute
  std::uint64_t at = 0;  ///< the dataset's first byte in the file

  std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(block.elements()) * size_of(type);
  }
};

/// The bookkeeping of a file with these datasets, whose bytes are holes in the image; fills in
/// where each lies. `path` is for messages: HDF5 touches no file. Blocks must not be empty. Throws
/// Error naming path and dataset.
///
/// HDF5 keeps the books, File moves the bytes. The library runs one thread at a time, says nothing
/// of fsync and does not survive a full disk, and ranks may be threads of one process. Contiguous
/// datasets whose space is allocated early have a fixed place (H5Dget_offset), so any number of
/// ranks can write into one file, or each into its own, at the same time. bf16 is stored as an HDF5
/// float of 8 exponent and 7 mantissa bits, which HDF5 converts like any other.
FileImage create_shard(const std::filesystem::path& path, std::span<ShardDataset> datasets);

/// Looks datasets up in a file's bookkeeping, compares type and shape, and fills in where each
/// lies. Throws Error naming path and dataset.
void locate_datasets(const std::filesystem::path& path, FileImage& image,
                     std::span<ShardDataset> datasets);

}  // namespace train
