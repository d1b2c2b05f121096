// stele perplexity: how well a model predicts a text, and how far it is from a
// reference on the same text.
//
// The text is cut into windows of `context` tokens, `stride` apart; each token
// is scored once, in the first window that holds it, by the logits behind the
// token before it.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "attention_stats.h"
#include "cli.h"
#include "prompts.h"
#include "stele/runtime/base/file.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/sampler.h"
#include "verbs.h"

namespace stele::cli {
namespace {

using nlohmann::json;

// Rows of the reference that wait for the model's: a step of both.
constexpr uint32_t kChunk = 128;
constexpr uint64_t kMaxTextBytes = 1ull << 30;

struct PerplexityFlags {
  ModelFlags model;
  std::string file;
  std::string reference;
  uint64_t context = 0;
  uint64_t stride = 0;
  MemoryFlags memory;
  AttentionFlags attention;
  bool json = false;

  void AddTo(CLI::App& app) {
    model.AddTo(app);
    memory.AddTo(app);
    attention.AddTo(app);
    app.add_option("-f,--file", file, "The text")->required();
    app.add_option("--context", context,
                   "Tokens in a window (default: the model's context)")
        ->transform(CountFlag());
    app.add_option("--stride", stride,
                   "Tokens between windows (default: the context)")
        ->transform(CountFlag());
    app.add_option("--reference", reference,
                   "Another artifact of the same vocabulary to compare with");
    app.add_flag("--json", json, "Print one JSON document");
  }
};

// log of the sum of exp(logit).
double LogSum(std::span<const float> logits) {
  const double best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - best);
  return best + std::log(sum);
}

// What is summed up over the scored tokens.
struct Scores {
  uint64_t tokens = 0;
  double nll = 0;
  double reference_nll = 0;
  uint64_t agreements = 0;
  std::vector<double> divergences;  // KL(reference || model) of each row
  bool is_dense = true;             // attention reads every key
  SteleAttentionWork work{};        // if it does not
  SteleHeadWork measured{};         // of all heads, where all keys are at hand
};

bool ReadsEveryKey(const Model& model) {
  if (model.states()) return false;
  for (const plan::Op* op : *model.functions().back()->ops())
    if (const auto* launch = op->body_as_Launch())
      if (launch->label()->string_view().starts_with("block_sparse_attention"))
        return false;
  return true;
}

class Scorer {
 public:
  Scorer(const PerplexityFlags& flags) : flags_(flags) {}

  Result<Scores> Run() {
    STELE_ASSIGN_OR_RETURN(model_, flags_.model.Load());
    scores_.is_dense =
        ReadsEveryKey(*model_) || flags_.attention.attention == "dense";
    if (!flags_.reference.empty()) {
      ModelFlags other = flags_.model;
      other.artifact = flags_.reference;
      other.sha256.clear();
      STELE_ASSIGN_OR_RETURN(reference_, other.Load());
    }
    STELE_RETURN_IF_ERROR(ReadText());
    STELE_RETURN_IF_ERROR(ChooseWindow());
    STELE_RETURN_IF_ERROR(MakeSessions());
    const uint64_t stride = stride_;
    uint64_t scored = 1;  // nothing comes before the first token
    for (uint64_t begin = 0; scored < tokens_.size(); begin += stride) {
      const uint64_t end = std::min(begin + context_, tokens_.size());
      STELE_RETURN_IF_ERROR(Window(begin, end, std::max(scored, begin + 1)));
      scored = end;
    }
    scores_.work = engine_->attention_work();
    scores_.measured = engine_->head_work();
    return std::move(scores_);
  }

 private:
  Status ReadText() {
    STELE_ASSIGN_OR_RETURN(auto tokenizer, LoadTokenizer(*model_));
    if (!tokenizer) return FailedPrecondition("this artifact has no tokenizer");
    STELE_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(flags_.file, kMaxTextBytes));
    STELE_ASSIGN_OR_RETURN(tokens_, tokenizer->Encode(text));
    if (tokens_.size() < 2)
      return InvalidArgument("'" + flags_.file + "' has " +
                             std::to_string(tokens_.size()) +
                             " tokens; two are needed to score one");
    if (reference_ &&
        reference_->info().vocab_size() != model_->info().vocab_size())
      return InvalidArgument("--reference has a vocabulary of " +
                             std::to_string(reference_->info().vocab_size()) +
                             ", the model of " +
                             std::to_string(model_->info().vocab_size()));
    return OkStatus();
  }

  Status ChooseWindow() {
    context_ = flags_.context ? flags_.context : model_->info().context();
    stride_ = flags_.stride ? flags_.stride : context_;
    if (context_ < 2 || stride_ > context_)
      return InvalidArgument("--context " + std::to_string(context_) +
                             " and --stride " + std::to_string(stride_) +
                             ": a window needs two tokens, and strides beyond "
                             "it would leave tokens out");
    context_ = std::min<uint64_t>(context_, tokens_.size());
    return OkStatus();
  }

  Status MakeSessions() {
    EngineOptions options;
    options.session_tokens = context_;
    options.chunk = LargestChunk();
    flags_.memory.Apply(&options);
    EngineOptions own = options;  // the reference attends as it was compiled
    own.measure_mass = !scores_.is_dense && !model_->IsPaged();
    flags_.attention.Apply(&own);
    STELE_ASSIGN_OR_RETURN(engine_, Engine::Create(model_, own));
    STELE_ASSIGN_OR_RETURN(session_, engine_->NewSession());
    session_->OnEveryLogits(
        [this](uint64_t position, std::span<const float> row) {
          Score(position, row);
        });
    if (!reference_) return OkStatus();
    STELE_ASSIGN_OR_RETURN(reference_engine_,
                           Engine::Create(reference_, options));
    STELE_ASSIGN_OR_RETURN(reference_session_, reference_engine_->NewSession());
    reference_session_->OnEveryLogits(
        [this](uint64_t, std::span<const float> row) {
          reference_rows_.emplace_back(row.begin(), row.end());
        });
    return OkStatus();
  }

