# Helpers for tests/*/CMakeLists.txt.
#
# PMEMFILE_SANITIZER (address, undefined, thread) instruments the tests that
# link the core statically, and a copy of the core made for them; what is
# preloaded into other people's programs is never instrumented.

set(PMEMFILE_SANITIZER "" CACHE STRING "address, undefined or thread: instrument unit tests and the core in them")
set(PMEMFILE_SANITIZER_FLAGS "")
if(PMEMFILE_SANITIZER)
  set(PMEMFILE_SANITIZER_FLAGS -fsanitize=${PMEMFILE_SANITIZER} -fno-omit-frame-pointer)
  if(PMEMFILE_SANITIZER MATCHES "undefined")
    list(APPEND PMEMFILE_SANITIZER_FLAGS -fno-sanitize-recover=all)
  endif()
endif()

# The rooms that make the core, in the order of the layers.
set(PMEMFILE_CORE_ROOMS base pmem layout shm journal alloc inode dir data vfs api)

# The core once more, as a static library NAME with FLAGS: what tests compile otherwise than it is shipped.
function(pmemfile_core_library NAME)
  add_library(${NAME} STATIC)
  set(flags ${PMEMFILE_HOOKABLE_FLAGS})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    list(FILTER flags EXCLUDE REGEX "strategy|tree-loop") # GCC's alone
  endif()
  if(PMEMFILE_SANITIZER)
    list(REMOVE_ITEM flags -mgeneral-regs-only -ffreestanding -fno-asynchronous-unwind-tables)
  endif()
  foreach(room ${PMEMFILE_CORE_ROOMS})
    if(TARGET pmemfile_${room})
      get_target_property(sources pmemfile_${room} SOURCES)
      get_target_property(folder pmemfile_${room} SOURCE_DIR)
      foreach(source ${sources})
        if(NOT source MATCHES "^[$/]")
          set(source ${folder}/${source})
        endif()
        target_sources(${NAME} PRIVATE ${source})
        # Options that the room gives a single file are known in its folder only.
        get_source_file_property(options ${source} DIRECTORY ${folder} COMPILE_OPTIONS)
        if(options)
          set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
        endif()
      endforeach()
    endif()
  endforeach()
  target_include_directories(${NAME} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_compile_options(${NAME} PRIVATE ${ARGN}
    $<$<COMPILE_LANGUAGE:CXX>:${flags} -include ${PROJECT_SOURCE_DIR}/src/base/mem.h>)
endfunction()

# pmemfile_test_core: what a test links to have the core inside itself.
add_library(pmemfile_test_core INTERFACE)
target_include_directories(pmemfile_test_core INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
if(PMEMFILE_SANITIZER)
  pmemfile_core_library(pmemfile_sanitized_core ${PMEMFILE_SANITIZER_FLAGS})
  target_link_libraries(pmemfile_test_core INTERFACE pmemfile_sanitized_core)
else()
  foreach(room ${PMEMFILE_CORE_ROOMS})
    if(TARGET pmemfile_${room})
      target_link_libraries(pmemfile_test_core INTERFACE pmemfile_${room} $<TARGET_OBJECTS:pmemfile_${room}>)
    endif()
  endforeach()
endif()

# pmemfile_sanitized(TARGET TEST...): where PMEMFILE_SANITIZER is set, the program is part of the target sanitized_tests, and
# its tests have the label `sanitized`. What is preloaded into other programs, and what steps a process by instructions, is not.
if(PMEMFILE_SANITIZER)
  add_custom_target(sanitized_tests)
endif()
function(pmemfile_sanitized TARGET)
  if(PMEMFILE_SANITIZER)
    target_compile_options(${TARGET} PRIVATE ${PMEMFILE_SANITIZER_FLAGS})
    target_link_options(${TARGET} PRIVATE ${PMEMFILE_SANITIZER_FLAGS})
    add_dependencies(sanitized_tests ${TARGET})
    set_property(TEST ${ARGN} APPEND PROPERTY LABELS sanitized)
  endif()
endfunction()

find_package(GTest QUIET)

# pmemfile_unit_test(NAME SOURCE... [LABELS label...] [TIMEOUT seconds]): a
# GoogleTest program with the core inside, run as one ctest test.
function(pmemfile_unit_test NAME)
  cmake_parse_arguments(TEST "" "TIMEOUT" "LABELS" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  if(PMEMFILE_SANITIZER)
    math(EXPR TEST_TIMEOUT "${TEST_TIMEOUT} * 12") # stepping a process takes several times as long
  endif()
  add_executable(${NAME} ${TEST_UNPARSED_ARGUMENTS})
  target_link_libraries(${NAME} PRIVATE pmemfile_test_core GTest::gtest GTest::gtest_main)
  target_compile_options(${NAME} PRIVATE -Wall -Wextra)
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES LABELS "unit;${TEST_LABELS}" TIMEOUT ${TEST_TIMEOUT})
  pmemfile_sanitized(${NAME} ${NAME})
endfunction()
