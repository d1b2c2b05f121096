// A compiled artifact, run to see what it computes.
//
// Place on the road: calibration learns about a model only by running it, and
// only through stele.h, as any program would: what it measures is what users
// get.
#ifndef STELE_COMPILER_CALIBRATE_COMPILEDMODEL_H
#define STELE_COMPILER_CALIBRATE_COMPILEDMODEL_H

#include "stele/stele.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace stele::compiler {

class CompiledModel {
public:
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  open(llvm::StringRef path);

  /// The longest session.
  uint64_t context() const;

  llvm::Expected<std::vector<int32_t>> tokenize(llvm::StringRef text) const;

  /// Mean negative log-likelihood of the tokens, in windows of `window`, which
  /// begin anew; the first token of each is not scored. A window of one token
  /// at the end is left out.
  llvm::Expected<double> score(llvm::ArrayRef<int32_t> tokens, size_t window);

  /// Rows of a named output: [count, width].
  using TakeRows = llvm::function_ref<void(
      llvm::StringRef name, const float *rows, int64_t count, int64_t width)>;

  /// Runs the tokens in windows and hands out what every step leaves in the
  /// named outputs.
  llvm::Error watch(llvm::ArrayRef<int32_t> tokens, size_t window,
                    llvm::ArrayRef<std::string> names, TakeRows take);

private:
  template <auto Destroy> struct Destroyer {
    template <typename T> void operator()(T *object) const { Destroy(object); }
  };
  template <typename T, auto Destroy>
  using Handle = std::unique_ptr<T, Destroyer<Destroy>>;

  CompiledModel() = default;
  llvm::Error start(size_t window);
  llvm::Error runWindow(llvm::ArrayRef<int32_t> tokens,
                        llvm::function_ref<llvm::Error()> afterStep);

  Handle<stele_model, stele_model_close> model;
  Handle<stele_engine, stele_engine_destroy> engine;
  Handle<stele_session, stele_session_destroy> session;
  size_t planned = 0; // tokens of the session
};

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_COMPILEDMODEL_H
