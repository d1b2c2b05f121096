// Numbers that attributes of the lm dialect describe and the compiler makes.

#ifndef STELE_DIALECTS_LM_LMCONSTANTS_H
#define STELE_DIALECTS_LM_LMCONSTANTS_H

#include "stele/dialects/Lm/LmAttrs.h"

namespace stele::lm {

/// The inverse frequencies that `rope` gives each pair of dimensions, dims/2 of
/// them, computed in f32 step by step the way the reference implementations do.
llvm::SmallVector<float> inverseFrequencies(RopeAttr rope);

/// What cosine and sine are multiplied by: YaRN's factor, or 1.
double attentionFactor(RopeAttr rope);

/// W of FAVOR+, [features, headDim]: rows as long as Gaussian vectors; with
/// `orthogonal` those of each group of headDim are at right angles. The same
/// seed gives the same numbers everywhere.
llvm::SmallVector<float> randomFeatures(FeatureMapAttr map, int64_t headDim);

} // namespace stele::lm

#endif // STELE_DIALECTS_LM_LMCONSTANTS_H
