#pragma once

#include <algorithm>
#include <cstdint>

#include <omp.h>

namespace train::cpu {

/// Elements below which waking the other threads costs more than they save.
inline constexpr std::int64_t serial_elements = 16 * 1024;

/// Into how many parts of at least `grain` items `count` items go. Depends on nothing else, so that
/// sums over parts give the same bits each time.
inline int part_count(int threads, std::int64_t count, std::int64_t grain) {
  const std::int64_t parts = count / std::max<std::int64_t>(grain, 1);
  return static_cast<int>(std::clamp<std::int64_t>(parts, 1, threads));
}

/// Calls body(begin, end, part) for consecutive parts of [0, count). One part runs without waking
/// anybody; more always use the whole team, because OpenMP ends and restarts threads when a team
/// changes its size.
template <typename Body>
void parallel_ranges(int threads, std::int64_t count, std::int64_t grain, Body&& body) {
  const int parts = part_count(threads, count, grain);
  if (parts == 1) {
    body(std::int64_t{0}, count, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) {
    body(count * part / parts, count * (part + 1) / parts, part);
  }
}

/// The same over rows of `width` elements.
inline std::int64_t row_grain(std::int64_t width) {
  return std::max<std::int64_t>(1, serial_elements / std::max<std::int64_t>(width, 1));
}
inline int part_count_rows(int threads, std::int64_t rows, std::int64_t width) {
  return part_count(threads, rows, row_grain(width));
}
template <typename Body>
void parallel_rows(int threads, std::int64_t rows, std::int64_t width, Body&& body) {
  parallel_ranges(threads, rows, row_grain(width), body);
}

/// Calls body(unit, thread) for each of `units` independent pieces of uneven length; whoever is
/// free takes the next. For results that do not depend on who computes them.
template <typename Body>
void parallel_units(int threads, std::int64_t units, Body&& body) {
  if (threads == 1 || units <= 1) {
    for (std::int64_t unit = 0; unit < units; ++unit) body(unit, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t unit = 0; unit < units; ++unit) body(unit, thread);
  }
}

}  // namespace train::cpu
