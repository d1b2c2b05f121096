// Which rotation a model is built with, and how far it reaches: what the
// checkpoint says, or what the user asks for in its place (--positions).
#ifndef STELE_MODELS_POSITIONS_H
#define STELE_MODELS_POSITIONS_H

#include "stele/models/Families.h"

namespace stele::models {

struct Positions {
  checkpoint::RopeScaling scaling;
  std::optional<checkpoint::DualChunk> dualChunk;
  int64_t context = 0; // longest planned for
};

/// `path` names the checkpoint in errors: a context that the positions do not
/// reach, sizes that do not fit it or each other.
llvm::Expected<Positions> choosePositions(const checkpoint::ModelConfig &config,
                                          llvm::StringRef path,
                                          const BuildOptions &options);

} // namespace stele::models

#endif // STELE_MODELS_POSITIONS_H
