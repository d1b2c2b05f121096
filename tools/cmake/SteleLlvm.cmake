# LLVM/MLIR 22 as shared libraries (`MLIR`, `LLVM`); never mixed with their
# static parts, except lld's, which are static only and use LLVM's dylib.
find_package(MLIR 22 REQUIRED CONFIG
  HINTS /usr/lib/llvm-22/lib/cmake/mlir)
find_package(LLVM 22 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/llvm)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

add_library(stele_llvm INTERFACE)
target_include_directories(stele_llvm SYSTEM INTERFACE
  ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_link_libraries(stele_llvm INTERFACE MLIR LLVM)
