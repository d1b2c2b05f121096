// A merge sort that survives any order.
//
// A template's order may be inconsistent (NaN compares false with everything),
// for which std::sort is undefined; and an Error may be thrown half way.
#ifndef STELE_RUNTIME_TEXT_JINJA_STABLE_SORT_H_
#define STELE_RUNTIME_TEXT_JINJA_STABLE_SORT_H_

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace stele::text::jinja {

template <typename T, typename Less>
void StableSort(std::vector<T>& items, const Less& less) {
  std::vector<T> merged;
  for (size_t width = 1; width < items.size(); width *= 2) {
    merged.clear();
    for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
      size_t middle = std::min(begin + width, items.size());
      size_t end = std::min(begin + 2 * width, items.size());
      std::merge(std::make_move_iterator(items.begin() + begin),
                 std::make_move_iterator(items.begin() + middle),
                 std::make_move_iterator(items.begin() + middle),
                 std::make_move_iterator(items.begin() + end),
                 std::back_inserter(merged),
                 [&](const T& a, const T& b) { return less(a, b); });
    }
    items.swap(merged);
  }
}

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_STABLE_SORT_H_
