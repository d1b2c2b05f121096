// Running artifacts through stele.h (CompiledModel.h).

#include "stele/compiler/Calibrate/CompiledModel.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace llvm;
using namespace stele;
using namespace stele::compiler;
using checkpoint::makeError;

static Error check(stele_status status, StringRef what) {
  if (status == STELE_OK)
    return Error::success();
  return makeError("calibration: {0}: {1}", what, stele_last_error());
}

Expected<std::unique_ptr<CompiledModel>>
CompiledModel::open(StringRef path, bool measuresHeads) {
  std::unique_ptr<CompiledModel> opened(new CompiledModel);
  stele_model *model = nullptr;
  if (Error error = check(stele_model_open(path.str().c_str(), nullptr, &model),
                          "cannot load what was compiled"))
    return std::move(error);
  opened->model.reset(model);
  opened->measuresHeads = measuresHeads;
  return opened;
}

stele_model_info CompiledModel::info() const {
  stele_model_info info = {};
  info.struct_size = sizeof info;
  // Fails for NULL only.
  (void)stele_model_get_info(model.get(), &info);
  return info;
}

uint64_t CompiledModel::context() const { return info().context; }

Expected<std::vector<HeadSums>> CompiledModel::heads() const {
  const stele_model_info shape = info();
  std::vector<HeadSums> sums;
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (uint32_t head = 0; head < shape.heads; ++head) {
      stele_head_attention found = {};
      found.struct_size = sizeof found;
      if (Error error = check(
              stele_engine_head_attention(engine.get(), layer, head, &found),
              "cannot read what a head keeps"))
        return std::move(error);
      sums.push_back({double(found.queries), double(found.causal_keys),
                      double(found.kept_keys), found.kept_mass});
    }
  }
  return sums;
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
  options.measure_mass = measuresHeads;
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

Error CompiledModel::runWindow(ArrayRef<int32_t> tokens, AfterStep afterStep) {
  if (Error error = check(stele_session_truncate(session.get(), 0), "restart"))
    return error;
  if (Error error =
          check(stele_session_feed(session.get(), tokens.data(), tokens.size()),
                "cannot feed tokens"))
    return error;
  for (size_t processed = 0;;) {
    stele_step_report report = {};
    report.struct_size = sizeof report;
    if (Error error =
            check(stele_engine_step(engine.get(), &report), "a step failed"))
      return error;
    if (report.tokens == 0)
      return Error::success();
    processed += report.tokens;
    if (Error error = afterStep(processed))
      return error;
  }
}

Error CompiledModel::run(ArrayRef<int32_t> tokens, size_t window,
                         AfterStep afterStep) {
  if (Error error = start(window))
    return error;
  for (; !tokens.empty();
       tokens = tokens.drop_front(std::min(window, tokens.size())))
    if (Error error = runWindow(
            tokens.take_front(std::min(window, tokens.size())), afterStep))
      return error;
  return Error::success();
}

Error CompiledModel::eachLogits(ArrayRef<int32_t> tokens, size_t window,
                                TakeLogits take, AfterStep afterStep) {
  if (Error error = start(window))
    return error;
  struct Place {
    TakeLogits take;
    size_t begin; // of the window
  } place{take, 0};
  auto pass = [](void *user, uint64_t position, const float *logits,
                 size_t vocabulary) {
    auto *place = static_cast<Place *>(user);
    place->take(place->begin + position, {logits, vocabulary});
  };
  if (Error error = check(stele_session_on_logits(session.get(), pass, &place),
                          "cannot read logits"))
    return error;
  for (; place.begin < tokens.size(); place.begin += window)
    if (Error error = runWindow(
            tokens.slice(place.begin,
                         std::min(window, tokens.size() - place.begin)),
            afterStep))
      return error;
  (void)stele_session_on_logits(session.get(), nullptr, nullptr);
  return Error::success();
}

/// The logarithm of the sum of exp(logit).
static double logOfSum(ArrayRef<float> logits) {
  const float best = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (float logit : logits)
    total += std::exp(logit - best);
  return best + std::log(total);
}

Expected<double> CompiledModel::score(ArrayRef<int32_t> tokens, size_t window,
                                      AfterStep afterStep) {
  double sum = 0;
  size_t count = 0;
  auto add = [&](size_t index, ArrayRef<float> logits) {
    const size_t next = index + 1;
    if (next == tokens.size() || next % window == 0)
      return;
    sum += logOfSum(logits) - logits[tokens[next]];
    ++count;
  };
  if (Error error = eachLogits(tokens, window, add, afterStep))
    return std::move(error);
  return sum / double(count);
}

/// Likeliest tokens that a prediction names.
static constexpr size_t mostNamed = 64;

Expected<std::vector<Prediction>>
CompiledModel::predict(ArrayRef<int32_t> tokens, size_t window) {
  std::vector<Prediction> predictions(tokens.size());
  std::vector<int32_t> order;
  auto add = [&](size_t index, ArrayRef<float> logits) {
    order.resize(logits.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t named = std::min(mostNamed, logits.size());
    std::nth_element(
        order.begin(), order.begin() + (named - 1), order.end(),
        [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    const double whole = logOfSum(logits);
    Prediction &prediction = predictions[index];
    prediction.tokens.assign(order.begin(), order.begin() + named);
    for (int32_t token : prediction.tokens)
      prediction.logs.push_back(float(logits[token] - whole));
  };
  if (Error error = eachLogits(tokens, window, add))
    return std::move(error);
  return predictions;
}

Expected<double> CompiledModel::divergence(ArrayRef<int32_t> tokens,
                                           size_t window,
                                           ArrayRef<Prediction> expected) {
  double sum = 0;
  auto add = [&](size_t index, ArrayRef<float> logits) {
    const double whole = logOfSum(logits);
    double restExpected = 1, rest = 1; // what is not named
    for (auto [token, log] :
         llvm::zip_equal(expected[index].tokens, expected[index].logs)) {
      const double here = logits[token] - whole;
      sum += std::exp(log) * (log - here);
      restExpected -= std::exp(log);
      rest -= std::exp(here);
    }
    // Below this the rest is an error of rounding.
    if (restExpected > 1e-5)
      sum += restExpected * std::log(restExpected / std::max(rest, 1e-5));
  };
  if (Error error = eachLogits(tokens, window, add))
    return std::move(error);
  return sum / double(tokens.size());
}

Error CompiledModel::watch(ArrayRef<int32_t> tokens, size_t window,
                           ArrayRef<std::string> names, TakeRows take) {
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
  auto readAll = [&](size_t) -> Error {
    for (const std::string &name : names)
      if (Error error = read(name))
        return error;
    return Error::success();
  };
  return run(tokens, window, readAll);
}
