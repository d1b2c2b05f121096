// The table of model families. To add one: copy the file of the nearest family,
// declare its function in Families.h, and add its row here and the name of its
// architecture in compiler/Import/Config.cpp (docs/adding-a-family.md).
#include "stele/models/Families.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/models/Builder.h"

using namespace stele;
using namespace stele::models;

namespace {
struct Family {
  llvm::StringLiteral architecture;
  mlir::Value (*build)(ModelBuilder &builder);
};
} // namespace

static constexpr Family families[] = {
    {"llama", buildLlama},
    {"mistral", buildMistral},
    {"qwen2", buildQwen2},
    {"qwen3", buildQwen3},
};

/// The positions of a model say how far it reaches. YaRN is meant to be
/// stretched, at the user's risk; the others are noise beyond their end.
static llvm::Error checkContext(const checkpoint::Checkpoint &checkpoint,
                                int64_t context) {
  const checkpoint::ModelConfig &config = checkpoint.config();
  if (context <= config.context ||
      config.rope.kind == checkpoint::RopeScaling::Kind::Yarn)
    return llvm::Error::success();
  return checkpoint::makeError("{0}: context {1} is longer than the {2} tokens "
                               "that the model's positions "
                               "are made for; ask for {2} or less",
                               checkpoint.path(), context, config.context);
}

llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
models::buildModule(mlir::MLIRContext &context,
                    const checkpoint::Checkpoint &checkpoint,
                    const BuildOptions &options) {
  if (llvm::Error error = checkContext(checkpoint, options.context))
    return std::move(error);
  llvm::StringRef architecture = checkpoint.config().architecture;
  for (const Family &family : families)
    if (family.architecture == architecture) {
      ModelBuilder builder(context, checkpoint, options);
      return builder.finish(family.build(builder));
    }
  return checkpoint::makeError("{0}: no family builds the architecture '{1}'",
                               checkpoint.path(), architecture);
}
