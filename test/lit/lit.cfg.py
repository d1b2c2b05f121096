# How lit runs the suites: tools come from the build folder and from LLVM.
import os
import sys

import lit.formats

config.name = "stele"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.join(config.stele_source_dir, "test/lit")
config.test_exec_root = os.path.join(config.stele_binary_dir, "test/lit")

config.environment["PATH"] = os.pathsep.join([
    os.path.join(config.stele_binary_dir, "bin"), config.llvm_tools_dir,
    config.environment["PATH"]])
config.environment["STELE_CACHE"] = os.path.join(config.stele_binary_dir, "cache")
config.substitutions.append(("%stele_source", config.stele_source_dir))
config.substitutions.append(("%stele_build", config.stele_binary_dir))
config.substitutions.append(("%python", sys.executable))
