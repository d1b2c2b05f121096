// The checks of one Function of a plan: buffers, and ops in order. Called by
// VerifyPlan after everything outside functions was checked.
#ifndef STELE_RUNTIME_PLAN_VERIFY_FUNCTION_H_
#define STELE_RUNTIME_PLAN_VERIFY_FUNCTION_H_

#include <cstdint>

#include "stele/runtime/base/status.h"
#include "stele/schema/plan_generated.h"

namespace stele {

Status VerifyFunction(const plan::Plan& plan, uint32_t index);

}  // namespace stele

#endif  // STELE_RUNTIME_PLAN_VERIFY_FUNCTION_H_
