#pragma once

#include "libtrain/checkpoint/hdf5/handle.hpp"
#include "libtrain/checkpoint/hdf5/image.hpp"

namespace train::hdf5 {

struct DriverTraits {
  using Handle = hid_t;
  static Handle empty() { return H5I_INVALID_HID; }
  static void close(Handle driver) noexcept { H5FDunregister(driver); }
};
using DriverHandle = UniqueHandle<DriverTraits>;

/// What HDF5 calls in place of the system's files: a driver that reads and writes a FileImage. So
/// HDF5 never meets a full disk, after which it would be left with a file that it can neither write
/// nor close, and never sees a byte of a file that was not compared with its hash.
DriverHandle register_image_driver(const std::filesystem::path& path);

/// Lets files that are opened with these properties be `image`, which must outlive them.
void use_image(const DriverHandle& driver, hid_t access_properties, FileImage& image,
               const std::filesystem::path& path);

}  // namespace train::hdf5
