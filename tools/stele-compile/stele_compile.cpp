// stele-compile: the command line of the compiler. Flags become CompileOptions,
// an error becomes one line and exit code 1; `stele compile` runs this program.

#include "stele/compiler/Calibrate/AttentionGate.h"
#include "stele/compiler/Calibrate/Gate.h"
#include "stele/compiler/Driver/Driver.h"
#include "stele/compiler/Targets/Sizes.h"
#include "stele/compiler/Targets/Targets.h"
#include "stele/schema/size_text.h"
#include "stele/stele.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Signals.h"
#include <CLI/CLI.hpp>
#include <csignal>
#include <unistd.h>

using namespace stele;

static constexpr int exitFailed = 1, exitUsage = 2, exitInterrupted = 130;

static constexpr int maxBlocks = 1 << 20;

static constexpr const char *usage =
    "usage: stele compile CHECKPOINT -o OUT.stele [flags]";

/// Token counts: 32K is 32 * 1024, 1M is 1024 * 1024.
static std::string parseTokens(std::string &text) {
  std::optional<uint64_t> count = schema::ParseCount(text);
  if (!count || *count == 0 || *count > uint64_t(1) << 31)
    return "'" + text + "' is not a count of tokens (8192, 32K, 1M)";
  text = std::to_string(*count);
  return "";
}

static std::string parseSize(std::string &text) {
  std::optional<int64_t> bytes = compiler::parseBytes(text);
  if (!bytes)
    return "'" + text +
           "' is not a size: bytes, or K, M, G or T of them, powers of 1024 "
           "(700M, 8GiB)";
  text = std::to_string(*bytes);
  return "";
}

static std::string checkWeights(const std::string &text) {
  llvm::StringRef seed = text;
  uint64_t value;
  if (text == "inline" || text == "external" ||
      (seed.consume_front("synthetic:") && !seed.getAsInteger(10, value)))
    return "";
  return "'" + text + "' is not inline, external or synthetic:SEED";
}

/// The runtime itself is asked, since a regular expression that it cannot match
/// would otherwise be found by whoever runs the artifact.
template <stele_status (*check)(const void *, size_t)>
static std::string problemOf(llvm::ArrayRef<uint8_t> bytes) {
  return check(bytes.data(), bytes.size()) == STELE_OK ? ""
                                                       : stele_last_error();
}

/// "1%" or "0.5%" as a share.
static std::string parsePercent(std::string &text) {
  llvm::StringRef digits = text;
  digits.consume_back("%");
  double percent;
  if (digits.getAsDouble(percent) || !(percent >= 0 && percent <= 1000))
    return "'" + text + "' is not a share from 0% to 1000%";
  text = std::to_string(percent / 100);
  return "";
}

static void addGateFlags(CLI::App &app, compiler::GateOptions &gate) {
  app.add_option("--calibrate", gate.calibrate,
                 "with --quant auto, --attention sparse or --attention auto: "
                 "text to take statistics on, and, the last third, to measure "
                 "the loss on (default with --quant auto: two that come with "
                 "the compiler; otherwise no calibration)")
      ->type_name("FILE");
  app.add_option("--max-loss", gate.maxLoss,
                 "with --quant auto or --calibrate: how much perplexity may "
                 "grow (default: 1%)")
      ->transform(CLI::Validator(parsePercent, ""))
      ->type_name("SHARE");
  app.add_flag("--force", gate.force,
               "with --quant auto or --calibrate: write the best artifact "
               "even if it loses more");
}

