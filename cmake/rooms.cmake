# A room is a folder under src/ and a CMake object library pmemfile_<room>.
# ROOM_DEPS names the rooms whose headers it may include (the lint test checks
# that it includes no other).

# Not -ffreestanding: with it the compiler's own calls of memcpy and strlen do not
# follow the names that base/mem.h gives them, and reach libc's vector versions.
set(PMEMFILE_HOOKABLE_FLAGS
  -fno-exceptions -fno-rtti -fno-threadsafe-statics -fvisibility=hidden
  -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none
  -fno-tree-loop-distribute-patterns -mgeneral-regs-only
  -mmemcpy-strategy=unrolled_loop:512:noalign,libcall:-1:noalign -mmemset-strategy=unrolled_loop:512:noalign,libcall:-1:noalign
  -fno-strict-aliasing) # structs of mapped memory are also read as words

# pmemfile_room(NAME [HOOKABLE] [SOURCES ...])
# HOOKABLE: runs inside other people's processes: no libstdc++, no vector
# registers, memcpy of our own.
function(pmemfile_room NAME)
  cmake_parse_arguments(ROOM "HOOKABLE" "" "SOURCES" ${ARGN})
  if(NOT ROOM_SOURCES)
    file(GLOB ROOM_SOURCES CONFIGURE_DEPENDS
      ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/*.S
      ${CMAKE_CURRENT_SOURCE_DIR}/x86_64/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/x86_64/*.S)
  endif()
  if(NOT ROOM_SOURCES)
    return() # a room of headers only
  endif()
  add_library(pmemfile_${NAME} OBJECT ${ROOM_SOURCES})
  set_target_properties(pmemfile_${NAME} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(pmemfile_${NAME} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_compile_options(pmemfile_${NAME} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror>)
  if(ROOM_HOOKABLE)
    target_compile_options(pmemfile_${NAME} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:${PMEMFILE_HOOKABLE_FLAGS} -include ${PROJECT_SOURCE_DIR}/src/base/mem.h>)
  endif()
endfunction()
