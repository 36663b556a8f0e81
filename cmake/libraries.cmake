# libpmemfile-core: the rooms base to api as a shared and a static library. Linked as C: nothing of libstdc++ is in the
# objects, libc is all they need. (libpmemfile.so is made in src/preload, libcintercept in src/intercept.)

set(objects "")
foreach(room base pmem layout shm journal alloc inode dir data vfs api)
  list(APPEND objects $<TARGET_OBJECTS:pmemfile_${room}>)
endforeach()
add_library(pmemfile-core SHARED ${objects})
add_library(pmemfile-core-static STATIC ${objects})
set_target_properties(pmemfile-core pmemfile-core-static PROPERTIES OUTPUT_NAME pmemfile-core LINKER_LANGUAGE C)
set_target_properties(pmemfile-core PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/src/api/exports.map)
target_link_options(pmemfile-core PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/src/api/exports.map
  -Wl,-z,defs -Wl,-z,now -Wl,--as-needed -Wl,-Bsymbolic)
foreach(library pmemfile-core pmemfile-core-static)
  target_include_directories(${library} INTERFACE ${PROJECT_SOURCE_DIR}/include)
endforeach()
