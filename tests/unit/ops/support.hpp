#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "libtrain/ops/device.hpp"

namespace train::test {

/// Elements as doubles, whatever real type the tensor has; what lies in gaps between rows is left
/// out, or left as it is.
std::vector<double> values_of(const Tensor& tensor);
void set_values(const Tensor& tensor, const std::vector<double>& values);
Tensor tensor_of(Device& device, Shape shape, DataType type, const std::vector<double>& values);
/// The bytes of the elements, for comparing bit by bit.
std::vector<std::byte> bytes_of(const Tensor& tensor);

/// A copy of columns [begin, end) of a matrix.
Tensor columns_of(Device& device, const Tensor& matrix, std::int64_t begin, std::int64_t end);

/// |got - want| / |want|; 0 when both are zero; NaN when either holds a NaN.
double relative_error(const std::vector<double>& got, const std::vector<double>& want);

/// Hands a test its tensors on one device: the same random numbers in the same order on every
/// device, so that a case written once can run on all. Tensors start at odd addresses where `guard`
/// is odd, and stand between guard elements that no op may touch.
class Bench {
 public:
  struct Output {
    std::string name;
    Tensor tensor;
  };

  Bench(Device& device, DataType type, std::int64_t guard)
      : device_(device), type_(type), guard_(guard) {}

  Ops& ops() const { return device_.ops(); }
  Device& device() const { return device_; }
  /// The type under test.
  DataType type() const { return type_; }

  /// Uniform in [-scale, scale].
  Tensor input(Shape shape, double scale = 1.0) { return input_of(type_, shape, scale); }
  Tensor input_of(DataType type, Shape shape, double scale = 1.0);
  std::vector<std::int32_t> tokens(std::int64_t count, std::int32_t vocabulary);
  /// The same numbers in rows with gaps, which hold NaN, where the device pads rows; `more`
  /// elements longer than it asks for.
  Tensor padded_input_of(DataType type, Shape shape, double scale, std::int64_t more);

  /// All NaN, to be overwritten, and compared in the end.
  Tensor output(const std::string& name, Shape shape) { return output_of(type_, name, shape); }
  Tensor output_of(DataType type, const std::string& name, Shape shape);
  /// With gaps as padded_input_of makes them.
  Tensor padded_output_of(DataType type, const std::string& name, Shape shape, std::int64_t more);
  /// Statistics are f32 beside f32 and bf16, f64 beside f64.
  Tensor statistics(const std::string& name, Shape shape);
  /// NaN where it is assigned to, random where it is added to.
  Gradient gradient(const std::string& name, Shape shape, Write write) {
    return gradient_of(type_, name, shape, write);
  }
  Gradient gradient_of(DataType type, const std::string& name, Shape shape, Write write);
  /// Registers an in-place result.
  void compare(const std::string& name, const Tensor& tensor) {
    outputs_.push_back({name, tensor});
  }

  const std::vector<Output>& outputs() const { return outputs_; }
  bool guards_intact() const;

 private:
  Tensor guarded(DataType type, Shape shape);
  Tensor padded(DataType type, Shape shape, std::int64_t more);
  Tensor drawn(const Tensor& tensor, double scale);
  double draw();

  Device& device_;
  DataType type_;
  std::int64_t guard_;
  std::uint64_t drawn_ = 0;
  std::array<std::uint32_t, 4> numbers_{};
  std::vector<Tensor> blocks_;  // with their guards
  std::vector<Output> outputs_;
};

/// Runs `use` on every device, for f32 and bf16, on aligned and on odd addresses, and compares all
/// outputs with the reference's: f32 within 1e-5, bf16 within 1e-2 of their norm. Each runs twice
/// and must give the same bits.
void compare_with_reference(const std::function<void(Bench&)>& use);

/// Compares `analytic` with central differences of `loss` over every element of `input` (f64).
void check_gradient(const std::string& name, const Tensor& input, const Tensor& analytic,
                    const std::function<double()>& loss);

/// Sum of elementwise products: the projection that makes a scalar of an output.
double dot(const Tensor& a, const Tensor& b);

}  // namespace train::test
