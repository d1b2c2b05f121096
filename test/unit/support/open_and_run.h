// An artifact of the toy model, opened and run: what tests of damaged artifacts
// and the fuzz target share.
#ifndef STELE_TEST_UNIT_SUPPORT_OPEN_AND_RUN_H_
#define STELE_TEST_UNIT_SUPPORT_OPEN_AND_RUN_H_

#include <cstdint>
#include <memory>
#include <span>

#include "stele/runtime/device/device.h"

namespace stele::test {

// Opens the bytes, aligned to 64, and when that works runs a prompt and a
// decode step in two sessions. Returns whether it ran.
bool OpenAndRun(std::span<const uint8_t> bytes, std::unique_ptr<Device> device);

// The same on a toy device.
bool OpenAndRun(std::span<const uint8_t> bytes);

} // namespace stele::test

#endif // STELE_TEST_UNIT_SUPPORT_OPEN_AND_RUN_H_