/// Which key blocks sparse attention reads.
static void addSparsityFlags(CLI::App &app, compiler::CompileOptions &options) {
  auto &sparsity = options.sparsity;
  app.add_option("--attention", options.attention,
                 "dense, sparse (over chosen blocks of keys), hybrid (sparse, "
                 "with an estimate of the other blocks), kernelized (random "
                 "features: for models trained with them) or auto: dense, or, "
                 "with --calibrate, sparse where that text allows it (default: "
                 "auto)")
      ->check(
          CLI::IsMember({"auto", "dense", "sparse", "hybrid", "kernelized"}))
      ->type_name("KIND");
  app.add_option("--block", sparsity.block,
                 "sparse: tokens in a block, 64, 128, 256 or 512 (default: "
                 "128)")
      ->check(CLI::IsMember({64, 128, 256, 512}))
      ->type_name("N");
  app.add_option("--local", sparsity.local,
                 "sparse: blocks always kept, from the query's own backwards "
                 "(default: 1)")
      ->check(CLI::Range(1, maxBlocks))
      ->type_name("N");
  app.add_option("--adjacent", sparsity.adjacent,
                 "sparse: blocks always kept before those (default: 1)")
      ->check(CLI::Range(0, maxBlocks))
      ->type_name("N");
  app.add_option("--sink", sparsity.sink,
                 "sparse: first blocks, always kept (default: 1)")
      ->check(CLI::Range(0, maxBlocks))
      ->type_name("N");
  auto *count = app.add_option("--top-k", sparsity.topK,
                               "sparse: how many other blocks are chosen for a "
                               "block of queries")
                    ->check(CLI::Range(1, maxBlocks))
                    ->type_name("N");
  auto *share =
      app.add_option("--density", sparsity.share,
                     "sparse: or their share of the blocks up to the query's; "
                     "0: none are chosen (default: 0.1)")
          ->check(CLI::Range(0.0, 1.0))
          ->type_name("SHARE");
  auto *mass = app.add_option("--mass", sparsity.mass,
                              "sparse: or as many as hold this share of the "
                              "attention, by the estimate, with those always "
                              "kept")
                   ->check(CLI::Range(1e-6, 1.0))
                   ->type_name("SHARE");
  auto *limit = app.add_option("--max-blocks", sparsity.limit,
                               "sparse: of the blocks that --density or --mass "
                               "choose at most so many; 0: any number "
                               "(default: 0)")
                    ->check(CLI::Range(0, maxBlocks))
                    ->type_name("N");
  count->excludes(share)->excludes(mass)->excludes(limit);
  share->excludes(mass);
}

/// How much memory the KV cache may take, and where.
static void addPagingFlags(CLI::App &app, compiler::CompileOptions &options) {
  auto &paging = options.paging;
  auto *device =
      app.add_option("--device-memory", paging.deviceMemory,
                     "what weights, activations and the KV cache may take; "
                     "pages that do not fit are packed and moved to host "
                     "memory, and back as attention chooses them (default: all "
                     "of the cache stays). SIZE: bytes, or K, M, G or T of "
                     "them, powers of 1024 (700M, 8GiB)")
          ->transform(CLI::Validator(parseSize, ""))
          ->type_name("SIZE");
  app.add_option("--host-memory", paging.hostMemory,
                 "what packed pages may take of host memory; those beyond are "
                 "kept in a file (default: all in memory)")
      ->transform(CLI::Validator(parseSize, ""))
      ->needs(device)
      ->type_name("SIZE");
  app.add_option("--hot-window", paging.hotWindow,
                 "last tokens whose pages never leave device memory, at least "
                 "(default: 10240)")
      ->transform(CLI::Validator(parseTokens, ""))
      ->needs(device)
      ->type_name("TOKENS");
}

