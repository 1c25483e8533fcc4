#include "libtrain/ops/cpu/cpu_ops.hpp"
#include "libtrain/ops/cpu/element.hpp"
#include "libtrain/ops/cpu/parallel.hpp"
#include "libtrain/ops/cpu/vec.hpp"
#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {
namespace {

template <typename T>
void swiglu_row(const T* gate, const T* up, std::int64_t width, T* y) {
  for_each_over(width, [&](auto at) { at.put(y, activate<Activation::silu>(at(gate)) * at(up)); });
}

template <typename T>
void swiglu_backward_row(const T* gate, const T* up, const T* dy, std::int64_t width, T* dgate,
                         T* dup) {
  for_each_over(width, [&](auto at) {
    const auto g = at(gate), grad = at(dy), s = sigmoid(g);
    const auto up_grad = grad * at(up);
    at.put(dup, grad * g * s);
    at.put(dgate, up_grad * (s + g * s * (1.0f - s)));
  });
}

}  // namespace

void CpuOps::activate_into(Activation activation, const Tensor& pre, const Tensor& y) {
  with_type(pre.type(), [&](auto pre_tag) {
    with_type(y.type(), [&](auto y_tag) {
      with_activation(activation, [&]<Activation act>() {
        using Y = decltype(y_tag);
        const auto* in = pre.data<decltype(pre_tag)>();
        Y* out = y.data<Y>();
        parallel_ranges(threads_, y.elements(), serial_elements, [&](auto begin, auto end, int) {
          for_each_over(end - begin,
                        [&](auto at) { at.put(out + begin, activate<act>(at(in + begin))); });
        });
      });
    });
  });
}

void CpuOps::activation_backward(Activation activation, const Tensor& pre, const Tensor& dy,
                                 const Tensor& dpre) {
  invariant(pre.elements() == dy.elements() && dpre.elements() == dy.elements(),
            "activation_backward: three tensors of one size");
  invariant(dy.type() == dpre.type(), "activation_backward: dpre has dy's type");
  with_type(pre.type(), [&](auto pre_tag) {
    with_type(dy.type(), [&](auto tag) {
      with_activation(activation, [&]<Activation act>() {
        using T = decltype(tag);
        const auto* x = pre.data<decltype(pre_tag)>();
        const T* in = dy.data<T>();
        T* out = dpre.data<T>();
        parallel_ranges(threads_, dy.elements(), serial_elements, [&](auto begin, auto end, int) {
          for_each_over(end - begin, [&](auto at) {
            at.put(out + begin, at(in + begin) * activate_slope<act>(at(x + begin)));
          });
        });
      });
    });
  });
}

void CpuOps::swiglu(const Tensor& gate_up, const Tensor& y) {
  const std::int64_t rows = y.shape().rows(), width = y.shape().width();
  invariant(gate_up.shape().rows() == rows && gate_up.shape().width() == 2 * width,
            "swiglu: y[M,H] of gate_up[M,2H]");
  with_type(y.type(), [&](auto tag) {
    using T = decltype(tag);
    const T* in = gate_up.data<T>();
    T* out = y.data<T>();
    parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* gate = in + row * 2 * width;
        swiglu_row(gate, gate + width, width, out + row * width);
      }
    });
  });
}

void CpuOps::swiglu_backward(const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  const std::int64_t rows = dy.shape().rows(), width = dy.shape().width();
  invariant(gate_up.shape().rows() == rows && gate_up.shape().width() == 2 * width &&
                dgate_up.elements() == gate_up.elements(),
            "swiglu_backward: dgate_up[M,2H] of dy[M,H]");
  with_type(dy.type(), [&](auto tag) {
    using T = decltype(tag);
    const T* in = gate_up.data<T>();
    const T* grad = dy.data<T>();
    T* out = dgate_up.data<T>();
    parallel_rows(threads_, rows, width, [&](auto begin, auto end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* gate = in + row * 2 * width;
        T* dgate = out + row * 2 * width;
        swiglu_backward_row(gate, gate + width, grad + row * width, width, dgate, dgate + width);
      }
    });
  });
}

}  // namespace train::cpu
