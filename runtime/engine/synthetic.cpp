// Made-up weights; see synthetic.h.
#include "stele/runtime/engine/synthetic.h"

#include <algorithm>
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

std::optional<schema::QuantFormat> FormatOf(const plan::Tensor& tensor) {
  using Real = schema::QuantFormat::Real;
  const plan::QuantFormat* quant = tensor.quant();
  if (quant == nullptr) return std::nullopt;
  return schema::QuantFormat{quant->bits(), quant->group(),
                             static_cast<Real>(quant->scale()),
                             static_cast<Real>(quant->offset())};
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
      quant_(FormatOf(tensor)),
      columns_(tensor.shape()->size() == 2 ? tensor.shape()->Get(1) : 1),
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

void SyntheticValues::FillReals(std::span<std::byte> out,
                                schema::QuantFormat::Real type, float value) {
  if (type == schema::QuantFormat::Real::kF16)
    return FillEach<uint16_t>(out, [&] { return ToF16(value); });
  FillEach<float>(out, [&] { return value; });
}

// Blocks of scales, offsets and codes (quant_format.h). Codes are uniform, one
// scale makes their variance what Next's is.
void SyntheticValues::FillQuantised(std::span<std::byte> out) {
  using schema::QuantRealBytes;
  const uint64_t panel = QuantPanelBytes(*quant_, columns_);
  const uint64_t block = QuantBlockBytes(*quant_, QuantBlockColumns(*quant_));
  const uint64_t scales =
      schema::kQuantPanelRows * QuantRealBytes(quant_->scale);
  const uint64_t head = QuantHeadBytes(*quant_);
  const double codes = 1 << quant_->bits;
  const float scale = static_cast<float>(scale_ * 2 / codes);
  const float offset = static_cast<float>(-scale * codes / 2);
  while (!out.empty()) {
    const uint64_t in_panel = at_ % panel, in_block = in_panel % block;
    const uint64_t end = in_block < scales ? scales
                         : in_block < head
                             ? head
                             : std::min(block, panel - in_panel + in_block);
    const auto part = out.first(std::min<uint64_t>(end - in_block, out.size()));
    if (in_block < scales)
      FillReals(part, quant_->scale, scale);
    else if (in_block < head)
      FillReals(part, quant_->offset, offset);
    else
      FillEach<uint8_t>(part, [&] { return random_.Next() >> 56; });
    at_ += part.size();
    out = out.subspan(part.size());
  }
}

void SyntheticValues::Fill(std::span<std::byte> out) {
  if (quant_) return FillQuantised(out);
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
