#pragma once

#include <string>

#include <cudnn_graph.h>

// The only folder that includes cuDNN's headers. The library itself is opened when it is first
// asked for, so that a program starts, and trains, where there is none.
namespace train::cuda::cudnn {

/// cuDNN's functions that the backend calls.
struct Library {
  decltype(&cudnnGetVersion) version;
  decltype(&cudnnGetErrorString) error_string;
  decltype(&cudnnGetLastErrorString) last_error_string;
  decltype(&cudnnCreate) create;
  decltype(&cudnnDestroy) destroy;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor;
  decltype(&cudnnBackendSetAttribute) set_attribute;
  decltype(&cudnnBackendGetAttribute) get_attribute;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendExecute) execute;

  /// What cuDNN says of a status that a call on this thread has just returned.
  std::string words(cudnnStatus_t status) const;
};

/// The oldest cuDNN that is used: the oldest that the graphs were put to. 9.10 has known mistakes
/// in attention's backward pass.
constexpr std::size_t version_min = 91200;

/// A version as cuDNN counts it, 91900, in words: 9.19.0.
std::string words_of(std::size_t version);

/// Null where there is no cuDNN of the headers' major version, or only an older one than
/// version_min. Opened once per process, and never closed.
const Library* library();

/// Why library() is null.
const std::string& reason_for_none();

}  // namespace train::cuda::cudnn
