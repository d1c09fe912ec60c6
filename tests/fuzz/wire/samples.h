/* samples.h: random valid structs for every wire message, from a seeded stream. Slices and arrays live in the arena.
 * Numbers are often at their bounds. */
#pragma once

#include "base/prng.h"
#include "proto/wire_admin.h"
#include "proto/wire_block.h"
#include "proto/wire_changes.h"
#include "proto/wire_check.h"
#include "proto/wire_durable.h"
#include "proto/wire_files.h"
#include "proto/wire_kv_events.h"
#include "proto/wire_meta.h"
#include "proto/wire_raft.h"

uint64_t sample_u64(struct prng *p, uint64_t low, uint64_t high);
struct slice sample_bytes(struct prng *p, struct arena *a, size_t low, size_t high);
struct slice sample_name(struct prng *p, struct arena *a);
struct slice sample_address(struct prng *p, struct arena *a);
struct slice sample_zone(struct prng *p, struct arena *a);
void sample_hello(struct prng *p, struct arena *a, struct wire_hello *ret);
void sample_error(struct prng *p, struct arena *a, struct wire_error *ret);
void sample_raft(struct prng *p, struct arena *a, enum raft_message_type type, unsigned entry_count,
                 struct raft_message *ret);
void sample_attr(struct prng *p, struct meta_attr *ret);
struct meta_extent *sample_extents(struct prng *p, struct arena *a, unsigned count, bool gaps);
void sample_command(struct prng *p, struct arena *a, enum meta_op op, struct meta_command *ret);
void sample_reply(struct prng *p, struct arena *a, struct meta_reply *ret);
void sample_query(struct prng *p, struct arena *a, enum meta_query_op op, struct meta_query *ret);
/* max_count bounds each of its lists. */
void sample_notices(struct prng *p, struct arena *a, unsigned max, struct wire_notices *ret);
void sample_notices_query(struct prng *p, struct arena *a, unsigned max, struct wire_notices_query *ret);
void sample_changes(struct prng *p, struct arena *a, unsigned max, struct wire_changes *ret);
/* Different ones. */
struct slice *sample_keys(struct prng *p, struct arena *a, unsigned *ret_count);
struct meta_kv_change *sample_kv_changes(struct prng *p, struct arena *a, unsigned *ret_count);
void sample_kv_entries(struct prng *p, struct arena *a, unsigned max, struct meta_query_reply *r);
void sample_kv_events(struct prng *p, struct arena *a, unsigned max, struct wire_kv_events *ret);
void sample_kv_events_query(struct prng *p, struct arena *a, struct wire_kv_events_query *ret);
void sample_changes_query(struct prng *p, struct arena *a, struct wire_changes_query *ret);
void sample_files_query(struct prng *p, struct arena *a, struct meta_files_query *ret);
void sample_files(struct prng *p, struct arena *a, unsigned max, struct meta_files *ret);
void sample_check_query(struct prng *p, struct arena *a, unsigned max, struct wire_check_query *ret);
void sample_check(struct prng *p, struct arena *a, unsigned max, struct wire_check *ret);
void sample_ids_query(struct prng *p, struct arena *a, unsigned max, struct wire_ids_query *ret);
void sample_ids_page(struct prng *p, struct arena *a, unsigned max, struct wire_ids *ret);
void sample_query_reply(struct prng *p, struct arena *a, unsigned max_count, struct meta_query_reply *ret);
/* count blocks; small ones, so that their sum is small. */
void sample_block_put(struct prng *p, struct arena *a, unsigned count, struct wire_block_put *ret,
                      size_t *ret_payload_size);
void sample_block_sizes(struct prng *p, struct arena *a, unsigned count, struct wire_block_sizes *ret,
                        size_t *ret_payload_size);
void sample_block_present(struct prng *p, struct arena *a, unsigned count, struct wire_block_present *ret);
void sample_block_info(struct prng *p, struct arena *a, struct wire_block_info *ret);
void sample_admin_activity(struct prng *p, struct arena *a, unsigned max_count, struct wire_admin_activity *ret);
void sample_admin_state(struct prng *p, struct arena *a, unsigned max_count, struct wire_admin_state *ret);
