surf_test(client_block_fetch_test SOURCES block_fetch_test.c cluster.c USES surf_client surf_placement surf_proto surf_rpc surf_meta
          surf_base PkgConfig::LIBUV Threads::Threads LABELS unit threads)
target_include_directories(client_block_fetch_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
