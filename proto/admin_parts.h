/* admin_parts.h: parts of administration's messages that have files of their own. Private to proto/. */
#pragma once

#include "proto/admin.pb-c.h"
#include "proto/wire_admin.h"

Surf__AdminActivity *wire_admin_activity_fill(const struct wire_admin_activity *q, struct arena *a);
/* m NULL: an older node tells of none. */
enum err wire_admin_activity_read(const Surf__AdminActivity *m, struct arena *a, struct wire_admin_activity *ret,
                                  struct err_text *why) MUST_USE;
