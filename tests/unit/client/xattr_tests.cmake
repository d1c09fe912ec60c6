surf_test(client_known_xattr_test SOURCES known_xattr_test.c USES surf_client surf_base LABELS unit)
surf_test(client_file_privilege_test SOURCES file_privilege_test.c cluster.c USES ${client_cluster_uses} LABELS unit threads)
target_include_directories(client_file_privilege_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
