#include "tests/wide/stream/proxy.hpp"
