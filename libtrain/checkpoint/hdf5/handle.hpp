#pragma once

#include <filesystem>
#include <mutex>
#include <string>

#include <hdf5.h>

#include "collectives/unique_handle.hpp"

namespace train::hdf5 {

/// HDF5 as Debian builds it is not safe for threads, and a process holds one HDF5, whatever ranks
/// it runs as threads: whoever calls it holds this lock.
std::unique_lock<std::mutex> lock();

template <herr_t (*close_handle)(hid_t)>
struct HandleTraits {
  using Handle = hid_t;
  static Handle empty() { return H5I_INVALID_HID; }
  static void close(Handle handle) noexcept { close_handle(handle); }
};

using FileHandle = UniqueHandle<HandleTraits<H5Fclose>>;
using DatasetHandle = UniqueHandle<HandleTraits<H5Dclose>>;
using SpaceHandle = UniqueHandle<HandleTraits<H5Sclose>>;
using TypeHandle = UniqueHandle<HandleTraits<H5Tclose>>;
using AttributeHandle = UniqueHandle<HandleTraits<H5Aclose>>;
using PropertiesHandle = UniqueHandle<HandleTraits<H5Pclose>>;

/// Throws Error when a call failed: `what` of `path`, and HDF5's own reasons.
[[noreturn]] void fail(const std::string& what, const std::filesystem::path& path);

inline void check(herr_t result, const std::string& what, const std::filesystem::path& path) {
  if (result < 0) fail(what, path);
}

template <typename Owner>
Owner own(hid_t handle, const std::string& what, const std::filesystem::path& path) {
  if (handle < 0) fail(what, path);
  return Owner(handle);
}

}  // namespace train::hdf5
