# LLVM/MLIR 22 as shared libraries (`MLIR`, `LLVM`); never mixed with their
# static parts, except lld's, which are static only and use LLVM's dylib.
find_package(LLVM REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/llvm)
find_package(MLIR REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "LLVM ${LLVM_VERSION} at ${LLVM_DIR}: version 22 is needed "
    "(tools/quickstart installs it; -DLLVM_DIR= names another place)")
endif()
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

include(SteleTableGen)

add_library(stele_llvm INTERFACE)
target_include_directories(stele_llvm SYSTEM INTERFACE
  ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_link_libraries(stele_llvm INTERFACE MLIR LLVM)
# Debian builds LLVM with NDEBUG, and llvm::Statistic has members that depend on
# it: without, our passes and the library disagree on their layout.
target_compile_definitions(stele_llvm INTERFACE NDEBUG)
if(STELE_SANITIZE MATCHES "address")
  target_sources(stele_llvm INTERFACE
    ${CMAKE_SOURCE_DIR}/tools/cmake/asan_options.cpp)
endif()
