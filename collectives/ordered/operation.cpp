#include "collectives/ordered/operation.hpp"

#include "collectives/error.hpp"

namespace train::detail {

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::all_reduce:
      return "all_reduce";
    case Kind::reduce_scatter:
      return "reduce_scatter";
    case Kind::all_gather:
      return "all_gather";
    case Kind::broadcast:
      return "broadcast";
    case Kind::all_to_all:
      return "all_to_all";
    case Kind::barrier:
      return "barrier";
    case Kind::split:
      return "split";
  }
  unreachable("unknown Kind");
}

}  // namespace train::detail
