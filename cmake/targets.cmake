# surf_add_folders(folder...): adds those that have a CMakeLists.txt.
function(surf_add_folders)
    foreach(folder ${ARGN})
        if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt)
            add_subdirectory(${folder})
        endif()
    endforeach()
endfunction()

# surf_library(name [USES target...]): a static library surf_<name> of every .c file in this folder and
# those right below it.
function(surf_library name)
    cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*/*.c)
    if(NOT sources)
        return()
    endif()
    add_library(surf_${name} STATIC ${sources})
    target_link_libraries(surf_${name} PRIVATE ${ARG_USES})
endfunction()

# surf_program(name [USES target...]): a program of every .c file in this folder.
function(surf_program name)
    cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    if(NOT sources)
        return()
    endif()
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE ${ARG_USES})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# surf_test(name SOURCES file... [USES target...] [LABELS label...] [ARGS arg...]): a test program that ctest runs.
function(surf_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;USES;LABELS;ARGS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_USES} PkgConfig::CMOCKA)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test-bin)
    add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300)
    # What is built for ThreadSanitizer, and no more.
    if("threads" IN_LIST ARG_LABELS)
        if(NOT TARGET threaded_tests)
            add_custom_target(threaded_tests)
        endif()
        add_dependencies(threaded_tests ${name})
    endif()
endfunction()
