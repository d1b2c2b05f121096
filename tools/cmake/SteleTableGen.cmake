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
