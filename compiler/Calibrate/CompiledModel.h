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

/// The likeliest tokens at a place, and the logarithms of their probabilities.
struct Prediction {
  std::vector<int32_t> tokens;
  std::vector<float> logs;
};

/// What block-sparse attention did for a query head of a layer, in all windows
/// so far.
struct HeadSums {
  double queries = 0, causalKeys = 0, keptKeys = 0, keptMass = 0;
};

class CompiledModel {
public:
  /// With `measuresHeads` attention scores all keys, for heads().
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  open(llvm::StringRef path, bool measuresHeads = false);

  /// Of every query head of every layer: [layers, heads].
  llvm::Expected<std::vector<HeadSums>> heads() const;

  /// The longest session.
  uint64_t context() const;

  llvm::Expected<std::vector<int32_t>> tokenize(llvm::StringRef text) const;

  /// Called behind every step, when so many tokens of a window are processed.
  using AfterStep = llvm::function_ref<llvm::Error(size_t processed)>;
  /// Runs the tokens in windows of `window`, which begin anew.
  llvm::Error run(llvm::ArrayRef<int32_t> tokens, size_t window,
                  AfterStep afterStep);

  /// Hands out the logits behind tokens[index], in windows of `window`
  /// that begin anew.
  using TakeLogits =
      llvm::function_ref<void(size_t index, llvm::ArrayRef<float> logits)>;
  llvm::Error eachLogits(llvm::ArrayRef<int32_t> tokens, size_t window,
                         TakeLogits take, AfterStep afterStep = doNothing);

  /// Mean negative log-likelihood of the tokens, in windows of `window`, which
  /// begin anew; the first token of each is not scored. A window of one token
  /// at the end is left out.
  llvm::Expected<double> score(llvm::ArrayRef<int32_t> tokens, size_t window,
                               AfterStep afterStep = doNothing);

  /// What the model expects after every token but the last.
  llvm::Expected<std::vector<Prediction>>
  predict(llvm::ArrayRef<int32_t> tokens, size_t window);

  /// Mean divergence (Kullback-Leibler, in nats) of this model's predictions
  /// from another's, with all tokens that `expected` does not name as one:
  /// never more than that of the whole vocabulary.
  llvm::Expected<double> divergence(llvm::ArrayRef<int32_t> tokens,
                                    size_t window,
                                    llvm::ArrayRef<Prediction> expected);

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
  static llvm::Error doNothing(size_t) { return llvm::Error::success(); }
  llvm::Error start(size_t window);
  llvm::Error runWindow(llvm::ArrayRef<int32_t> tokens, AfterStep afterStep);
  stele_model_info info() const;

  Handle<stele_model, stele_model_close> model;
  Handle<stele_engine, stele_engine_destroy> engine;
  Handle<stele_session, stele_session_destroy> session;
  size_t planned = 0; // tokens of the session
  bool measuresHeads = false;
};

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_COMPILEDMODEL_H
