// The semantic checks of a plan: everything that a FlatBuffers verifier cannot
// see and that the rest of the runtime relies on.
//
// Place on the road: runs inside Artifact::Open, before anything acts on the
// plan. After it, every index is in range, every byte range lies inside its
// file, segment, arena or buffer, stored weights have the size that shape,
// dtype and layout require, no two live buffers overlap, nothing is read
// before it is written, every wait follows its signal, and every launch gives
// its kernel at least the memory that the kernel was compiled for.
#ifndef STELE_RUNTIME_PLAN_VERIFY_H_
#define STELE_RUNTIME_PLAN_VERIFY_H_

#include <cstdint>
#include <optional>

#include "stele/runtime/base/status.h"
#include "stele/schema/plan_generated.h"

namespace stele {

// What the plan's offsets are measured against.
struct PlanFile {
  uint64_t payload_begin;  // first byte behind the FlatBuffer
  uint64_t size;           // of the whole file
};

// kDataLoss for a plan that is wrong, kUnsupported for one that this runtime
// cannot run. `plan` passed the FlatBuffers verifier. The message names the
// field and its value, not the file.
Status VerifyPlan(const plan::Plan& plan, const PlanFile& file);

// Bytes of `elements` elements; nothing when that overflows. 4-bit elements
// are stored two in a byte.
std::optional<uint64_t> BytesOf(plan::DType dtype, uint64_t elements);

}  // namespace stele

#endif  // STELE_RUNTIME_PLAN_VERIFY_H_
