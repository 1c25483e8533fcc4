#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "libtrain/ops/rotary_frequencies.hpp"
#include "libtrain/tensor/tensor.hpp"

namespace train {

enum class Activation : std::uint8_t { none, gelu_tanh, silu };

/// Whether a gradient replaces what its tensor holds or adds to it.
enum class Write : std::uint8_t { assign, add };

/// A gradient's destination. An undefined tensor asks for no gradient.
struct Gradient {
  Tensor tensor;
  Write write = Write::assign;
};

/// Heads of grouped-query attention. Rows of qkv are [query heads | key heads | value heads], each
/// head `head_width` wide; query head h reads key/value head h / (heads / kv_heads).
struct AttentionShape {
  std::int64_t batch = 0;
  std::int64_t context = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_width = 0;
  std::int64_t all_heads = 0;  ///< query heads of all ranks, which dropout counts; 0: `heads`

  /// Where the mask of (sequence, head) begins, in elements of dropout past its first_index. A rank
  /// with heads from h on adds h·context² to first_index, and draws its part of the whole's mask.
  std::int64_t dropout_index(std::int64_t sequence, std::int64_t head) const {
    return (sequence * (all_heads == 0 ? heads : all_heads) + head) * context * context;
  }
  std::int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_width; }
  std::int64_t out_width() const { return heads * head_width; }
  /// Each key/value head serves equally many query heads, at least one. A rank may hold none of
  /// either.
  bool heads_match() const {
    return kv_heads == 0 ? heads == 0 : heads > 0 && heads % kv_heads == 0;
  }
};

/// Where rows stand in their sequences.
struct RowPositions {
  std::int64_t length = 0;     ///< rows of a sequence, at least 1
  std::int64_t first = 0;      ///< position of a sequence's first row
  std::int64_t first_row = 0;  ///< of the first row, among those of all sequences

  constexpr std::int64_t position_of(std::int64_t row) const {
    return first + (first_row + row) % length;
  }
  /// One more than the last position that `count` rows reach.
  std::int64_t end(std::int64_t count) const {
    const std::int64_t begin = first_row % length;
    return first + (begin + count < length ? begin + count : length);
  }
  /// The first row at that position, if there are so many.
  std::int64_t row_at(std::int64_t position) const {
    return ((position - first - first_row) % length + length) % length;
  }
};

/// Which random numbers a dropout draws: element i of the op's global tensor is dropped when
/// number i of stream (key, step) says so. `first_index` is the global index of the first local
/// element, so that the mask is the same on any grid.
struct Dropout {
  float probability = 0.0f;  ///< in [0, 1); 0 means no dropout
  std::uint64_t key = 0;
  std::uint64_t step = 0;
  std::uint64_t first_index = 0;

  constexpr bool active() const { return probability > 0.0f; }
};

/// One step of AdamW (Loshchilov, Hutter: "Decoupled weight decay regularization", ICLR 2019).
struct AdamWStep {
  float lr = 0.0f;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float eps = 1e-8f;
  float gradient_scale = 1.0f;  ///< multiplies the gradient first: clipping
  std::int64_t step = 1;        ///< 1 at the first step, for the bias correction
};

/// One of the tensors that AdamW updates together: see Ops::adamw.
struct AdamWPart {
  Tensor parameter, master, gradient, m, v;
  float weight_decay = 0.0f;
};

/// Every computation of a transformer's step, declared once; a device implements it. Tensors hold
/// f32 or bf16 (the reference also f64); arithmetic is f32 (f64 for f64) and results round once.
/// Statistics (mean, rstd, log-sum-exp, losses) are f32, or f64 for f64 tensors. Outputs are
/// allocated by the caller. M is the count of rows (batch × context). Any count of rows, columns or
/// heads may be 0: sums over nothing are 0, and nothing is added to a gradient. Costs are FLOPs for
/// matrix products and passes over memory for the rest. Results do not depend on timing: the same
/// call with the same number of threads gives the same bits, but on a device of SumOrder::any.
class Ops {
 public:
  virtual ~Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;