static void addFlags(CLI::App &app, compiler::CompileOptions &options,
                     std::string &stopAfter) {
  app.add_option("checkpoint", options.input,
                 "Hugging Face folder, .gguf, config.json alone with synthetic "
                 "weights, or the .mlir of any phase")
      ->required()
      ->type_name("CHECKPOINT");
  app.add_option("-o,--output", options.output,
                 "the artifact; with --compile-to the .mlir (default: stdout)")
      ->type_name("FILE");
  app.add_option("--target", options.target,
                 "host, " + llvm::join(compiler::targetNames(), ", ") +
                     ", or a description file; several with commas between "
                     "(default: host)")
      ->type_name("NAME[,...]");
  app.add_option("--activations", options.activations,
                 "arithmetic of the linears: f32 (parity with the reference), "
                 "bf16, int8 (quantised weights only, the rest as bf16) or "
                 "auto (default: auto, int8 when weights are quantised, "
                 "otherwise the target's)")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}))
      ->type_name("TYPE");
  auto *quant =
      app.add_option("--quant", options.quant,
                     "auto (the smallest within --max-loss), int4, int8, or "
                     "none to dequantise (default: as the checkpoint stores "
                     "the weights)")
          ->check(CLI::IsMember({"auto", "none", "int8", "int4"}))
          ->type_name("KIND");
  app.add_option("--group", options.group,
                 "with --quant: weights that share a scale, 32, 64 or 128 "
                 "(default: 32)")
      ->check(CLI::IsMember({32, 64, 128}))
      ->needs(quant)
      ->type_name("N");
  app.add_option("--kv", options.kv,
                 "how the KV cache stores keys and values: auto, f32, f16, "
                 "bf16 or int8 (default: auto, as the arithmetic); with "
                 "--device-memory those that leave it, int4 too (default: "
                 "auto, int8)")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "int8", "int4"}))
      ->type_name("TYPE");
  app.add_option("--features", options.features,
                 "with --attention kernelized: random features (default: 256)")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  app.add_option("--context", options.context,
                 "longest context planned for (default: the checkpoint's)")
      ->transform(CLI::Validator(parseTokens, ""))
      ->type_name("TOKENS");
  app.add_option("--positions", options.positions,
                 "rope (plain), yarn (stretched to the context), dca (dual "
                 "chunk attention) or auto, what the checkpoint says "
                 "(default: auto)")
      ->check(CLI::IsMember({"auto", "rope", "yarn", "dca"}))
      ->type_name("KIND");
  app.add_option("--dca-chunk", options.dcaChunk,
                 "with --positions dca: the longest distance of a query and a "
                 "key (default: the trained length)")
      ->transform(CLI::Validator(parseTokens, ""))
      ->type_name("TOKENS");
  app.add_option("--dca-local", options.dcaLocal,
                 "with --positions dca: what of a chunk is kept for the chunk "
                 "before it (default: an eighth)")
      ->transform(CLI::Validator(parseTokens, ""))
      ->type_name("TOKENS");
  app.add_option("--weights", options.weights,
                 "inline, external (a file beside the artifact) or "
                 "synthetic:SEED (default: inline)")
      ->check(checkWeights)
      ->type_name("WHERE");
  app.add_option("--checkpoint", options.checkpoint,
                 "for an .mlir: where its weights are (default: where it says)")
      ->type_name("PATH");
  app.add_option("--compile-to", stopAfter,
                 "stop after a phase: " + compiler::phaseNames())
      ->check([](const std::string &name) {
        return compiler::parsePhase(name)
                   ? std::string()
                   : "'" + name + "' is none of " + compiler::phaseNames();
      })
      ->type_name("PHASE");
  app.add_option("--dump-dir", options.dumpDir,
                 "write the module after each phase there, and the code")
      ->type_name("DIR");
  app.add_option("--jobs", options.jobs,
                 "threads that compile kernels (default: every core)")
      ->check(CLI::Range(1u, 1024u))
      ->type_name("N");
  app.add_flag("--time-phases", options.timePhases,
               "print the time of every pass");
  app.add_flag_callback(
      "--no-fuse", [&options] { options.fuse = false; },
      "one kernel for every operation of the model, to compare with");
}

/// The line and exit code that a wrong command gets.
static int refuseUsage(llvm::StringRef why) {
  llvm::errs() << "error: " << why << "\n" << usage << "\n";
  return exitUsage;
}

/// Whether a text was named for the attention that was asked for.
static bool isAttentionCalibrated(const CLI::App &app,
                                  const compiler::CompileOptions &options) {
  return app.count("--calibrate") > 0 && app.count("--attention") > 0 &&
         (options.attention == "sparse" || options.attention == "auto");
}

/// Whether it was said how many blocks are chosen.
static bool hasBudget(const CLI::App &app) {
  return app.count("--top-k") + app.count("--density") + app.count("--mass") >
         0;
}

/// What is wrong with flags of blocks; empty: nothing.
static std::string conflictInSparsity(const CLI::App &app,
                                      const compiler::CompileOptions &options,
                                      bool isCalibrated) {
  const bool isHybrid = options.attention == "hybrid";
  for (const char *flag : {"--block", "--local", "--adjacent", "--sink",
                           "--top-k", "--density", "--mass", "--max-blocks"})
    if (app.count(flag) > 0 && options.attention != "sparse" && !isHybrid)
      return std::string(flag) + " needs --attention sparse or hybrid";
  const auto &sparsity = options.sparsity;
  if (isHybrid && app.count("--density") > 0 && sparsity.share == 0)
    return "--density 0 chooses nothing, beside which --attention hybrid "
           "estimates nothing; use --attention sparse";
  if (sparsity.limit > 0 && sparsity.share == 0 && sparsity.mass == 0)
    return "--max-blocks is for what --mass or --density choose; --density 0 "
           "chooses nothing";
  if (isCalibrated && sparsity.topK == 0 && sparsity.share == 0 &&
      sparsity.mass == 0)
    return "--calibrate is for what --mass, --density or --top-k choose; "
           "--density 0 chooses nothing";
  return "";
}

