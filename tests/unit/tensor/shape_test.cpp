#include "libtrain/tensor/shape.hpp"

#include <doctest/doctest.h>

namespace train {
namespace {

TEST_CASE("shapes of every rank") {
  const Shape scalar;
  CHECK(scalar.rank() == 0);
  CHECK(scalar.elements() == 1);
  CHECK(scalar.rows() == 1);
  CHECK(scalar.width() == 1);
  CHECK(scalar.to_string() == "[]");

  const Shape shape{2, 3, 5, 7};
  CHECK(shape.rank() == 4);
  CHECK(shape.elements() == 210);
  CHECK(shape.rows() == 30);
  CHECK(shape.width() == 7);
  CHECK(shape[1] == 3);
  CHECK(shape.to_string() == "[2, 3, 5, 7]");

  const Shape row{7};
  CHECK(row.rows() == 1);
  CHECK(row.width() == 7);
}

TEST_CASE("an extent of 0 makes an empty shape") {
  CHECK(Shape{0, 5}.elements() == 0);
  CHECK(Shape{0, 5}.rows() == 0);
  CHECK(Shape{5, 0}.width() == 0);
}

TEST_CASE("shapes are equal when rank and extents are") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{6} != Shape{6, 1});
  CHECK(Shape{} != Shape{0});
}

TEST_CASE("elements do not overflow 32 bits") {
  CHECK(Shape{1 << 20, 1 << 20}.elements() == std::int64_t{1} << 40);
}

}  // namespace
}  // namespace train
