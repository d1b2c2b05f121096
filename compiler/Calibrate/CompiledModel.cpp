// Running artifacts through stele.h (CompiledModel.h).

#include "stele/compiler/Calibrate/CompiledModel.h"
#include "stele/compiler/Import/Errors.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace stele;
using namespace stele::compiler;
using checkpoint::makeError;

static Error check(stele_status status, StringRef what) {
  if (status == STELE_OK)
    return Error::success();
  return makeError("calibration: {0}: {1}", what, stele_last_error());
}

Expected<std::unique_ptr<CompiledModel>> CompiledModel::open(StringRef path) {
  std::unique_ptr<CompiledModel> opened(new CompiledModel);
  stele_model *model = nullptr;
  if (Error error = check(stele_model_open(path.str().c_str(), nullptr, &model),
                          "cannot load what was compiled"))
    return std::move(error);
  opened->model.reset(model);
  return opened;
}

uint64_t CompiledModel::context() const {
  stele_model_info info = {};
  info.struct_size = sizeof info;
  // Fails for NULL only.
  (void)stele_model_get_info(model.get(), &info);
  return info.context;
}

Expected<std::vector<int32_t>> CompiledModel::tokenize(StringRef text) const {
  // No tokenizer makes more tokens than bytes, but for the special ones.
  std::vector<int32_t> tokens(text.size() + 16);
  size_t count = 0;
  if (Error error = check(stele_tokenize(model.get(), text.data(), text.size(),
                                         tokens.data(), tokens.size(), &count),
                          "cannot tokenize the text"))
    return std::move(error);
  tokens.resize(std::min(count, tokens.size()));
  return tokens;
}

/// One session of `window` tokens in planned memory.
Error CompiledModel::start(size_t window) {
  if (session && planned == window)
    return Error::success();
  session.reset();
  engine.reset();
  stele_engine_options options = {};
  options.struct_size = sizeof options;
  options.session_tokens = window;
  stele_engine *madeEngine = nullptr;
  if (Error error =
          check(stele_engine_create(model.get(), &options, &madeEngine),
                "cannot plan the memory"))
    return error;
  engine.reset(madeEngine);
  stele_session *madeSession = nullptr;
  if (Error error = check(
          stele_session_create(engine.get(), /*max_tokens=*/0, &madeSession),
          "cannot make a session"))
    return error;
  session.reset(madeSession);
  planned = window;
  return Error::success();
}

Error CompiledModel::runWindow(ArrayRef<int32_t> tokens,
                               function_ref<Error()> afterStep) {
  if (Error error = check(stele_session_truncate(session.get(), 0), "restart"))
    return error;
  if (Error error =
          check(stele_session_feed(session.get(), tokens.data(), tokens.size()),
                "cannot feed tokens"))
    return error;
  for (;;) {
    stele_step_report report = {};
    report.struct_size = sizeof report;
    if (Error error =
            check(stele_engine_step(engine.get(), &report), "a step failed"))
      return error;
    if (report.tokens == 0)
      return Error::success();
    if (Error error = afterStep())
      return error;
  }
}

namespace {

/// Adds up what the logits of a window say about its tokens.
struct Scorer {
  ArrayRef<int32_t> window;
  double sum = 0;
  size_t count = 0;

  static void take(void *user, uint64_t position, const float *logits,
                   size_t vocabulary) {
    static_cast<Scorer *>(user)->add(position, {logits, vocabulary});
  }

  void add(uint64_t position, ArrayRef<float> logits) {
    if (position + 1 >= window.size())
      return;
    float best = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (float logit : logits)
      total += std::exp(logit - best);
    sum += best + std::log(total) - logits[window[position + 1]];
    ++count;
  }
};

} // namespace

Expected<double> CompiledModel::score(ArrayRef<int32_t> tokens, size_t window) {
  if (Error error = start(window))
    return std::move(error);
  Scorer scorer;
  if (Error error =
          check(stele_session_on_logits(session.get(), Scorer::take, &scorer),
                "cannot score"))
    return std::move(error);
  for (; tokens.size() > 1; tokens = tokens.drop_front(scorer.window.size())) {
    scorer.window = tokens.take_front(window);
    if (Error error = runWindow(scorer.window, [] { return Error::success(); }))
      return std::move(error);
  }
  (void)stele_session_on_logits(session.get(), nullptr, nullptr);
  return scorer.sum / double(scorer.count);
}

Error CompiledModel::watch(ArrayRef<int32_t> tokens, size_t window,
                           ArrayRef<std::string> names, TakeRows take) {
  if (Error error = start(window))
    return error;
  std::vector<float> rows;
  auto read = [&](StringRef name) -> Error {
    uint32_t count = 0, width = 0;
    auto copy = [&] {
      return check(stele_engine_output(engine.get(), name.str().c_str(),
                                       rows.data(), rows.size(), &count,
                                       &width),
                   "cannot read an output");
    };
    if (Error error = copy())
      return error;
    if (rows.size() < size_t(count) * width) {
      rows.resize(size_t(count) * width);
      if (Error error = copy())
        return error;
    }
    take(name, rows.data(), count, width);
    return Error::success();
  };
  auto readAll = [&]() -> Error {
    for (const std::string &name : names)
      if (Error error = read(name))
        return error;
    return Error::success();
  };
  for (; !tokens.empty();
       tokens = tokens.drop_front(std::min(window, tokens.size())))
    if (Error error = runWindow(tokens.take_front(window), readAll))
      return error;
  return Error::success();
}
