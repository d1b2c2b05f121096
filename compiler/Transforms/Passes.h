// The passes lm -> lm and the pipeline that runs them, shared by stele-compile,
// stele-opt and the tests.

#ifndef STELE_COMPILER_TRANSFORMS_PASSES_H
#define STELE_COMPILER_TRANSFORMS_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "stele/dialects/Lm/LmDialect.h"

namespace stele::compiler {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "stele/compiler/Transforms/Passes.h.inc"

/// What a compile may ask of the lm passes.
struct LmPipelineOptions : mlir::PassPipelineOptions<LmPipelineOptions> {
  Option<std::string> arithmetic{*this, "arithmetic",
                                 llvm::cl::desc("f32, bf16 or int8"),
                                 llvm::cl::init("f32")};
  Option<std::string> kv{
      *this, "kv",
      llvm::cl::desc("what the cache stores: auto, f32, f16, bf16 or int8"),
      llvm::cl::init("auto")};
  Option<std::string> attention{*this, "attention",
                                llvm::cl::desc("dense, sparse, hybrid or "
                                               "kernelized"),
                                llvm::cl::init("dense")};
  Option<int64_t> block{*this, "block",
                        llvm::cl::desc("sparse: tokens per block"),
                        llvm::cl::init(128)};
  Option<int64_t> local{*this, "local",
                        llvm::cl::desc("sparse: blocks always kept, from the "
                                       "query's own backwards"),
                        llvm::cl::init(1)};
  Option<int64_t> adjacent{
      *this, "adjacent",
      llvm::cl::desc("sparse: blocks always kept before the local ones"),
      llvm::cl::init(1)};
  Option<int64_t> sink{*this, "sink",
                       llvm::cl::desc("sparse: first blocks always kept"),
                       llvm::cl::init(1)};
  Option<int64_t> topK{*this, "top-k",
                       llvm::cl::desc("sparse: blocks chosen per query block"),
                       llvm::cl::init(0)};
  Option<double> topP{*this, "top-p",
                      llvm::cl::desc("sparse: estimated mass to keep"),
                      llvm::cl::init(0)};
  Option<double> topShare{
      *this, "top-share",
      llvm::cl::desc("sparse: share of the blocks that are chosen"),
      llvm::cl::init(0)};
  Option<int64_t> dense{
      *this, "dense",
      llvm::cl::desc("sparse: first query blocks, which keep everything"),
      llvm::cl::init(0)};
  Option<int64_t> limit{
      *this, "limit",
      llvm::cl::desc("sparse: blocks that top-p and top-share choose at most"),
      llvm::cl::init(0)};
  Option<std::string> estimate{
      *this, "estimate",
      llvm::cl::desc("sparse: mean_key, antidiagonal or vertical_slash"),
      llvm::cl::init("mean_key")};
  Option<int64_t> randomFeatures{*this, "random-features",
                                 llvm::cl::desc("kernelized: random features"),
                                 llvm::cl::init(256)};
  Option<uint64_t> seed{*this, "seed",
                        llvm::cl::desc("kernelized: seed of the features"),
                        llvm::cl::init(0)};
  Option<std::string> quant{
      *this, "quant",
      llvm::cl::desc("int4 or int8, none to dequantise; empty: as imported"),
      llvm::cl::init("")};
  Option<int64_t> group{
      *this, "group", llvm::cl::desc("int4, int8: elements that share a scale"),
      llvm::cl::init(32)};
  Option<bool> fuse{*this, "fuse",
                    llvm::cl::desc("join operations (off: one kernel for every "
                                   "operation of the input)"),
                    llvm::cl::init(true)};
  Option<std::string> isa{*this, "isa",
                          llvm::cl::desc("the target's ISA level"),
                          llvm::cl::init("x86-64-v3")};
  ListOption<std::string> features{
      *this, "features", llvm::cl::desc("CPU features beyond the ISA level")};
};

/// The three phases of the lm passes: what the module is to compute, in few
/// operations, by which kernels.
void buildInputPipeline(mlir::OpPassManager &manager,
                        const LmPipelineOptions &options);
void buildFusionPipeline(mlir::OpPassManager &manager,
                         const LmPipelineOptions &options);
void buildSelectionPipeline(mlir::OpPassManager &manager,
                            const LmPipelineOptions &options);

/// All three: from an imported module to one whose operations carry their
/// kernels.
void buildLmPipeline(mlir::OpPassManager &manager,
                     const LmPipelineOptions &options);

/// Registers the passes and `stele-lm-pipeline`.
void registerLmPasses();

} // namespace stele::compiler

#endif // STELE_COMPILER_TRANSFORMS_PASSES_H
