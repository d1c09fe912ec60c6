surf_test(client_look_ahead_test SOURCES look_ahead_test.c USES surf_client surf_base LABELS unit)
surf_test(client_known_ahead_test SOURCES known_ahead_test.c USES surf_client surf_base LABELS unit)
