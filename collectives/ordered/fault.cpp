#include "collectives/ordered/fault.hpp"

#include <exception>

namespace train::detail {

Fault current_fault() {
  try {
    throw;
  } catch (const PeerFailure& failure) {
    return {failure.what(), true};
  } catch (const std::exception& failure) {
    return {failure.what(), false};
  } catch (...) {
    return {"an exception that is no std::exception", false};
  }
}

}  // namespace train::detail
