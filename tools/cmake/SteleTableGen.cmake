# TableGen of a layer's .td file into the build tree, where C++ includes it as
# "stele/<layer>/<folder>/<name>.inc".
#
#   stele_tablegen(target layer/folder/File.td
#     LmOps.h.inc -gen-op-decls
#     LmOps.cpp.inc -gen-op-defs ...)
#
# .td files include each other as "stele/<layer>/...", as C++ does.
function(stele_tablegen target td)
  string(REGEX MATCH "^[^/]+" layer ${td})
  get_filename_component(folder ${td} DIRECTORY)
  set(out ${CMAKE_BINARY_DIR}/generated/${layer}/stele/${folder})
  file(MAKE_DIRECTORY ${out})
  set(arguments ${ARGN})
  while(arguments)
    list(POP_FRONT arguments name flags)
    separate_arguments(flags)
    add_custom_command(
      OUTPUT ${out}/${name}
      COMMAND mlir-tblgen ${flags} -I ${CMAKE_BINARY_DIR}/roots/${layer}
              -I ${MLIR_INCLUDE_DIRS} ${CMAKE_SOURCE_DIR}/${td}
              -o ${out}/${name} -d ${out}/${name}.d
      DEPENDS ${CMAKE_SOURCE_DIR}/${td}
      DEPFILE ${out}/${name}.d
      COMMENT "TableGen ${folder}/${name}")
    list(APPEND outputs ${out}/${name})
  endwhile()
  add_custom_target(${target} DEPENDS ${outputs})
endfunction()

# A page of docs/generated, made from a layer's .td file. `ninja stele-docs`
# writes all pages into the source tree; a test fails while one is stale.
#
#   stele_generated_page(lm-dialect dialects/Lm/LmOps.td "-gen-dialect-doc ...")
if(NOT TARGET stele-docs)
  add_custom_target(stele-docs)
endif()

function(stele_generated_page name td flags)
  string(REGEX MATCH "^[^/]+" layer ${td})
  separate_arguments(flags)
  set(fresh ${CMAKE_BINARY_DIR}/generated/docs/${name}.md)
  set(kept ${CMAKE_SOURCE_DIR}/docs/generated/${name}.md)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated/docs)
  add_custom_command(
    OUTPUT ${fresh}
    COMMAND mlir-tblgen ${flags} -I ${CMAKE_BINARY_DIR}/roots/${layer}
            -I ${MLIR_INCLUDE_DIRS} ${CMAKE_SOURCE_DIR}/${td}
            -o ${fresh} -d ${fresh}.d
    DEPENDS ${CMAKE_SOURCE_DIR}/${td}
    DEPFILE ${fresh}.d
    COMMENT "Page docs/generated/${name}.md")
  add_custom_target(stele-page-${name} ALL DEPENDS ${fresh})
  add_custom_target(stele-keep-${name}
    COMMAND ${CMAKE_COMMAND} -E copy ${fresh} ${kept} DEPENDS ${fresh})
  add_dependencies(stele-docs stele-keep-${name})
  if(STELE_BUILD_TESTS)
    add_test(NAME docs/${name} COMMAND diff -u ${kept} ${fresh})
  endif()
endfunction()
