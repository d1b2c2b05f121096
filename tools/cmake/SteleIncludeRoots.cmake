# One include root per layer, each a folder of the build tree that holds one
# link: `stele/compiler` -> compiler/, `stele/runtime` -> runtime/ and so on.
# A layer that is not given a root cannot include from it; that is the wall.
function(stele_include_root name folder)
  set(root ${CMAKE_BINARY_DIR}/roots/${name})
  file(MAKE_DIRECTORY ${root}/stele)
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${folder} ${root}/stele/${name} SYMBOLIC)
  add_library(stele_root_${name} INTERFACE)
  target_include_directories(stele_root_${name} INTERFACE
    ${root} ${CMAKE_BINARY_DIR}/generated/${name})
endfunction()

stele_include_root(schema runtime/schema)
stele_include_root(runtime runtime)
stele_include_root(dialects dialects)
stele_include_root(compiler compiler)
stele_include_root(models models)
