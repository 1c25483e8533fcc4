#include "libtrain/checkpoint/run_state.hpp"

#include <doctest/doctest.h>

#include "libtrain/model/gpt_config.hpp"

using namespace train;

TEST_CASE("a run that began in a directory whose name is no UTF-8 can be saved") {
  RunState state;
  state.config = gpt_nano();
  state.config.vocabulary = 256;
  state.held_out = "5 tokens";
  state.resumed_from = {7, "caf\xe9/run"};
  const RunState read = RunState::from_json(state.to_json(), "here");
  CHECK(read.config == state.config);
  CHECK(read.held_out == "5 tokens");
  CHECK(read.resumed_from.value().step == 7);
  CHECK(read.resumed_from->run == "caf\ufffd/run");
}
