#pragma once

namespace train {

/// Hyperparameters of AdamW (Loshchilov, Hutter: "Decoupled weight decay regularization", ICLR
/// 2019). Weight decay acts on matrices only, not on biases and norms.
struct AdamW {
  float lr = 6e-4f;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float eps = 1e-8f;
  float weight_decay = 0.1f;
  float clip_norm = 1.0f;  ///< largest global norm of the gradient; 0: no clipping

  /// Throws Error that names the first value that cannot be.
  void validate() const;
};

}  // namespace train
