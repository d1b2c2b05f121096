// Reads the headers of safetensors files: one file, or shards named by a
// model.safetensors.index.json. Every rule of the format is checked here, so
// that nobody later reads outside a tensor's bytes.
#ifndef STELE_COMPILER_IMPORT_SAFETENSORS_H
#define STELE_COMPILER_IMPORT_SAFETENSORS_H

#include "stele/compiler/Import/InputFile.h"
#include "stele/compiler/Import/Json.h"
#include "stele/compiler/Import/Tensor.h"
#include <vector>

namespace stele::checkpoint {

// Appends the tensors of `file`, whose index in the checkpoint is `fileIndex`.
llvm::Error readSafeTensors(const InputFile &file, unsigned fileIndex,
                            std::vector<TensorInfo> &tensors);

// A checkpoint of several files: opens every shard that the index names in
// `folder` and checks that index and shards agree on what is where.
llvm::Error
readShardedSafeTensors(llvm::StringRef folder, llvm::StringRef indexPath,
                       std::vector<std::unique_ptr<InputFile>> &files,
                       std::vector<TensorInfo> &tensors);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_SAFETENSORS_H
