# What `cmake --install` puts under the prefix. Everything finds its neighbours
# relative to itself, so that the installed tree may be moved.

foreach(library pmemfile-preload pmemfile-core pmemfile-core-static cintercept cintercept_static)
  if(TARGET ${library})
    install(TARGETS ${library} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
                               ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
endforeach()
foreach(program mkfs.pmemfile fsck.pmemfile pmemfile)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
if(TARGET pmemfile-plan) # the helper that the interception engine starts
  install(TARGETS pmemfile-plan RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR})
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/include)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN "*.h")
endif()

# The names that programs written for the ancestor ask for.
function(pmemfile_install_alias TARGET ALIAS)
  if(TARGET ${TARGET})
    install(CODE "
      set(link \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/${ALIAS}\")
      message(STATUS \"Installing: \${link}\")
      file(CREATE_LINK \"$<TARGET_LINKER_FILE_NAME:${TARGET}>\" \"\${link}\" SYMBOLIC)")
  endif()
endfunction()
pmemfile_install_alias(pmemfile-core libpmemfile-posix.so)
pmemfile_install_alias(cintercept libsyscall_intercept.so)

# pkg-config: one template, four names.
function(pmemfile_install_pc NAME LIBRARY DESCRIPTION)
  set(PC_NAME ${NAME})
  set(PC_LIBRARY ${LIBRARY})
  set(PC_DESCRIPTION ${DESCRIPTION})
  file(RELATIVE_PATH PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  string(REGEX REPLACE "/$" "" PC_PREFIX "${PC_PREFIX}")
  configure_file(${PROJECT_SOURCE_DIR}/cmake/library.pc.in ${PROJECT_BINARY_DIR}/${NAME}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${NAME}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
if(TARGET pmemfile-core)
  pmemfile_install_pc(libpmemfile-core pmemfile-core "File system on persistent memory, as a library")
  pmemfile_install_pc(libpmemfile-posix pmemfile-core "File system on persistent memory, as a library")
endif()
if(TARGET cintercept)
  pmemfile_install_pc(libcintercept cintercept "Interception of system calls in a running process")
  pmemfile_install_pc(libsyscall_intercept cintercept "Interception of system calls in a running process")
endif()

# find_package(pmemfile)
include(CMakePackageConfigHelpers)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pmemfile-config.cmake.in
  ${PROJECT_BINARY_DIR}/pmemfile-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pmemfile
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pmemfile-config-version.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pmemfile-config.cmake ${PROJECT_BINARY_DIR}/pmemfile-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pmemfile)