  /// The device in words, for people.
  virtual std::string description() const = 0;
  /// FLOP/s of this device's matrix products of a type, by its maker; 0 where unknown. Nothing
  /// where the device is the host, whose peak is measured (measure_peak_flops).
  virtual std::optional<double> peak_flops(DataType) const { return std::nullopt; }
  /// How many times faster than f32 this device multiplies bf16 matrices, measured now.
  virtual double bf16_speedup() { return 1.0; }
  /// How many elements apart this device likes rows of `width` elements to begin: `width` or more.
  /// For rows that only such ops use as step over gaps.
  virtual std::int64_t padded_width(std::int64_t width, DataType) const { return width; }
  /// Of how many rows a loss over a vocabulary (or a rank's part of it) should hold the logits at a
  /// time. Enough for products to run at their peak, and for each to be worth that the gradient of
  /// the head is read and written again; few enough to stay far below the model.
  virtual std::int64_t loss_rows(std::int64_t) const { return 256; }

  // Matrix products ------------------------------------------------------------------------------

  // Rows of y and dy may have gaps where padded_width() asks for any; those of other tensors not.

  /// y[M,N] = act(x[M,K] · w[N,K]ᵀ + bias[N]). `bias` may be undefined. With an activation, `pre`
  /// receives its argument, for the backward pass (undefined: not kept). y may be f32 where x and
  /// w are bf16. 2 M N K.
  virtual void linear(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation,
                      const Tensor& pre, const Tensor& y) = 0;
  /// dx[M,K] (+)= dy[M,N] · w[N,K]. 2 M N K.
  virtual void linear_grad_input(const Tensor& dy, const Tensor& w, const Gradient& dx) = 0;
  /// dw[N,K] (+)= dyᵀ · x, dbias[N] (+)= column sums of dy (undefined: none). Either may be f32
  /// where dy is bf16. 2 M N K.
  virtual void linear_grad_weight(const Tensor& dy, const Tensor& x, const Gradient& dw,
                                  const Gradient& dbias) = 0;
  /// dpre = dy · act'(pre), elementwise; dpre may be dy. 3 passes.
  virtual void activation_backward(Activation activation, const Tensor& pre, const Tensor& dy,
                                   const Tensor& dpre) = 0;
  /// dpre[M,K] = (dy[M,N] · w[N,K]) · act'(pre), elementwise: linear_grad_input where the input was
  /// an activation's result, and that activation's backward pass, in one. dpre is not pre.
  virtual void linear_grad_activation(const Tensor& dy, const Tensor& w, Activation activation,
                                      const Tensor& pre, const Tensor& dpre) {
    linear_grad_input(dy, w, {dpre, Write::assign});
    activation_backward(activation, pre, dpre, dpre);
  }
  /// y[M,H] = silu(gate) · up for gate_up[M,2H] = [gate | up] (Shazeer: "GLU variants improve
  /// transformer", 2020). 3 passes over M·H.
  virtual void swiglu(const Tensor& gate_up, const Tensor& y) = 0;
  virtual void swiglu_backward(const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) = 0;

  // Embedding ------------------------------------------------------------------------------------

  /// y[i] = table[tokens[i]] (+ positions[p] for row i's position p of `places`, when `positions`
  /// is defined), rows of width C. The table may be a part of the vocabulary: a token of -1 lies in
  /// another part and counts as a row of zeros, so that the sum over parts is the whole's result.
  /// Throws Error for any other token outside the table.
  virtual void embedding(std::span<const std::int32_t> tokens, const Tensor& table,
                         const Tensor& positions, const RowPositions& places, const Tensor& y) = 0;
  /// Adds or assigns rows of dy to dtable (every row of the table) and to dpositions, where these
  /// are defined. A token of -1 reaches dpositions alone. Gradients may be f32 where dy is bf16.
  /// Token order fixes the order of summation.
  virtual void embedding_backward(std::span<const std::int32_t> tokens, const Tensor& dy,
                                  const RowPositions& places, const Gradient& dtable,
                                  const Gradient& dpositions) = 0;

  // Normalisation --------------------------------------------------------------------------------

