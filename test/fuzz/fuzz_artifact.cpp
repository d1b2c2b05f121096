// Fuzz target: any bytes as the FlatBuffer of an artifact, verified and then
// run. The header is always right (sizes, digest) and the segments are the toy
// model's, so that every input gets as far as its plan deserves; the kernels
// are compiled into this program, where sanitizers watch them.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "artifact_builder.h"
#include "open_and_run.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

namespace {

using stele::schema::ArtifactHeader;
using stele::test::AlignedBytes;

// The toy artifact and the size of its plan.
struct Toy {
  AlignedBytes bytes = stele::test::ArtifactBuilder::Toy().Build();
  size_t plan_size = stele::test::HeaderOf(bytes).flatbuffer_size;
};

const Toy &TheToy() {
  static const Toy kToy;
  return kToy;
}

// A scalar somewhere in the buffer becomes another one: what byte flips rarely
// do and what a FlatBuffer survives.
void MutateScalar(uint8_t *data, size_t size, std::minstd_rand &random) {
  const size_t width = size_t{1} << random() % 4;
  if (size < 2 * width)
    return;
  const size_t at = random() % (size / width) * width;
  uint64_t value = 0;
  std::memcpy(&value, data + at, width);
  switch (random() % 5) {
  case 0:
    value += random() % 17 - 8;
    break;
  case 1:
    value = 0;
    break;
  case 2:
    value = ~uint64_t{0} >> random() % 64;
    break;
  case 3:
    value *= 2;
    break;
  case 4:
    std::memcpy(&value, data + random() % (size / width) * width, width);
    break;
  }
  std::memcpy(data + at, &value, width);
}

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t max_size, unsigned seed) {
  std::minstd_rand random(seed + 1);
  if (size < 64 && TheToy().plan_size <= max_size) {
    size = TheToy().plan_size;
    std::memcpy(data, TheToy().bytes.data() + sizeof(ArtifactHeader), size);
  }
  if (random() % 4 == 0)
    return LLVMFuzzerMutate(data, size, max_size);
  for (unsigned i = 0; i <= random() % 3; ++i)
    MutateScalar(data, size, random);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const AlignedBytes bytes =
      stele::test::WithPlan(TheToy().bytes, {data, size});
  if (bytes.size() > 0)
    stele::test::OpenAndRun(bytes);
  return 0;
}