/// What is wrong with flags of the gates, likewise.
static std::string conflictInGates(const CLI::App &app,
                                   const compiler::CompileOptions &options,
                                   bool isCalibrated) {
  const bool isGated = options.quant == "auto";
  if (isCalibrated && isGated)
    return "--calibrate tunes the weights (--quant auto) or the attention "
           "(--attention), not both at once; say --quant int4 or int8, or "
           "leave --attention out";
  if (isCalibrated && app.count("--compile-to") > 0)
    return "--compile-to stops before there is anything to calibrate; leave "
           "--calibrate out";
  for (const char *flag : {"--calibrate", "--max-loss", "--force"})
    if (app.count(flag) > 0 && !isGated && !isCalibrated)
      return std::string(flag) + " needs --quant auto, or --attention sparse "
                                 "or auto with --calibrate";
  return "";
}

static std::string conflictIn(const CLI::App &app,
                              const compiler::CompileOptions &options,
                              bool isCalibrated) {
  if ((options.dcaChunk || options.dcaLocal) && options.positions != "dca")
    return "--dca-chunk and --dca-local need --positions dca";
  if (app.count("--features") > 0 && options.attention != "kernelized")
    return "--features needs --attention kernelized";
  if (options.kv == "int4" && options.paging.deviceMemory == 0)
    return "--kv int4 needs --device-memory: it is for pages that leave it";
  std::string why = conflictInSparsity(app, options, isCalibrated);
  return why.empty() ? conflictInGates(app, options, isCalibrated) : why;
}

static llvm::Error compilePlainly(const compiler::CompileOptions &options,
                                  const compiler::GateOptions &,
                                  llvm::raw_ostream &progress) {
  return compiler::compile(options, progress);
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  // LLVM's handler removes temporary files before it calls this.
  llvm::sys::SetInterruptFunction([] { _exit(exitInterrupted); });

  compiler::CompileOptions options;
  compiler::GateOptions gate;
  std::string stopAfter;
  CLI::App app("Compiles a checkpoint into an artifact.\n"
               "Example: stele compile SmolLM2-135M-Instruct -o smollm2.stele",
               "stele compile");
  addFlags(app, options, stopAfter);
  addSparsityFlags(app, options);
  addPagingFlags(app, options);
  addGateFlags(app, gate);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    llvm::outs() << app.help();
    return 0;
  } catch (const CLI::ParseError &error) {
    return refuseUsage(error.what());
  }
  const bool isCalibrated = isAttentionCalibrated(app, options);
  if (!hasBudget(app) && isCalibrated)
    options.sparsity.mass = 0.95;
  else if (!hasBudget(app))
    options.sparsity.share = 0.1;
  if (const std::string why = conflictIn(app, options, isCalibrated);
      !why.empty())
    return refuseUsage(why);
  if (!stopAfter.empty())
    options.stopAfter = *compiler::parsePhase(stopAfter);
  if (options.output.empty() && options.stopAfter == compiler::Phase::Artifact)
    return refuseUsage("-o is missing: where to write the artifact");

  options.tokenizerProblem = problemOf<stele_check_tokenizer>;
  options.templateProblem = problemOf<stele_check_chat_templates>;
  auto run = options.quant == "auto" ? compiler::compileCalibrated
             : isCalibrated          ? compiler::compileWithCalibratedAttention
                                     : compilePlainly;
  if (llvm::Error error = run(options, gate, llvm::errs())) {
    llvm::errs() << "error: " << llvm::toString(std::move(error)) << "\n";
    return exitFailed;
  }
  // All is in place: an interrupt from here on comes too late.
  std::signal(SIGINT, SIG_IGN);
  return 0;
}