  /// y = (x - mean) · rstd · weight + bias per row; mean[M], rstd[M] are kept for the backward
  /// pass; `bias` may be undefined. 2 passes.
  virtual void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
                          const Tensor& y, const Tensor& mean, const Tensor& rstd) = 0;
  virtual void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                   const Tensor& mean, const Tensor& rstd, const Gradient& dx,
                                   const Gradient& dweight, const Gradient& dbias) = 0;
  /// y = x · rstd · weight, rstd = 1/sqrt(mean(x²) + eps) (Zhang, Sennrich 2019). 2 passes.
  virtual void rms_norm(const Tensor& x, const Tensor& weight, float eps, const Tensor& y,
                        const Tensor& rstd) = 0;
  virtual void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                 const Tensor& rstd, const Gradient& dx,
                                 const Gradient& dweight) = 0;

  // A residual stream meets its branch where the next norm reads it: one pass less, since the sum
  // is normed while it is at hand. The same bits as `add` and then the norm, whose backward passes
  // serve: that of the norm adds its dx to what the sum's other readers left, in the same pass.

  /// sum = a + b, y = layer norm of sum; sum may be a or b. 4 passes.
  virtual void add_layer_norm(const Tensor& a, const Tensor& b, const Tensor& weight,
                              const Tensor& bias, float eps, const Tensor& sum, const Tensor& y,
                              const Tensor& mean, const Tensor& rstd) = 0;
  /// sum = a + b, y = RMS norm of sum; sum may be a or b. 4 passes.
  virtual void add_rms_norm(const Tensor& a, const Tensor& b, const Tensor& weight, float eps,
                            const Tensor& sum, const Tensor& y, const Tensor& rstd) = 0;

  // Attention ------------------------------------------------------------------------------------

  /// Rotates query and key heads of qkv[B·T, qkv_width] in place by their positions first_position,
  /// first_position + 1, … (Su et al.: "RoFormer", 2021); element i pairs with i + head_width/2, as
  /// in Hugging Face's Llama. `inverse` turns back: the backward pass.
  virtual void rotary(const Tensor& qkv, const AttentionShape& shape, std::int64_t first_position,
                      const RotaryFrequencies& frequencies, bool inverse) = 0;
  /// Causal softmax(q kᵀ / sqrt(head_width)) v, without the T×T matrix: tiles with a running
  /// maximum and sum (Dao et al.: "FlashAttention", 2022). out[B·T, out_width]; lse[B, heads, T] is
  /// the log of the sum of exponentials, for the backward pass. Dropout acts on the probabilities;
  /// element index ((b·all_heads + h)·T + i)·T + j past first_index. 2·B·heads·T²·head_width (half
  /// masked); memory beyond the outputs O(tile).
  virtual void attention(const Tensor& qkv, const AttentionShape& shape, const Dropout& dropout,
                         const Tensor& out, const Tensor& lse) = 0;
  /// dqkv is assigned. 2.5 times the forward's FLOPs.
  virtual void attention_backward(const Tensor& qkv, const AttentionShape& shape,
                                  const Dropout& dropout, const Tensor& out, const Tensor& lse,
                                  const Tensor& dout, const Tensor& dqkv) = 0;
  /// Generation: shape.context new positions per sequence, the first of which is `position`.
  /// qkv[B·context, qkv_width] is rotated already; keys and values [B, capacity,
  /// kv_heads·head_width] hold positions 0 … position-1 and receive the new ones; row i of
  /// out[B·context, out_width] attends to positions 0 … position+i.
  virtual void attention_extend(const Tensor& qkv, const AttentionShape& shape,
                                std::int64_t position, const Tensor& keys, const Tensor& values,
                                const Tensor& out) = 0;

  // Elementwise ----------------------------------------------------------------------------------

  /// y = x / (1-p) where kept, 0 where dropped; y may be x. The backward pass is the same call on
  /// the gradient. 2 passes.
  virtual void dropout(const Tensor& x, const Dropout& dropout, const Tensor& y) = 0;
  /// y = a + b; y may be a or b. 3 passes.
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& y) = 0;
  /// x *= factor. 2 passes.
  virtual void scale(const Tensor& x, float factor) = 0;
  virtual void fill(const Tensor& x, float value) = 0;
  /// Copies between types, rounding to nearest even.
  virtual void convert(const Tensor& source, const Tensor& target) = 0;
  /// `count` columns of from[M,N], from from_column on, to as many of to[M,K] from to_column on, of
  /// one type: they replace what is there or are added to it. 2 or 3 passes over M·count.
  virtual void copy_columns(const Tensor& from, std::int64_t from_column, std::int64_t count,
                            const Gradient& to, std::int64_t to_column) = 0;

  // Loss -----------------------------------------------------------------------------------------

  // Rows of logits and dlogits may have gaps, of widths of their own, where padded_width() asks for
  // any. Nothing in a gap reaches a result; dlogits' gaps may be written.

  /// losses[M] = log-sum-exp(logits[i]) - logits[i][targets[i]]; dlogits (undefined: none; may be
  /// logits itself, or bf16 beside f32 logits) = (softmax - one-hot) · scale. A target of -1 is
  /// padding: loss 0, gradient 0. 2 passes over the vocabulary.
  virtual void cross_entropy(const Tensor& logits, std::span<const std::int32_t> targets,
                             float scale, const Tensor& losses, const Tensor& dlogits) = 0;

  // The same for logits[M,V] that are a part of the vocabulary's columns; V may be 0. `targets` are
  // columns of the part, or -1 where the target lies in another part. Largest logits and sums of
  // the parts combine to those of whole rows, and row i's loss is log(sums[0][i]) - sums[1][i]. A
  // part cannot tell padding: the caller leaves out such losses, and scales such rows by 0.

  /// maximum[M] = the largest of each row's logits, NaN passed over; -infinity where V is 0. Parts
  /// combine by the maximum. 1 pass.
  virtual void row_maximum(const Tensor& logits, const Tensor& maximum) = 0;
  /// sums[0][i] = Σ_j exp(logits[i][j] - maximum[i]), sums[1][i] = logits[i][targets[i]] -
  /// maximum[i] or 0, for the `maximum` of whole rows; sums[2,M]. Parts combine by the sum. 1 pass.
  virtual void cross_entropy_parts(const Tensor& logits, std::span<const std::int32_t> targets,
                                   const Tensor& maximum, const Tensor& sums) = 0;
  /// dlogits[i] = (exp(logits[i] - maximum[i]) / sums[0][i] - one-hot) · row_scale[i], for the
  /// `maximum` and `sums` of whole rows; exactly 0 where row_scale[M] is 0, whatever the logits.
  /// dlogits may be logits itself, or bf16 beside f32 logits. 2 passes.
  virtual void cross_entropy_gradient(const Tensor& logits, std::span<const std::int32_t> targets,
                                      const Tensor& maximum, const Tensor& sums,
                                      std::span<const float> row_scale, const Tensor& dlogits) = 0;

  // Optimizer ------------------------------------------------------------------------------------

  /// One pass: updates m, v (f32) and the parameter of every part, in one launch on devices where
  /// launches cost. `master` (f32) is the parameter's full precision copy when the parameter is
  /// bf16, undefined when it is f32 itself. The gradient is f32 or bf16. Memory traffic for f32:
  /// reads 16, writes 12 bytes per element.
  virtual void adamw(std::span<const AdamWPart> parts, const AdamWStep& step) = 0;
  void adamw(const AdamWPart& part, const AdamWStep& step) { adamw(std::span(&part, 1), step); }
  /// Sum of squares of all parts, in f64, over blocks of fixed size, summed in order. 1 pass; the
  /// host waits for a device once, however many parts there are. NaN or infinite when any element
  /// is.
  virtual double sum_of_squares(std::span<const Tensor> parts) = 0;
  double sum_of_squares(const Tensor& x) { return sum_of_squares(std::span(&x, 1)); }
  /// True when no element is NaN or infinite. 1 pass.
  virtual bool all_finite(const Tensor& x) = 0;

 protected:
  Ops() = default;
};

}  // namespace train
