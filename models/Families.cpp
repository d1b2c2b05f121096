// The table of model families. To add one: copy the file of the nearest family,
// declare its function in Families.h, and add its row here and the name of its
// architecture in compiler/Import/Config.cpp (docs/adding-a-family.md).
#include "stele/models/Families.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/models/Builder.h"
#include "stele/models/Positions.h"

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

llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
models::buildModule(mlir::MLIRContext &context,
                    const checkpoint::Checkpoint &checkpoint,
                    const BuildOptions &options) {
  llvm::Expected<Positions> positions =
      choosePositions(checkpoint.config(), checkpoint.path(), options);
  if (!positions)
    return positions.takeError();
  llvm::StringRef architecture = checkpoint.config().architecture;
  for (const Family &family : families)
    if (family.architecture == architecture) {
      ModelBuilder builder(context, checkpoint, *positions, options.block);
      return builder.finish(family.build(builder));
    }
  return checkpoint::makeError("{0}: no family builds the architecture '{1}'",
                               checkpoint.path(), architecture);
}
