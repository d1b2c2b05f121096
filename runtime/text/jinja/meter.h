// What a template may spend, and how it fails.
//
// Templates come with checkpoints and are not trusted: every step, byte and
// level of nesting is counted here, so that a hostile one ends in an error and
// not in a hang. Error is the one exception of the interpreter; it is thrown
// and caught inside this folder, Template turns it into a Status.
#ifndef STELE_RUNTIME_TEXT_JINJA_METER_H_
#define STELE_RUNTIME_TEXT_JINJA_METER_H_

#include <cstdint>
#include <string>
#include <utility>

#include "stele/runtime/base/status.h"

namespace stele::text::jinja {

struct Error {
  StatusCode code;
  std::string message;  // without the line, which the catcher knows
};

[[noreturn]] inline void Fail(std::string message) {
  throw Error{StatusCode::kInvalidArgument, std::move(message)};
}

struct Limits {
  uint64_t steps = 10'000'000;          // expressions, statements, items
  uint64_t memory_bytes = 1ull << 30;   // values created, over the whole render
  uint64_t output_bytes = 64ull << 20;  // rendered text
  uint32_t depth = 600;                 // nested evaluations, macro calls too
};

// Values nest at most this deep, expressions and blocks of a template too.
inline constexpr int kMaxValueDepth = 100;
inline constexpr int kMaxTemplateDepth = 200;
// Longest range(); the same as Jinja's sandbox.
inline constexpr int64_t kMaxRange = 100000;

// Counts down one render. Not thread safe.
class Meter {
 public:
  explicit Meter(const Limits& limits) : limits_(limits) {}

  void Step(uint64_t count = 1) {
    steps_ += count;
    if (steps_ > limits_.steps) Exhausted("steps", limits_.steps);
  }

  // Charges `bytes` of new values before they are allocated.
  void Memory(uint64_t bytes) {
    if (bytes > limits_.memory_bytes - memory_) {
      Exhausted("bytes of values", limits_.memory_bytes);
    }
    memory_ += bytes;
  }

  void Output(uint64_t bytes) {
    if (bytes > limits_.output_bytes - output_) {
      Exhausted("bytes of output", limits_.output_bytes);
    }
    output_ += bytes;
  }

  void Enter() {
    if (depth_ >= limits_.depth) Exhausted("nested calls", limits_.depth);
    ++depth_;
  }
  void Leave() { --depth_; }

 private:
  [[noreturn]] static void Exhausted(const char* what, uint64_t limit) {
    throw Error{StatusCode::kResourceExhausted,
                "more than " + std::to_string(limit) + " " + what +
                    "; the template does not end or blows up, use another"};
  }

  Limits limits_;
  uint64_t steps_ = 0;
  uint64_t memory_ = 0;
  uint64_t output_ = 0;
  uint32_t depth_ = 0;
};

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_METER_H_
