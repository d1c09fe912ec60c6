surf_test(client_file_hung_test SOURCES file_hung_test.c cluster.c USES surf_client surf_placement surf_proto surf_rpc surf_meta
          surf_base PkgConfig::LIBUV Threads::Threads LABELS unit threads)
target_include_directories(client_file_hung_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
surf_test(client_file_truncate_test SOURCES file_truncate_test.c cluster.c USES surf_client surf_placement surf_proto surf_rpc surf_meta
          surf_base PkgConfig::LIBUV Threads::Threads LABELS unit threads)
target_include_directories(client_file_truncate_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
