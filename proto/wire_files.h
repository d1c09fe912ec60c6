/* wire_files.h: what surfctl state --files asks of one member, and its answer: a page of its tree (meta/types.h). */
#pragma once

#include "meta/types.h"
#include "proto/wire_common.h"

struct slice wire_files_query_encode(const struct meta_files_query *q, struct arena *a);
enum err wire_files_query_decode(struct slice s, struct arena *a, struct meta_files_query *ret,
                                 struct err_text *why) MUST_USE;
struct slice wire_files_encode(const struct meta_files *f, struct arena *a);
enum err wire_files_decode(struct slice s, struct arena *a, struct meta_files *ret, struct err_text *why) MUST_USE;
