// Made-up weights; see synthetic.h.
#include "stele/runtime/engine/synthetic.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

#include "stele/runtime/base/hash.h"

namespace stele {
namespace {

uint64_t HashName(std::string_view name) {
  return Xxh3({reinterpret_cast<const uint8_t*>(name.data()), name.size()});
}

uint16_t ToBf16(float value) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}

// The values used here are normal in f16, so truncation is all it takes.
uint16_t ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - 127 + 15;
  if (exponent <= 0) return 0;
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | exponent << 10 |
                               (bits >> 13 & 0x3ff));
}

template <typename T, typename Make>
void FillEach(std::span<std::byte> out, Make make) {
  for (size_t i = 0; i + sizeof(T) <= out.size(); i += sizeof(T)) {
    const T value = make();
    std::memcpy(out.data() + i, &value, sizeof value);
  }
}

}  // namespace

SyntheticValues::SyntheticValues(const plan::Tensor& tensor, uint64_t seed)
    : random_(seed ^ HashName(tensor.name()->string_view())),
      dtype_(tensor.dtype()),
      vector_(tensor.shape()->size() == 1),
      // Uniform in +-sqrt(3 / columns) has variance 1 / columns: a product
      // with an input of variance 1 has variance 1.
      scale_(vector_ ? 1
                     : std::sqrt(3.0 /
                                 static_cast<double>(tensor.shape()->Get(1)))) {
}

float SyntheticValues::Next() {
  const double unit = random_.NextUnit();
  return static_cast<float>(vector_ ? 0.5 + unit : scale_ * (2 * unit - 1));
}

void SyntheticValues::Fill(std::span<std::byte> out) {
  switch (dtype_) {
    case plan::DType::F32:
      return FillEach<float>(out, [&] { return Next(); });
    case plan::DType::BF16:
      return FillEach<uint16_t>(out, [&] { return ToBf16(Next()); });
    case plan::DType::F16:
      return FillEach<uint16_t>(out, [&] { return ToF16(Next()); });
    case plan::DType::I32:
    case plan::DType::I8:
    case plan::DType::U8:
    case plan::DType::I64:
    case plan::DType::I4:
      return FillEach<uint8_t>(out, [&] { return random_.Next() >> 56; });
  }
}

}  // namespace stele
