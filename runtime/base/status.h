// Status and Result<T>: how everything in the runtime reports failure.
//
// A message is one line for the user: what, where, value, remedy. No exception
// crosses a function that returns one of these. Both are cheap to move and not
// thread safe.
#ifndef STELE_RUNTIME_BASE_STATUS_H_
#define STELE_RUNTIME_BASE_STATUS_H_

#include <optional>
#include <string>
#include <utility>

namespace stele {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,     // the caller's value is wrong
  kDataLoss,            // a file is malformed, truncated or corrupt
  kNotFound,            // a file or name does not exist
  kUnsupported,         // well-formed, but not something this build can do
  kResourceExhausted,   // memory, slots or limits
  kFailedPrecondition,  // called in the wrong state
  kCancelled,
  kUnavailable,  // an I/O or device failure
  kInternal,     // a bug of ours
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message)
      : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return {}; }

inline Status InvalidArgument(std::string m) {
  return {StatusCode::kInvalidArgument, std::move(m)};
}
inline Status DataLoss(std::string m) {
  return {StatusCode::kDataLoss, std::move(m)};
}
inline Status NotFound(std::string m) {
  return {StatusCode::kNotFound, std::move(m)};
}
inline Status Unsupported(std::string m) {
  return {StatusCode::kUnsupported, std::move(m)};
}
inline Status ResourceExhausted(std::string m) {
  return {StatusCode::kResourceExhausted, std::move(m)};
}
inline Status FailedPrecondition(std::string m) {
  return {StatusCode::kFailedPrecondition, std::move(m)};
}
inline Status Cancelled(std::string m) {
  return {StatusCode::kCancelled, std::move(m)};
}
inline Status Unavailable(std::string m) {
  return {StatusCode::kUnavailable, std::move(m)};
}
inline Status Internal(std::string m) {
  return {StatusCode::kInternal, std::move(m)};
}

// A T, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace stele

#define STELE_CONCAT_INNER(a, b) a##b
#define STELE_CONCAT(a, b) STELE_CONCAT_INNER(a, b)

#define STELE_RETURN_IF_ERROR(expr)              \
  do {                                           \
    ::stele::Status stele_status = (expr);       \
    if (!stele_status.ok()) return stele_status; \
  } while (0)

// STELE_ASSIGN_OR_RETURN(auto x, F()): x = F()'s value, or return its Status.
#define STELE_ASSIGN_OR_RETURN(lhs, expr) \
  STELE_ASSIGN_OR_RETURN_INNER(STELE_CONCAT(stele_result_, __LINE__), lhs, expr)
#define STELE_ASSIGN_OR_RETURN_INNER(result, lhs, expr) \
  auto result = (expr);                                 \
  if (!result.ok()) return std::move(result).status();  \
  lhs = *std::move(result)

#endif  // STELE_RUNTIME_BASE_STATUS_H_
