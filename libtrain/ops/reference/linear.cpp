#include <cmath>
#include <numbers>

#include "libtrain/ops/reference/ops.hpp"
#include "libtrain/ops/reference/values.hpp"

namespace train::reference {
namespace {

// Hendrycks, Gimpel: "Gaussian error linear units", 2016; the approximation that GPT-2 uses.
constexpr double gelu_cubic = 0.044715;
const double gelu_factor = std::sqrt(2.0 * std::numbers::inv_pi);

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

double silu(double x) {
  return x * sigmoid(x);
}

double silu_slope(double x) {
  return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
}

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu_tanh:
      return 0.5 * x * (1.0 + std::tanh(gelu_factor * (x + gelu_cubic * x * x * x)));
    case Activation::silu:
      return silu(x);
  }
  unreachable("unknown Activation");
}

double activation_slope(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return 1.0;
    case Activation::gelu_tanh: {
      const double t = std::tanh(gelu_factor * (x + gelu_cubic * x * x * x));
      const double inner_slope = gelu_factor * (1.0 + 3.0 * gelu_cubic * x * x);
      return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope;
    }
    case Activation::silu:
      return silu_slope(x);
  }
  unreachable("unknown Activation");
}

}  // namespace

void ReferenceOps::linear(const Tensor& x, const Tensor& w, const Tensor& bias,
                          Activation activation, const Tensor& pre, const Tensor& y) {
  const Matrix input = read(x);
  const Matrix weight = read(w);
  invariant(weight.cols() == input.cols(), "linear: w[N,K] is as wide as x[M,K]");
  Vector offset = Vector::Zero(weight.rows());
  if (bias.defined()) offset = read_vector(bias);
  invariant(offset.size() == weight.rows(), "linear: bias has N elements");

  Matrix result(input.rows(), weight.rows());
  for (Eigen::Index m = 0; m < result.rows(); ++m) {
    for (Eigen::Index n = 0; n < result.cols(); ++n) {
      result(m, n) = input.row(m).dot(weight.row(n)) + offset(n);
    }
  }
  if (pre.defined()) write(result, pre);
  write(result.unaryExpr([&](double value) { return activate(activation, value); }), y);
}

void ReferenceOps::linear_grad_input(const Tensor& dy, const Tensor& w, const Gradient& dx) {
  const Matrix gradient = read(dy);
  const Matrix weight = read(w);
  invariant(gradient.cols() == weight.rows(), "linear_grad_input: dy[M,N] has w[N,K]'s N");
  Matrix result = Matrix::Zero(gradient.rows(), weight.cols());
  for (Eigen::Index m = 0; m < gradient.rows(); ++m) {
    for (Eigen::Index n = 0; n < gradient.cols(); ++n) {
      result.row(m) += gradient(m, n) * weight.row(n);
    }
  }
  write(result, dx);
}

void ReferenceOps::linear_grad_weight(const Tensor& dy, const Tensor& x, const Gradient& dw,
                                      const Gradient& dbias) {
  const Matrix gradient = read(dy);
  if (dw.tensor.defined()) {
    const Matrix input = read(x);
    invariant(gradient.rows() == input.rows(), "linear_grad_weight: dy and x have M rows");
    Matrix result = Matrix::Zero(gradient.cols(), input.cols());
    for (Eigen::Index m = 0; m < gradient.rows(); ++m) {
      for (Eigen::Index n = 0; n < gradient.cols(); ++n) {
        result.row(n) += gradient(m, n) * input.row(m);
      }
    }
    write(result, dw);
  }
  write(gradient.colwise().sum(), dbias);
}

void ReferenceOps::activation_backward(Activation activation, const Tensor& pre, const Tensor& dy,
                                       const Tensor& dpre) {
  const Vector argument = read_vector(pre);
  Vector gradient = read_vector(dy);
  invariant(argument.size() == gradient.size(), "activation_backward: pre has dy's size");
  for (Eigen::Index i = 0; i < gradient.size(); ++i) {
    gradient(i) *= activation_slope(activation, argument(i));
  }
  write(gradient, dpre);
}

void ReferenceOps::swiglu(const Tensor& gate_up, const Tensor& y) {
  const Matrix both = read(gate_up);
  const Eigen::Index width = both.cols() / 2;
  invariant(both.cols() == 2 * width, "swiglu: gate_up has an even width");
  Matrix result(both.rows(), width);
  for (Eigen::Index m = 0; m < result.rows(); ++m) {
    for (Eigen::Index i = 0; i < width; ++i) result(m, i) = silu(both(m, i)) * both(m, width + i);
  }
  write(result, y);
}

void ReferenceOps::swiglu_backward(const Tensor& gate_up, const Tensor& dy,
                                   const Tensor& dgate_up) {
  const Matrix both = read(gate_up);
  const Matrix gradient = read(dy);
  const Eigen::Index width = both.cols() / 2;
  invariant(both.cols() == 2 * width, "swiglu_backward: gate_up has an even width");
  invariant(gradient.rows() == both.rows() && gradient.cols() == width,
            "swiglu_backward: dy[M,H] goes with gate_up[M,2H]");
  Matrix result(both.rows(), both.cols());
  for (Eigen::Index m = 0; m < result.rows(); ++m) {
    for (Eigen::Index i = 0; i < width; ++i) {
      const double gate = both(m, i);
      const double up = both(m, width + i);
      result(m, i) = gradient(m, i) * silu_slope(gate) * up;
      result(m, width + i) = gradient(m, i) * silu(gate);
    }
  }
  write(result, dgate_up);
}

}  // namespace train::reference
