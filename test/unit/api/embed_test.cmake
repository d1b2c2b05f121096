# Installs the runtime, builds examples/embed against the install, and runs it:
#   cmake -DSOURCE_DIR= -DBUILD_DIR= -DCC= -DCXX= -P embed_test.cmake
set(work ${BUILD_DIR}/test/embed)
file(REMOVE_RECURSE ${work})

function(must)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output
                  ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${code}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

must(${CMAKE_COMMAND} --install ${BUILD_DIR} --component runtime
     --prefix ${work}/install)
must(${CMAKE_COMMAND} -G Ninja -S ${SOURCE_DIR}/examples/embed -B ${work}/build
     -DCMAKE_PREFIX_PATH=${work}/install -DCMAKE_C_COMPILER=${CC}
     -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_C_FLAGS=${FLAGS}
     -DCMAKE_CXX_FLAGS=${FLAGS})
must(${CMAKE_COMMAND} --build ${work}/build)
must(${BUILD_DIR}/bin/make_toy ${work}/toy.stele)
foreach(program embed_c embed_cpp)
  execute_process(COMMAND ${work}/build/${program} ${work}/toy.stele 5 3 1
                  RESULT_VARIABLE code OUTPUT_VARIABLE ${program}_output
                  ERROR_VARIABLE log)
  if(NOT code EQUAL 0 OR NOT ${program}_output MATCHES "^([0-9]+ )+\\([1-3]\\)\n$")
    message(FATAL_ERROR "${program}: ${code} '${${program}_output}'\n${log}")
  endif()
endforeach()
if(NOT embed_c_output STREQUAL embed_cpp_output)
  message(FATAL_ERROR "C said ${embed_c_output}, C++ ${embed_cpp_output}")
endif()
