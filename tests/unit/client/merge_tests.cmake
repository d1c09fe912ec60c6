surf_test(client_fragments_test SOURCES fragments_test.c USES surf_client surf_base LABELS unit)
surf_test(client_file_merge_test SOURCES file_merge_test.c cluster.c USES surf_client surf_placement surf_proto surf_rpc surf_meta
          surf_base PkgConfig::LIBUV Threads::Threads LABELS unit threads)
target_include_directories(client_file_merge_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
