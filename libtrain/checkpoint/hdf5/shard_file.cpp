#include "libtrain/checkpoint/hdf5/shard_file.hpp"

#include <array>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/hdf5/image_driver.hpp"

namespace train {
namespace {

using hdf5::check;
using hdf5::own;
using std::filesystem::path;

// Large datasets begin at pages of the disk.
constexpr hsize_t aligned_bytes_min = 64 << 10;
constexpr hsize_t alignment = 4 << 10;
// Bookkeeping comes in stretches of this size.
constexpr hsize_t metadata_block = 256 << 10;

// "IEEE f32, little-endian" cut to its upper half.
hdf5::TypeHandle bf16_type(const path& file) {
  auto type = own<hdf5::TypeHandle>(H5Tcopy(H5T_IEEE_F32LE), "make a bf16 type", file);
  const hid_t id = type.get();
  check(H5Tset_fields(id, 15, 7, 8, 0, 7), "make a bf16 type", file);
  check(H5Tset_size(id, 2), "make a bf16 type", file);
  check(H5Tset_ebias(id, 127), "make a bf16 type", file);
  return type;
}

hdf5::TypeHandle type_of(DataType type, const path& file) {
  const auto copy = [&](hid_t of) {
    return own<hdf5::TypeHandle>(H5Tcopy(of), "copy a type", file);
  };
  switch (type) {
    case DataType::f32:
      return copy(H5T_IEEE_F32LE);
    case DataType::f64:
      return copy(H5T_IEEE_F64LE);
    case DataType::i32:
      return copy(H5T_STD_I32LE);
    case DataType::i64:
      return copy(H5T_STD_I64LE);
    case DataType::u8:
      return copy(H5T_STD_U8LE);
    case DataType::bf16:
      return bf16_type(file);
  }
  unreachable("unknown DataType");
}

hdf5::SpaceHandle space_of(const Shape& shape, const path& file) {
  std::array<hsize_t, Shape::max_rank> extents{};
  for (int i = 0; i < shape.rank(); ++i) extents[i] = static_cast<hsize_t>(shape[i]);
  const hid_t space = shape.rank() == 0 ? H5Screate(H5S_SCALAR)
                                        : H5Screate_simple(shape.rank(), extents.data(), nullptr);
  return own<hdf5::SpaceHandle>(space, "make the shape " + shape.to_string(), file);
}

void add_attribute(hid_t dataset, const char* name, std::span<const std::int64_t> values,
                   const path& file) {
  const hsize_t count = values.size();
  const auto space = own<hdf5::SpaceHandle>(H5Screate_simple(1, &count, nullptr), name, file);
  const auto attribute = own<hdf5::AttributeHandle>(
      H5Acreate2(dataset, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      fmt::format("add the attribute {}", name), file);
  check(H5Awrite(attribute.get(), H5T_NATIVE_INT64, values.data()),
        fmt::format("write the attribute {}", name), file);
}

// Where the dataset's block belongs, for readers without a manifest.
void describe(hid_t id, const ShardDataset& dataset, const path& file) {
  const int rank = dataset.tensor.rank();
  if (rank == 0) return;
  std::array<std::int64_t, Shape::max_rank> shape{};
  for (int i = 0; i < rank; ++i) shape[i] = dataset.tensor[i];
  const auto used = static_cast<std::size_t>(rank);
  add_attribute(id, "offset", std::span(dataset.block.offset).first(used), file);
  add_attribute(id, "tensor_shape", std::span(shape).first(used), file);
}

std::uint64_t place_of(hid_t dataset, const std::string& name, const path& file) {
  const haddr_t at = H5Dget_offset(dataset);
  if (at == HADDR_UNDEF) hdf5::fail("say where dataset " + name + " lies", file);
  return at;
}

hdf5::PropertiesHandle access_properties(const hdf5::DriverHandle& driver, FileImage& image,
                                         const path& file) {
  auto access = own<hdf5::PropertiesHandle>(H5Pcreate(H5P_FILE_ACCESS), "make properties", file);
  const hid_t id = access.get();
  check(H5Pset_libver_bounds(id, H5F_LIBVER_V110, H5F_LIBVER_V110), "choose its version", file);
  check(H5Pset_alignment(id, aligned_bytes_min, alignment), "align datasets", file);
  check(H5Pset_meta_block_size(id, metadata_block), "set the block of its bookkeeping", file);
  check(H5Pset_fclose_degree(id, H5F_CLOSE_STRONG), "set how to close", file);
  hdf5::use_image(driver, id, image, file);
  return access;
}

// Space at once, and nobody fills it.
hdf5::PropertiesHandle dataset_properties(const path& file) {
  auto made = own<hdf5::PropertiesHandle>(H5Pcreate(H5P_DATASET_CREATE), "make properties", file);
  check(H5Pset_layout(made.get(), H5D_CONTIGUOUS), "ask for contiguous datasets", file);
  check(H5Pset_alloc_time(made.get(), H5D_ALLOC_TIME_EARLY), "ask for early allocation", file);
  check(H5Pset_fill_time(made.get(), H5D_FILL_TIME_NEVER), "ask for no filling", file);
  check(H5Pset_attr_phase_change(made.get(), 8, 6), "keep attributes compact", file);
  return made;
}

void check_matches(hid_t id, const ShardDataset& dataset, const path& file) {
  const std::string what = "look at dataset " + dataset.name;
  const auto type = own<hdf5::TypeHandle>(H5Dget_type(id), what, file);
  const auto space = own<hdf5::SpaceHandle>(H5Dget_space(id), what, file);
  const htri_t same_type = H5Tequal(type.get(), type_of(dataset.type, file).get());
  const htri_t same_shape =
      H5Sextent_equal(space.get(), space_of(dataset.block.extent, file).get());
  if (same_type < 0 || same_shape < 0) hdf5::fail(what, file);
  if (same_type == 0 || same_shape == 0) {
    throw Error(fmt::format("{}: dataset {} is not {} of shape {}", file.string(), dataset.name,
                            name_of(dataset.type), dataset.block.extent.to_string()));
  }
}

}  // namespace

FileImage create_shard(const path& file, std::span<ShardDataset> datasets) {
  const auto lock = hdf5::lock();
  FileImage image;
  const auto driver = hdf5::register_image_driver(file);
  const auto access = access_properties(driver, image, file);
  auto handle = own<hdf5::FileHandle>(
      H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "create the file", file);
  const auto properties = dataset_properties(file);
  const auto links = own<hdf5::PropertiesHandle>(H5Pcreate(H5P_LINK_CREATE), "make links", file);
  check(H5Pset_create_intermediate_group(links.get(), 1), "make groups", file);
  for (ShardDataset& dataset : datasets) {
    const auto type = type_of(dataset.type, file);
    const auto space = space_of(dataset.block.extent, file);
    const auto made = own<hdf5::DatasetHandle>(
        H5Dcreate2(handle.get(), dataset.name.c_str(), type.get(), space.get(), links.get(),
                   properties.get(), H5P_DEFAULT),
        "create dataset " + dataset.name, file);
    describe(made.get(), dataset, file);
    dataset.at = place_of(made.get(), dataset.name, file);
  }
  // Here the bookkeeping is written; the image gets its full length.
  check(H5Fclose(handle.release()), "write the bookkeeping", file);
  return image;
}

void locate_datasets(const path& file, FileImage& image, std::span<ShardDataset> datasets) {
  const auto lock = hdf5::lock();
  const auto driver = hdf5::register_image_driver(file);
  const auto access = access_properties(driver, image, file);
  const auto handle = own<hdf5::FileHandle>(H5Fopen(file.c_str(), H5F_ACC_RDONLY, access.get()),
                                            "open the file", file);
  for (ShardDataset& dataset : datasets) {
    const auto opened =
        own<hdf5::DatasetHandle>(H5Dopen2(handle.get(), dataset.name.c_str(), H5P_DEFAULT),
                                 "open dataset " + dataset.name, file);
    check_matches(opened.get(), dataset, file);
    dataset.at = place_of(opened.get(), dataset.name, file);
  }
}

}  // namespace train
