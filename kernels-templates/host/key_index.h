// The key index as kernels meet it: where a row of it is, and how a block's
// mean key gets there (runtime/schema/key_index.h).
#ifndef STELE_KERNELS_HOST_KEY_INDEX_H_
#define STELE_KERNELS_HOST_KEY_INDEX_H_

#include "codes.h"
#include "stele/schema/key_index.h"

STELE_INT(value_index)  // entries have mean values

namespace stele {

class KeyIndex {
 public:
  STELE_MEMBER explicit KeyIndex(int64_t head_dim)
      : head_dim_(static_cast<uint64_t>(head_dim)) {}

  STELE_MEMBER int64_t Steps() const {
    return static_cast<int64_t>(schema::KeyIndexSteps(head_dim_));
  }
  STELE_MEMBER int64_t GroupBytes() const {
    return static_cast<int64_t>(schema::KeyIndexGroupBytes(head_dim_));
  }
  STELE_MEMBER int64_t Scales() const {
    return static_cast<int64_t>(schema::KeyIndexScales(head_dim_));
  }
  STELE_MEMBER int64_t Offsets() const {
    return static_cast<int64_t>(schema::KeyIndexOffsets(head_dim_));
  }

  // The row of sequence `s`: `row` counts layers and KV heads.
  STELE_MEMBER char* Row(const SteleBatch* batch, int64_t s,
                         int64_t row) const {
    const uint64_t bytes = schema::KeyIndexRowBytes(
        static_cast<uint64_t>(batch->page_table_blocks), head_dim_,
        stele_value_index);
    return static_cast<char*>(batch->key_indices[s]) +
           row * static_cast<int64_t>(bytes);
  }

  // Enters a block's mean key [head_dim], and leaves in `mean` what the entry
  // says it is.
  STELE_MEMBER void WriteMean(char* row, int64_t block, float* mean) const {
    const auto dims = static_cast<int64_t>(head_dim_);
    auto* scale = reinterpret_cast<float*>(At(row, block, Steps()));
    const float inverse = Quantise(mean, dims, scale);
    for (int64_t step = 0; step < Steps(); ++step) {
      char* to = At(row, block, step);
      for (int64_t i = 0; i < kDepth; ++i) {
        const int64_t dim = step * kDepth + i;
        const float code = dim < dims ? ToCode(mean[dim], inverse) : 0.0f;
        to[i] = static_cast<char>(static_cast<int32_t>(code) + 128);
        if (dim < dims) mean[dim] = code * *scale;
      }
    }
  }
  STELE_MEMBER void WriteOffset(char* row, int64_t block, float offset) const {
    *reinterpret_cast<float*>(At(row, block, Steps() + 1)) = offset;
  }

  STELE_MEMBER int64_t ValueBytes() const {
    return static_cast<int64_t>(schema::KeyIndexValueBytes(head_dim_));
  }
  // Bytes from a row's start to the mean value of a block.
  STELE_MEMBER int64_t Value(const SteleBatch* batch, int64_t block) const {
    const auto blocks = static_cast<uint64_t>(batch->page_table_blocks);
    return static_cast<int64_t>(schema::KeyIndexKeyBytes(blocks, head_dim_)) +
           block * ValueBytes();
  }
  // Enters a mean value [head_dim].
  STELE_MEMBER void WriteValue(char* entry, const float* mean) const {
    const auto dims = static_cast<int64_t>(head_dim_);
    const float inverse = Quantise(mean, dims, reinterpret_cast<float*>(entry));
    for (int64_t i = 0; i < ValueBytes() - kValueCodes; ++i)
      entry[kValueCodes + i] =
          i < dims ? static_cast<char>(ToCode(mean[i], inverse)) : 0;
  }
  STELE_MEMBER float ValueScale(const char* entry) const {
    return *reinterpret_cast<const float*>(entry);
  }
  // 16 codes of a mean value, from `column` on.
  STELE_MEMBER V16 ValueCodes(const char* entry, int64_t column) const {
    typedef int8_t Codes __attribute__((vector_size(16), aligned(1)));
    return __builtin_convertvector(
        *reinterpret_cast<const Codes*>(entry + kValueCodes + column), V16);
  }

 private:
  static constexpr int64_t kValueCodes = sizeof(float);
  static constexpr int64_t kDepth = schema::kKeyIndexDepth;

  STELE_MEMBER char* At(char* row, int64_t block, int64_t piece) const {
    return row + schema::KeyIndexPiece(static_cast<uint64_t>(block), head_dim_,
                                       static_cast<uint64_t>(piece));
  }

  uint64_t head_dim_;
};

}  // namespace stele

#endif  // STELE_KERNELS_HOST_KEY_INDEX_H_
