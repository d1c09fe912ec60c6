set(client_cluster_uses surf_client surf_placement surf_proto surf_rpc surf_meta surf_base PkgConfig::LIBUV
    Threads::Threads)
surf_test(client_block_test SOURCES block_client_test.c cluster.c USES ${client_cluster_uses} LABELS unit threads)
target_include_directories(client_block_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
surf_test(client_file_dirty_test SOURCES file_dirty_test.c USES surf_client surf_base LABELS unit)
surf_test(client_file_layout_test SOURCES file_layout_test.c USES surf_client surf_base LABELS unit)
surf_test(client_file_test SOURCES file_test.c cluster.c USES ${client_cluster_uses} LABELS unit threads)
target_include_directories(client_file_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
