#include "collectives/types.hpp"

#include "collectives/error.hpp"

namespace train {

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::f32:
      return 4;
    case DataType::bf16:
      return 2;
    case DataType::f64:
      return 8;
    case DataType::i32:
      return 4;
    case DataType::i64:
      return 8;
    case DataType::u8:
      return 1;
  }
  unreachable("unknown DataType");
}

const char* name_of(DataType type) {
  switch (type) {
    case DataType::f32:
      return "f32";
    case DataType::bf16:
      return "bf16";
    case DataType::f64:
      return "f64";
    case DataType::i32:
      return "i32";
    case DataType::i64:
      return "i64";
    case DataType::u8:
      return "u8";
  }
  unreachable("unknown DataType");
}

const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return "sum";
    case ReduceOp::min:
      return "min";
    case ReduceOp::max:
      return "max";
  }
  unreachable("unknown ReduceOp");
}

}  // namespace train
