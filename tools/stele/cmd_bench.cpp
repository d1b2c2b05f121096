// stele bench: tokens per second of prompts and of decoding, at given depths
// and batches, without tokenizer or sampling.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "cli.h"
#include "process.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/random.h"
#include "verbs.h"

namespace stele::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct BenchFlags {
  ModelFlags model;
  std::vector<std::string> prompts = {"512"};
  std::vector<std::string> decodes = {"128"};
  std::vector<std::string> depths = {"0"};
  std::vector<std::string> batches = {"1"};
  std::vector<std::string> lengths;
  uint32_t repeats = 3;
  uint32_t chunk = 0;
  MemoryFlags memory;
  AttentionFlags attention;
  bool json = false;

  void AddTo(CLI::App& app) {
    model.AddTo(app);
    const auto list = [&](const char* name, std::vector<std::string>& values,
                          const char* what) {
      return app.add_option(name, values, what)
          ->delimiter(',')
          ->transform(CountFlag());
    };
    list("-p,--prompt", prompts, "Lengths of prompts; 0: none");
    list("-n,--decode", decodes, "Tokens to decode; 0: none");
    list("-d,--depth", depths, "Tokens already in the cache");
    auto* batch = list("-b,--batch", batches, "Sequences in the batch");
    list("--lengths", lengths,
         "One batch of sequences of these lengths, and the same padded to the "
         "longest, instead of -p and -d")
        ->excludes(batch);
    app.add_option("-r,--repeat", repeats, "Timed repetitions")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--chunk", chunk,
                   "Most tokens in one step; 0: as many as the artifact has a "
                   "step for")
        ->transform(CountFlag());
    memory.AddTo(app);
    attention.AddTo(app);
    app.add_flag("--json", json, "Print one JSON document");
  }
};

// One row of the table: sequence i starts with depths[i] cached tokens, gets
// prompts[i] in one go (prefill) or `decode` one at a time.
struct Case {
  bool prefill;
  std::vector<uint64_t> depths;
  std::vector<uint64_t> prompts;
  uint64_t decode = 0;
  std::vector<uint64_t> wanted = {};  // of --lengths; the rest is padding

  // Those that somebody asked for: padding is no progress.
  uint64_t Tokens() const {
    if (!prefill) return decode * depths.size();
    return Sum(wanted.empty() ? prompts : wanted);
  }
  // Of the rows that a prefill computes, or of the keys that decoding reads,
  // the share that is not padding.
  double UsefulWork() const {
    const uint64_t done = Sum(prefill ? prompts : depths);
    return wanted.empty() || done == 0
               ? 1
               : static_cast<double>(Sum(wanted)) / static_cast<double>(done);
  }

 private:
  static uint64_t Sum(const std::vector<uint64_t>& values) {
    return std::accumulate(values.begin(), values.end(), uint64_t{0});
  }
};

std::vector<uint64_t> Numbers(const std::vector<std::string>& texts) {
  std::vector<uint64_t> numbers;
  for (const std::string& text : texts) numbers.push_back(std::stoull(text));
  return numbers;
}

// The batch as it is, and as engines compute it that pad to the longest.
std::vector<Case> MixedCases(const std::vector<uint64_t>& lengths,
                             const std::vector<uint64_t>& decodes) {
  const std::vector<uint64_t> none(lengths.size(), 0);
  const std::vector<uint64_t> padded(
      lengths.size(), *std::max_element(lengths.begin(), lengths.end()));
  std::vector<Case> cases;
  for (const auto& computed : {lengths, padded})
    cases.push_back({true, none, computed, 0, lengths});
  for (uint64_t n : decodes)
    for (const auto& cached : {lengths, padded})
      if (n > 0) cases.push_back({false, cached, {}, n, lengths});
  return cases;
}

std::vector<Case> Cases(const BenchFlags& flags) {
  if (!flags.lengths.empty())
    return MixedCases(Numbers(flags.lengths), Numbers(flags.decodes));
  std::vector<Case> cases;
  for (uint64_t batch : Numbers(flags.batches))
    for (uint64_t depth : Numbers(flags.depths)) {
      const std::vector<uint64_t> depths(batch, depth);
      for (uint64_t prompt : Numbers(flags.prompts))
        if (prompt > 0 && batch > 0)
          cases.push_back({true, depths, std::vector<uint64_t>(batch, prompt)});
      for (uint64_t n : Numbers(flags.decodes))
        if (n > 0 && batch > 0) cases.push_back({false, depths, {}, n});
    }
  return cases;
}

// A case on an engine of its own.
class Bench {
 public:
  static Result<std::unique_ptr<Bench>> Create(std::shared_ptr<Model> model,
                                               const BenchFlags& flags,
                                               const Case& test) {
    auto bench = std::make_unique<Bench>(test, model->info().vocab_size());
    EngineOptions options;
    options.max_sessions = static_cast<uint32_t>(test.depths.size());
    options.chunk = flags.chunk;
    flags.memory.Apply(&options);
    flags.attention.Apply(&options);
    for (size_t i = 0; i < test.depths.size(); ++i) {
      options.session_tokens =
          std::max(options.session_tokens, bench->Length(i));
      options.total_tokens += bench->Length(i);
    }
    STELE_ASSIGN_OR_RETURN(bench->engine_,
                           Engine::Create(std::move(model), options));
    for (size_t i = 0; i < test.depths.size(); ++i) {
      STELE_ASSIGN_OR_RETURN(auto session,
                             bench->engine_->NewSession(bench->Length(i)));
      STELE_RETURN_IF_ERROR(session->Feed(bench->Tokens(test.depths[i])));
      bench->sessions_.push_back(std::move(session));
    }
    STELE_RETURN_IF_ERROR(bench->Drain());
    return bench;
  }