  // What both models' plans take in one step.
  uint32_t LargestChunk() const {
    uint32_t chunk =
        std::min(kChunk, model_->functions().back()->max_logit_rows());
    if (reference_)
      chunk = std::min(chunk, reference_->functions().back()->max_logit_rows());
    return chunk;
  }

  // Scores tokens [score, end) of the window [begin, end).
  Status Window(uint64_t begin, uint64_t end, uint64_t score) {
    begin_ = begin;
    end_ = end;
    score_ = score;
    const auto window = std::span(tokens_).subspan(begin, end - begin);
    STELE_RETURN_IF_ERROR(Restart(session_.get(), window));
    if (reference_session_)
      STELE_RETURN_IF_ERROR(Restart(reference_session_.get(), window));
    while (session_->pending() > 0) {
      if (Interrupted()) return Cancelled("interrupted");
      reference_rows_.clear();
      next_reference_ = 0;
      // Both take the same chunks, so the rows of a step are the same.
      if (reference_engine_)
        STELE_RETURN_IF_ERROR(reference_engine_->Step().status());
      STELE_RETURN_IF_ERROR(engine_->Step().status());
    }
    return OkStatus();
  }

  static Status Restart(Session* session, std::span<const int32_t> tokens) {
    STELE_RETURN_IF_ERROR(session->Truncate(0));
    return session->Feed(tokens);
  }

  void Score(uint64_t position, std::span<const float> row) {
    const std::vector<float>* reference =
        reference_ ? &reference_rows_[next_reference_++] : nullptr;
    const uint64_t target = begin_ + position + 1;
    if (target < score_ || target >= end_) return;
    const int32_t token = tokens_[target];
    const double sum = LogSum(row);
    ++scores_.tokens;
    scores_.nll += sum - row[token];
    if (reference) Compare(row, sum, *reference, token);
  }

  void Compare(std::span<const float> row, double sum,
               std::span<const float> reference, int32_t token) {
    const double reference_sum = LogSum(reference);
    scores_.reference_nll += reference_sum - reference[token];
    scores_.agreements += ArgMax(row) == ArgMax(reference);
    double divergence = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const double log_p = reference[i] - reference_sum;
      divergence += std::exp(log_p) * (log_p - (row[i] - sum));
    }
    scores_.divergences.push_back(divergence);
  }

  const PerplexityFlags& flags_;
  std::shared_ptr<Model> model_, reference_;
  std::vector<int32_t> tokens_;
  uint64_t context_ = 0, stride_ = 0;
  std::unique_ptr<Engine> engine_, reference_engine_;
  std::unique_ptr<Session> session_, reference_session_;
  std::vector<std::vector<float>> reference_rows_;  // of the last step
  size_t next_reference_ = 0;
  // The window, and its first token that is scored.
  uint64_t begin_ = 0, end_ = 0, score_ = 0;
  Scores scores_;
};

json ToJson(Scores scores, bool compared) {
  const auto count = static_cast<double>(scores.tokens);
  const double nll = scores.nll / count;
  json result = {{"tokens", scores.tokens},
                 {"nll", nll},
                 {"perplexity", std::exp(nll)},
                 {"reference_perplexity", nullptr},
                 {"next_token_agreement", nullptr},
                 {"kl_mean", nullptr},
                 {"kl_p99", nullptr},
                 {"kept_mass", nullptr},
                 {"work_share", nullptr}};
  if (scores.is_dense) result["work_share"] = 1.0;
  if (scores.work.causal_pairs) result["work_share"] = WorkShare(scores.work);
  if (scores.measured.queries)
    result["kept_mass"] = MeanKeptMass(scores.measured);
  if (!compared) return result;
  std::vector<double>& kl = scores.divergences;
  std::sort(kl.begin(), kl.end());
  result["reference_perplexity"] = std::exp(scores.reference_nll / count);
  result["next_token_agreement"] =
      static_cast<double>(scores.agreements) / count;
  result["kl_mean"] = std::accumulate(kl.begin(), kl.end(), 0.0) / count;
  result["kl_p99"] = kl[std::min(kl.size() - 1, kl.size() * 99 / 100)];
  return result;
}

void Print(const json& result) {
  for (const auto& [name, value] : result.items())
    if (!value.is_null())
      std::printf("%-21s %s\n", name.c_str(), value.dump().c_str());
}

}  // namespace

int RunPerplexity(int argc, char** argv) {
  CLI::App app("Measure how well a model predicts a text");
  PerplexityFlags flags;
  flags.AddTo(app);
  if (auto code = Parse(
          app, argc, argv,
          "OUT.stele -f FILE [--context N] [--stride N] [--reference "
          "OTHER.stele] [flags]",
          "stele perplexity smollm2.stele -f book.txt --context 2K --stride "
          "1K"))
    return *code;
  CatchInterrupts();
  Result<Scores> scores = Scorer(flags).Run();
  if (Interrupted()) return kInterrupted;
  if (!scores.ok()) return Fail(scores.status());
  const json result = ToJson(*std::move(scores), !flags.reference.empty());
  if (flags.json)
    std::printf("%s\n", result.dump().c_str());
  else
    Print(result);
  return kDone;
}

}  // namespace stele::cli
