surf_test(client_route_choice_test SOURCES route_choice_test.c USES surf_client surf_base LABELS unit)
surf_test(client_meta_window_test SOURCES meta_window_test.c USES surf_client surf_base LABELS unit)
surf_test(client_meta_test SOURCES meta_client_test.c meta_fake.c
    USES surf_client surf_proto surf_rpc surf_base PkgConfig::LIBUV Threads::Threads LABELS unit)
target_include_directories(client_meta_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
surf_test(client_kv_queue_test SOURCES kv_queue_test.c meta_fake.c
    USES surf_client surf_proto surf_rpc surf_base PkgConfig::LIBUV Threads::Threads LABELS unit threads)
target_include_directories(client_kv_queue_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
surf_test(client_meta_put_test SOURCES meta_put_test.c meta_fake.c
    USES surf_client surf_proto surf_rpc surf_base PkgConfig::LIBUV Threads::Threads LABELS unit)
target_include_directories(client_meta_put_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_options(client_meta_put_test PRIVATE -Wl,--wrap=pthread_create)
