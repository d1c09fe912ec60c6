surf_test(client_disk_cache_test SOURCES disk_cache_test.c USES surf_client surf_base Threads::Threads LABELS unit threads)
