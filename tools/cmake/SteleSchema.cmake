# FlatBuffers headers from runtime/schema/*.fbs, included as
# "stele/schema/plan_generated.h". All that compiler and runtime share.
find_program(FLATC flatc REQUIRED)

add_library(stele_schema INTERFACE)
target_link_libraries(stele_schema INTERFACE stele_root_schema)

set(schema_out ${CMAKE_BINARY_DIR}/generated/schema/stele/schema)
file(MAKE_DIRECTORY ${schema_out})
foreach(schema plan tokenizer)
  set(source ${CMAKE_SOURCE_DIR}/runtime/schema/${schema}.fbs)
  if(NOT EXISTS ${source})
    continue()
  endif()
  add_custom_command(
    OUTPUT ${schema_out}/${schema}_generated.h
    COMMAND ${FLATC} --cpp --scoped-enums --gen-object-api -o ${schema_out} ${source}
    DEPENDS ${source})
  list(APPEND schema_headers ${schema_out}/${schema}_generated.h)
endforeach()
add_custom_target(stele_schema_headers DEPENDS ${schema_headers})
add_dependencies(stele_schema stele_schema_headers)
