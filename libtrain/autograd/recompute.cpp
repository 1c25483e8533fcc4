#include "libtrain/autograd/recompute.hpp"

namespace train {

Value recompute(Tape& tape, const Value& x, std::function<Value(Tape& tape, const Value& x)> part) {
  if (!tape.recording()) return part(tape, x);
  Tape forget(tape, Tape::Mode::forget);
  // A value of its own: the part's functions must not find the gradient's place of the outer tape.
  const Value y(part(forget, Value(x.tensor())).tensor());
  tape.record(
      [&tape, part = std::move(part), x = x.tensor(), dx = x.gradient(), dy = y.gradient()] {
        Tape again(tape, Tape::Mode::record);
        const Value input(x);
        // Of the output only its gradient's place: nobody reads its elements again.
        const auto place = part(again, input).gradient();
        *place = std::move(*dy);
        again.backward();
        if (input.gradient()->defined()) tape.add_gradient(*input.gradient(), *dx);
        input.gradient()->reset();
      });
  return y;
}

}  // namespace train
