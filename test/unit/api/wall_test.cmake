# The wall between compiler and runtime: the runtime's programs link nothing
# but what is listed here, hold no LLVM and no model kernel, and its sources
# include nothing of the compiler.
#   cmake -DSOURCE_DIR= -DREADELF= -DNM= -DBINARIES=a,b -P wall_test.cmake
set(allowed "^(libcrypto|libutf8proc|libpcre2-8|libzstd|libstdc\\+\\+|libm|libgcc_s|libc|libpthread|ld-linux-x86-64|libclang_rt\\..*)\\.so")

string(REPLACE "," ";" BINARIES "${BINARIES}")
foreach(binary ${BINARIES})
  execute_process(COMMAND ${READELF} -d ${binary} OUTPUT_VARIABLE dynamic
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*\\[[^]\n]*" needed "${dynamic}")
  if(NOT needed)
    message(FATAL_ERROR "${binary}: readelf names no library")
  endif()
  foreach(line ${needed})
    string(REGEX REPLACE ".*\\[" "" library "${line}")
    if(NOT library MATCHES "${allowed}")
      message(FATAL_ERROR "${binary} links ${library}")
    endif()
  endforeach()
  execute_process(COMMAND ${NM} -a ${binary} OUTPUT_VARIABLE symbols
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "[^\n ]*(4llvm|4mlir|3lld|stele_kernel)[^\n]*" found "${symbols}")
  if(found)
    message(FATAL_ERROR "${binary} holds ${found}")
  endif()
endforeach()

file(GLOB_RECURSE sources ${SOURCE_DIR}/runtime/*.h ${SOURCE_DIR}/runtime/*.cpp
     ${SOURCE_DIR}/runtime/*.hpp ${SOURCE_DIR}/tools/stele/*.h
     ${SOURCE_DIR}/tools/stele/*.cpp)
list(LENGTH sources count)
if(count LESS 50)
  message(FATAL_ERROR "only ${count} sources of the runtime were found")
endif()
foreach(source ${sources})
  file(STRINGS ${source} found REGEX
       "^ *#include *[<\"](llvm|mlir|lld|stele/compiler|stele/dialects|stele/models)/")
  if(found)
    message(FATAL_ERROR "${source}: ${found}")
  endif()
endforeach()
message("${count} sources, ${BINARIES}: no LLVM, no kernel")