  Bench(const Case& test, uint32_t vocabulary)
      : test_(test), vocabulary_(vocabulary) {}

  // Seconds of one repetition; the sessions are as before afterwards.
  Result<double> Repeat() {
    const Clock::time_point start = Clock::now();
    if (test_.prefill) {
      for (size_t i = 0; i < sessions_.size(); ++i)
        STELE_RETURN_IF_ERROR(sessions_[i]->Feed(Tokens(test_.prompts[i])));
      STELE_RETURN_IF_ERROR(Drain());
    }
    for (uint64_t n = 0; n < test_.decode; ++n) {
      for (auto& session : sessions_)
        STELE_RETURN_IF_ERROR(session->Feed(Tokens(1)));
      STELE_RETURN_IF_ERROR(Drain());
    }
    const double seconds =
        std::chrono::duration<double>(Clock::now() - start).count();
    for (size_t i = 0; i < sessions_.size(); ++i)
      STELE_RETURN_IF_ERROR(sessions_[i]->Truncate(test_.depths[i]));
    // Kernelized attention has to compute again what is left.
    STELE_RETURN_IF_ERROR(Drain());
    return seconds;
  }

 private:
  uint64_t Length(size_t i) const {
    return test_.depths[i] + (test_.prefill ? test_.prompts[i] : test_.decode);
  }

  std::vector<int32_t> Tokens(uint64_t count) {
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens)
      token = static_cast<int32_t>(random_.Next() % vocabulary_);
    return tokens;
  }

  Status Drain() {
    for (;;) {
      STELE_ASSIGN_OR_RETURN(const StepReport report, engine_->Step());
      if (report.tokens == 0) return OkStatus();
      if (Interrupted()) return Cancelled("interrupted");
    }
  }

  const Case& test_;
  uint32_t vocabulary_;
  Random random_{1};
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

// Of sorted values; between the two middle ones when they are even in number.
double Median(const std::vector<double>& sorted) {
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half]
                           : (sorted[half - 1] + sorted[half]) / 2;
}

Result<json> Measure(const std::shared_ptr<Model>& model,
                     const BenchFlags& flags, const Case& test) {
  STELE_ASSIGN_OR_RETURN(auto bench, Bench::Create(model, flags, test));
  STELE_RETURN_IF_ERROR(bench->Repeat().status());  // warms up
  std::vector<double> rates;
  for (uint32_t i = 0; i < flags.repeats; ++i) {
    STELE_ASSIGN_OR_RETURN(const double seconds, bench->Repeat());
    rates.push_back(static_cast<double>(test.Tokens()) / seconds);
  }
  std::sort(rates.begin(), rates.end());
  const uint64_t sequences = test.depths.size();
  return json{{"test", test.prefill ? "prefill" : "decode"},
              {"tokens", test.Tokens() / sequences},
              {"depth", test.depths[0]},
              {"batch", sequences},
              {"useful_work", test.UsefulWork()},
              {"tokens_per_s",
               {{"median", Median(rates)},
                {"min", rates.front()},
                {"max", rates.back()}}},
              {"peak_bytes", PeakMemory()}};
}

void PrintHeader() {
  std::printf(
      "test      tokens    depth  batch  useful   tokens/s        min        "
      "max         peak\n");
}

void PrintRow(const json& row) {
  std::printf("%-8s %7llu %8llu %6llu %7.2f %10.1f %10.1f %10.1f %12s\n",
              row["test"].get<std::string>().c_str(),
              row["tokens"].get<unsigned long long>(),
              row["depth"].get<unsigned long long>(),
              row["batch"].get<unsigned long long>(),
              row["useful_work"].get<double>(),
              row["tokens_per_s"]["median"].get<double>(),
              row["tokens_per_s"]["min"].get<double>(),
              row["tokens_per_s"]["max"].get<double>(),
              FormatBytes(row["peak_bytes"]).c_str());
  std::fflush(stdout);
}

Status RunCases(const BenchFlags& flags) {
  STELE_ASSIGN_OR_RETURN(auto model, flags.model.Load());
  json rows = json::array();
  for (const Case& test : Cases(flags)) {
    STELE_ASSIGN_OR_RETURN(json row, Measure(model, flags, test));
    // Behind the first measurement: a refusal leaves nothing on stdout.
    if (!flags.json && rows.empty()) PrintHeader();
    if (!flags.json) PrintRow(row);
    rows.push_back(std::move(row));
  }
  if (flags.json) std::printf("%s\n", json{{"rows", rows}}.dump().c_str());
  return OkStatus();
}

}  // namespace

int RunBench(int argc, char** argv) {
  CLI::App app("Measure tokens per second of prompts and of decoding");
  BenchFlags flags;
  flags.AddTo(app);
  if (auto code = Parse(app, argc, argv,
                        "OUT.stele [-p N,...] [-n N,...] [-d N,...] [-b N,... "
                        "| --lengths N,...] [-r N] [flags]",
                        "stele bench smollm2.stele -p 512 -n 128 -d 0,4096 -r "
                        "5"))
    return *code;
  if (Cases(flags).empty())
    return WrongUsage(app,
                      "nothing to measure; give a -p or -n, and a -b, above 0");
  CatchInterrupts();
  const Status status = RunCases(flags);
  if (Interrupted()) return kInterrupted;
  return status.ok() ? kDone : Fail(status);
}

}  // namespace stele::cli
