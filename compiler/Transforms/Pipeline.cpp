// The order of the lm passes. Fusion runs from the leaves of a layer inwards:
// rotations and head norms have to be inside cache append and attention before
// the projections can join, and these have to be one before a norm has a single
// reader.
//
// A compile may start at any of the three parts from a file that somebody
// edited, which is why each begins with the check of its input.

#include "mlir/Transforms/Passes.h"
#include "stele/compiler/Transforms/Passes.h"

using namespace mlir;
using namespace stele;

void compiler::buildInputPipeline(OpPassManager &manager,
                                  const LmPipelineOptions &options) {
  manager.addPass(createVerifyInput());
  if (!options.quant.empty())
    manager.addPass(createDequantise());
  manager.addPass(createChooseArithmetic({options.arithmetic, options.kv}));
  manager.addPass(createChooseAttention(
      {options.attention, options.block, options.local, options.adjacent,
       options.sink, options.topK, options.topP, options.estimate,
       options.randomFeatures, options.seed, options.topShare, options.dense,
       options.limit}));
  manager.addPass(createCanonicalizerPass());
}

void compiler::buildFusionPipeline(OpPassManager &manager,
                                   const LmPipelineOptions &options) {
  manager.addPass(createVerifyInput());
  if (options.fuse) {
    manager.addPass(createFuseRopeAppend());
    manager.addPass(createFuseLinears());
    manager.addPass(createFuseNorms());
    manager.addPass(createFuseResiduals());
  }
  manager.addPass(createPrepareFeatures());
  manager.addPass(createPreparePositions());
  if (options.quant == "int4" || options.quant == "int8") {
    QuantiseOptions quantise;
    quantise.kind = options.quant;
    quantise.group = options.group;
    manager.addPass(createQuantise(quantise));
  }
}

void compiler::buildSelectionPipeline(OpPassManager &manager,
                                      const LmPipelineOptions &options) {
  manager.addPass(createVerifyInput());
  // Calibration learns from fused modules, and goes on here.
  manager.addPass(createAddReferences());
  SelectKernelsOptions kernels;
  kernels.isa = options.isa;
  llvm::append_range(kernels.features, options.features);
  manager.addPass(createSelectKernels(kernels));
}

void compiler::buildLmPipeline(OpPassManager &manager,
                               const LmPipelineOptions &options) {
  buildInputPipeline(manager, options);
  buildFusionPipeline(manager, options);
  buildSelectionPipeline(manager, options);
}

void compiler::registerLmPasses() {
  registerSteleTransformsPasses();
  PassPipelineRegistration<LmPipelineOptions>(
      "stele-lm-pipeline", "from an imported module to chosen kernels",
      buildLmPipeline);
}
