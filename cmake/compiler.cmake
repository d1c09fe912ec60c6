# Language level, warnings and sanitizers, for every target of the project.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(SURF_TESTS "build the tests" ON)
set(SURF_SANITIZE "" CACHE STRING "sanitizers: empty, address,undefined or thread")

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 SURF_VERSION="${PROJECT_VERSION}")
add_compile_options(
    -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes
    -Wold-style-definition -Wwrite-strings -Wundef -Wvla -Wimplicit-fallthrough -Wformat=2 -Wunused-result
    -fno-common -fno-omit-frame-pointer -fstack-protector-strong)
# gcc can't know that err_explain returns the error that it was given, and takes what is only written on success for unset.
add_compile_options($<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
include_directories(${PROJECT_SOURCE_DIR})

# Programs load only the libraries that they call: surfctl and surffs have no use for RocksDB.
add_link_options(-Wl,--as-needed)

if(SURF_SANITIZE)
    add_compile_options(-fsanitize=${SURF_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${SURF_SANITIZE})
endif()
