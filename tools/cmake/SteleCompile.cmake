# Warnings and sanitizers that every target of the project shares.
set(STELE_SANITIZE "" CACHE STRING "Sanitizers to build with, e.g. address;undefined")

add_compile_options(-Wall -Wextra -Wno-unused-parameter)
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  # Line tables are all that sanitizer reports need.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -gline-tables-only")
endif()

if(STELE_SANITIZE)
  list(JOIN STELE_SANITIZE "," stele_sanitize_list)
  add_compile_options(-fsanitize=${stele_sanitize_list}
                      -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${stele_sanitize_list})
endif()

if(STELE_BUILD_FUZZERS)
  # Coverage, which guides the fuzz targets through the libraries they call.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
