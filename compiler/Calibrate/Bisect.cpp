// Few measurements, since each is a compile and a run (Bisect.h).

#include "stele/compiler/Calibrate/Bisect.h"
#include <algorithm>

using namespace llvm;

Expected<std::optional<size_t>>
stele::compiler::fewestRaises(size_t most, size_t likely,
                              function_ref<Expected<bool>(size_t)> holds) {
  size_t fails = 0;
  std::optional<size_t> good;
  for (size_t count : {std::min(likely, most), most}) {
    if (count <= fails || good)
      continue;
    Expected<bool> isGood = holds(count);
    if (!isGood)
      return isGood.takeError();
    if (*isGood)
      good = count;
    else
      fails = count;
  }
  if (!good)
    return good;
  // A step finer than this saves nothing that anybody would notice.
  const size_t finest = std::max<size_t>(1, most / 64);
  while (*good - fails > finest) {
    const size_t middle = (fails + *good) / 2;
    Expected<bool> isGood = holds(middle);
    if (!isGood)
      return isGood.takeError();
    if (*isGood)
      good = middle;
    else
      fails = middle;
  }
  return good;
}
