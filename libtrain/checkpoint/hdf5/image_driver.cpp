#include "libtrain/checkpoint/hdf5/image_driver.hpp"

#include <algorithm>
#include <new>

namespace train::hdf5 {
namespace {

// HDF5 keeps a pointer to the first member and hands it back.
struct OpenImage {
  H5FD_t base{};
  FileImage* image = nullptr;
  haddr_t end = 0;  // of what HDF5 has given out
};

// What the access properties carry.
struct DriverInfo {
  FileImage* image;
};

OpenImage& opened(H5FD_t* file) {
  return *reinterpret_cast<OpenImage*>(file);
}
const OpenImage& opened(const H5FD_t* file) {
  return *reinterpret_cast<const OpenImage*>(file);
}

H5FD_t* open(const char* /*name*/, unsigned /*flags*/, hid_t access, haddr_t /*limit*/) noexcept {
  const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access));
  if (info == nullptr) return nullptr;
  auto* file = new (std::nothrow) OpenImage;
  if (file == nullptr) return nullptr;
  file->image = info->image;
  return &file->base;
}

herr_t close(H5FD_t* file) noexcept {
  delete &opened(file);
  return 0;
}

// The file is one that HDF5's own drivers read.
herr_t query(const H5FD_t* /*file*/, unsigned long* features) noexcept {
  *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
              H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t get_end(const H5FD_t* file, H5FD_mem_t /*kind*/) noexcept {
  return opened(file).end;
}

herr_t set_end(H5FD_t* file, H5FD_mem_t /*kind*/, haddr_t end) noexcept {
  opened(file).end = end;
  return 0;
}

haddr_t get_size(const H5FD_t* file, H5FD_mem_t /*kind*/) noexcept {
  return opened(file).image->size();
}

herr_t read(H5FD_t* file, H5FD_mem_t /*kind*/, hid_t /*transfer*/, haddr_t at, std::size_t bytes,
            void* out) noexcept {
  opened(file).image->read(at, {static_cast<std::byte*>(out), bytes});
  return 0;
}

herr_t write(H5FD_t* file, H5FD_mem_t /*kind*/, hid_t /*transfer*/, haddr_t at, std::size_t bytes,
             const void* from) noexcept {
  try {
    opened(file).image->write(at, {static_cast<const std::byte*>(from), bytes});
    return 0;
  } catch (const std::bad_alloc&) {
    return -1;
  }
}

herr_t truncate(H5FD_t* file, hid_t /*transfer*/, hbool_t /*closing*/) noexcept {
  opened(file).image->resize(opened(file).end);
  return 0;
}

// A template, so that what HDF5 has wanted to know since 1.14 is left out where it does not ask.
template <typename Class>
Class image_class() {
  Class made{};
  if constexpr (requires { made.version; }) {
    made.version = 1;     // H5FD_CLASS_VERSION
    made.value = 40'000;  // no registered driver's
  }
  made.name = "libtrain_image";
  made.maxaddr = haddr_t{1} << 62;
  made.fc_degree = H5F_CLOSE_STRONG;
  made.fapl_size = sizeof(DriverInfo);
  made.open = open;
  made.close = close;
  made.query = query;
  made.get_eoa = get_end;
  made.set_eoa = set_end;
  made.get_eof = get_size;
  made.read = read;
  made.write = write;
  made.truncate = truncate;
  std::ranges::fill(made.fl_map, H5FD_MEM_DEFAULT);
  return made;
}

}  // namespace

DriverHandle register_image_driver(const std::filesystem::path& path) {
  static const H5FD_class_t description = image_class<H5FD_class_t>();
  return own<DriverHandle>(H5FDregister(&description), "take a driver", path);
}

void use_image(const DriverHandle& driver, hid_t access_properties, FileImage& image,
               const std::filesystem::path& path) {
  const DriverInfo info{&image};
  check(H5Pset_driver(access_properties, driver.get(), &info), "use a driver", path);
}

}  // namespace train::hdf5
