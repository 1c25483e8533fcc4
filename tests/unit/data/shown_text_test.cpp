#include "libtrain/data/shown_text.hpp"

#include <doctest/doctest.h>

using train::shown_text;

TEST_CASE("text is shown as it is, and what is none cannot reach the terminal") {
  CHECK(shown_text("") == "");
  CHECK(shown_text("a line\n\tBЄ 世界 \U0001f600") == "a line\n\tBЄ 世界 \U0001f600");
  CHECK(shown_text("\x1b[2J\r\x07\x7f") == "?[2J???");
  CHECK(shown_text("\xc2\x9b"
                   "31m") == "?31m");  // a control sequence in eight bits
  // Cut in two, overlong, and bytes that begin nothing.
  CHECK(shown_text("\xd0") == "?");
  CHECK(shown_text("x\xd0y") == "x?y");
  CHECK(shown_text("\xc0\x9b") == "??");
  CHECK(shown_text("\x80\xff") == "??");
}
