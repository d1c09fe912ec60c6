/* Every field of every struct arrives as it was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/methods.h"
#include "tests/fuzz/wire/samples.h"

#define SEED 20240117u
#define ROUNDS 300

/* The seed is the same in every run, so a failure is met again as it is. */
struct trip {
    struct prng p;
    struct arena a;
    struct err_text why;
};

static void begin(struct trip *t)
{
    *t = (struct trip){0};
    prng_seed(&t->p, SEED);
}

static void accepted(const struct trip *t, enum err e)
{
    if (e != ERR_OK)
        fail_msg("seed %u: %s: %s", SEED, err_name(e), t->why.text);
}

#define EQ(field) assert_true(x->field == y->field)
#define EQ_SLICE(field) assert_true(slice_equal(x->field, y->field))
#define EQ_MEMORY(field) assert_memory_equal(x->field, y->field, sizeof x->field)
/* Copies through a pointer of the pointee's type, so that the arrays' counts are compared first. */
#define EQ_ARRAY(field, count)                                                                                         \
    do {                                                                                                               \
        EQ(count);                                                                                                     \
        if (x->count > 0)                                                                                              \
            assert_memory_equal(x->field, y->field, x->count * sizeof *x->field);                                      \
    } while (0)

static void test_hello(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct wire_hello from, to, *x = &from, *y = &to;
        sample_hello(&t.p, &t.a, x);
        accepted(&t, wire_hello_decode(wire_hello_encode(x, &t.a), &t.a, y, &t.why));
        EQ(role), EQ(version_min), EQ(version_max), EQ(node_id), EQ(has_cluster_id);
        EQ_MEMORY(cluster_id);
        EQ_SLICE(name);
    }
    arena_free(&t.a);
}

static void test_error(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct wire_error from, to, *x = &from, *y = &to;
        sample_error(&t.p, &t.a, x);
        wire_error_decode(wire_error_encode(x, &t.a), &t.a, y);
        EQ(leader_id), EQ(not_done);
        EQ_SLICE(leader_address), EQ_SLICE(text);
    }
    arena_free(&t.a);
}

static void test_raft(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct raft_message from, to, *x = &from, *y = &to;
        enum raft_message_type type = (enum raft_message_type)(1 + i % RAFT_MSG_LAST);
        sample_raft(&t.p, &t.a, type, type == RAFT_MSG_APPEND ? (unsigned)prng_below(&t.p, 40) : 0, x);
        x->after_persist = i % 2;
        struct slice message, payload;
        wire_raft_encode(x, &t.a, &message, &payload);
        accepted(&t, wire_raft_decode(message, payload, &t.a, y, &t.why));
        EQ(type), EQ(from), EQ(to), EQ(term), EQ(index), EQ(log_term), EQ(commit), EQ(round), EQ(compactable);
        EQ(reject), EQ(force), EQ(entry_count);
        assert_false(y->after_persist);
        for (unsigned j = 0; j < x->entry_count; j++) {
            EQ(entries[j].index), EQ(entries[j].term), EQ(entries[j].type);
            EQ_SLICE(entries[j].data);
            assert_true(y->entries[j].data.size == 0 || (y->entries[j].data.data > payload.data &&
                                                         y->entries[j].data.data < payload.data + payload.size));
        }
    }
    arena_free(&t.a);
}

static void attr_equal(const struct meta_attr *x, const struct meta_attr *y)
{
    EQ(ino), EQ(mode), EQ(uid), EQ(gid), EQ(nlink), EQ(rdev), EQ(size), EQ(allocated);
    EQ(atime_ns), EQ(mtime_ns), EQ(ctime_ns), EQ(btime_ns), EQ(version), EQ(content_id);
    EQ(xattrs);
}

static void extents_equal(const struct meta_extent *x, const struct meta_extent *y, unsigned count)
{
    for (; count > 0; x++, y++, count--) {
        EQ(file_offset), EQ(length), EQ(block_offset);
        EQ_MEMORY(block.bytes);
    }
}

static void server_equal(const struct meta_block_server *x, const struct meta_block_server *y)
{
    EQ(id), EQ(weight), EQ(draining), EQ(weight_fixed), EQ(change);
    assert_string_equal(x->address, y->address);
    assert_string_equal(x->zone, y->zone);
}

static void lock_equal(const struct meta_lock *x, const struct meta_lock *y)
{
    EQ(kind), EQ(type), EQ(start), EQ(end), EQ(owner), EQ(pid);
}

static void inline_blocks_equal(const struct meta_inline_block *x, const struct meta_inline_block *y, unsigned count)
{
    for (; count > 0; x++, y++, count--) {
        EQ(ino), EQ(version);
        EQ_MEMORY(id.bytes), EQ_SLICE(data);
    }
}

static void body_equal(const struct meta_command *x, const struct meta_command *y)
{
    switch (x->op) {
    case META_INIT:
        EQ_MEMORY(init.cluster_id), EQ_MEMORY(init.cookie_key);
        return;
    case META_SESSION_OPEN:
        EQ_SLICE(session_open.export), EQ_SLICE(session_open.client), EQ_MEMORY(session_open.nonce);
        return;
    case META_SESSION_END:
        EQ(session_end.session);
        return;
    case META_SETATTR:
        EQ(setattr.ino), EQ(setattr.mask), EQ(setattr.mode), EQ(setattr.uid), EQ(setattr.gid), EQ(setattr.size);
        EQ(setattr.atime_ns), EQ(setattr.mtime_ns), EQ(setattr.ctime_ns);
        return;
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        EQ(make.parent), EQ(make.mode), EQ(make.uid), EQ(make.gid), EQ(make.rdev), EQ(make.exclusive);
        EQ(make.umask);
        EQ_SLICE(make.name), EQ_SLICE(make.target);
        return;
    case META_LINK:
        EQ(link.ino), EQ(link.parent), EQ_SLICE(link.name);
        return;
    case META_UNLINK:
    case META_RMDIR:
        EQ(unlink.parent), EQ_SLICE(unlink.name);
        EQ(unlink.expected_ino), EQ(unlink.expected_version);
        return;
    case META_RENAME:
        EQ(rename.parent), EQ(rename.new_parent), EQ(rename.flags);
        EQ_SLICE(rename.name), EQ_SLICE(rename.new_name);
        return;
    case META_COMMIT:
        EQ(commit.ino), EQ(commit.size_at_least), EQ(commit.append), EQ(commit.has_expected_version);
        EQ(commit.expected_version), EQ(commit.has_mtime), EQ(commit.mtime_ns), EQ(commit.extent_count);
        EQ(commit.kill_set_id), EQ(commit.epoch);
        extents_equal(x->commit.extents, y->commit.extents, x->commit.extent_count);
        EQ(commit.inlined_count);
        for (unsigned i = 0; i < x->commit.inlined_count; i++)
            EQ_SLICE(commit.inlined[i]);
        return;
    case META_MOVED:
        EQ(moved.count);
        inline_blocks_equal(x->moved.blocks, y->moved.blocks, x->moved.count);
        return;
    case META_CLONE:
        EQ(clone.source), EQ(clone.source_offset), EQ(clone.ino), EQ(clone.offset), EQ(clone.length);
        EQ(clone.has_expected_version), EQ(clone.expected_version), EQ(clone.kill_set_id);
        EQ(clone.take), EQ(clone.version);
        return;
    case META_READS:
        EQ(reads.count);
        for (unsigned i = 0; i < x->reads.count; i++)
            EQ(reads.list[i].ino), EQ(reads.list[i].ns), EQ(reads.list[i].ctime_ns);
        return;
    case META_REWRITE:
        EQ(rewrite.ino), EQ(rewrite.offset), EQ(rewrite.length), EQ(rewrite.extent_count), EQ(rewrite.epoch);
        EQ(rewrite.version);
        EQ_MEMORY(rewrite.block.bytes);
        extents_equal(x->rewrite.extents, y->rewrite.extents, x->rewrite.extent_count);
        return;
    case META_EPOCH:
        EQ(epoch.after), EQ(epoch.look);
        return;
    case META_RELEASE:
        EQ_ARRAY(release.inos, release.count);
        return;
    case META_REAP:
        EQ(reap.content_id);
        return;
    case META_KV:
        EQ(kv.count);
        for (unsigned i = 0; i < x->kv.count; i++) {
            EQ(kv.changes[i].kind), EQ(kv.changes[i].type), EQ(kv.changes[i].expected_version);
            EQ(kv.changes[i].ttl_ns);
            EQ_SLICE(kv.changes[i].key), EQ_SLICE(kv.changes[i].value), EQ_SLICE(kv.changes[i].expected_value);
        }
        return;
    case META_KV_EXPIRE:
    case META_NEXT:
        return;
    case META_SET_LEVEL:
        EQ(set_level.level);
        return;
    case META_REPLICAS:
        EQ(replicas.count);
        return;
    case META_BLOCK_SERVER:
        server_equal(&x->block_server, &y->block_server);
        return;
    case META_LOCK:
        EQ(lock.ino), EQ(lock.wait);
        lock_equal(&x->lock.lock, &y->lock.lock);
        return;
    case META_LOCK_CANCEL:
        EQ(lock_cancel.ticket), EQ(lock_cancel.place);
        return;
    case META_EXPORT:
        EQ(export.mask), EQ(export.options), EQ_SLICE(export.name);
        return;
    case META_SETXATTR:
    case META_REMOVEXATTR:
        EQ(xattr.ino), EQ(xattr.flags), EQ_SLICE(xattr.name), EQ_SLICE(xattr.value);
        return;
    }
    fail_msg("op %d is not compared", (int)x->op);
}

static void test_command(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS * META_OP_LAST; i++) {
        struct meta_command from, to, *x = &from, *y = &to;
        sample_command(&t.p, &t.a, (enum meta_op)(1 + i % META_OP_LAST), x);
        accepted(&t, wire_meta_command_decode(wire_meta_command_encode(x, &t.a), &t.a, y, &t.why));
        EQ(op), EQ(session), EQ(seq), EQ(acked), EQ(time_ns);
        body_equal(x, y);
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_reply(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct meta_reply from, to, *x = &from, *y = &to;
        sample_reply(&t.p, &t.a, x);
        accepted(&t, wire_meta_reply_decode(wire_meta_reply_encode(x, &t.a), &t.a, y, &t.why));
        EQ(status), EQ(has_attr), EQ(has_parent), EQ(has_replaced), EQ(existed), EQ(orphaned), EQ(session), EQ(offset);
        EQ(more), EQ(export_options), EQ(kv_version), EQ(kv_refused);
        attr_equal(&x->attr, &y->attr), attr_equal(&x->parent, &y->parent), attr_equal(&x->replaced, &y->replaced);
    }
    arena_free(&t.a);
}

static void test_query(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct meta_query from, to, *x = &from, *y = &to;
        sample_query(&t.p, &t.a, (enum meta_query_op)(1 + i % META_QUERY_LAST), x);
        accepted(&t, wire_meta_query_decode(wire_meta_query_encode(x, &t.a), &t.a, y, &t.why));
        EQ(op), EQ(session), EQ(ino), EQ(cookie), EQ(offset), EQ(length), EQ(max_count), EQ(with_attr);
        EQ(ticket), EQ(place), EQ(next_block), EQ(block_count);
        for (unsigned b = 0; b < x->block_count; b++)
            EQ_MEMORY(blocks[b].bytes);
        lock_equal(&x->lock, &y->lock);
        EQ_SLICE(name), EQ_MEMORY(block.bytes);
        EQ_SLICE(prefix), EQ_SLICE(after), EQ(with_values), EQ(key_count);
        for (unsigned k = 0; k < x->key_count; k++)
            EQ_SLICE(keys[k]);
    }
    arena_free(&t.a);
}

static void query_reply_equal(const struct meta_query_reply *x, const struct meta_query_reply *y)
{
    EQ(status), EQ(has_attr), EQ(ahead_cookie), EQ(end), EQ(parent_ino), EQ(statfs.inodes), EQ(statfs.bytes);
    EQ(entry_count), EQ(extent_count), EQ(cluster.replicas), EQ(cluster.map_version), EQ(cluster.server_count);
    EQ(session_count), EQ(waiting), EQ(inlined_count), EQ(epoch), EQ(released), EQ(referenced_count);
    inline_blocks_equal(x->inlined, y->inlined, x->inlined_count);
    for (unsigned i = 0; i < x->referenced_count; i++)
        EQ(referenced[i]);
    EQ(kv_count);
    for (unsigned i = 0; i < x->kv_count; i++) {
        EQ_SLICE(kv[i].key), EQ_SLICE(kv[i].value);
        EQ(kv[i].found), EQ(kv[i].type), EQ(kv[i].size), EQ(kv[i].version), EQ(kv[i].ttl_ns), EQ(kv[i].expires_ns);
        EQ(kv[i].index);
    }
    EQ(fragmented_count);
    for (unsigned i = 0; i < x->fragmented_count; i++)
        EQ(fragmented[i].ino), EQ(fragmented[i].version);
    lock_equal(&x->lock, &y->lock);
    EQ_SLICE(target), EQ_SLICE(xattr), EQ_MEMORY(cluster.id);
    attr_equal(&x->attr, &y->attr);
    extents_equal(x->extents, y->extents, x->extent_count);
    for (unsigned i = 0; i < x->entry_count; i++) {
        EQ_SLICE(entries[i].name);
        EQ(entries[i].ino), EQ(entries[i].cookie), EQ(entries[i].type_mode);
        attr_equal(&x->entries[i].attr, &y->entries[i].attr);
    }
    for (unsigned i = 0; i < x->cluster.server_count; i++)
        server_equal(&x->cluster.servers[i], &y->cluster.servers[i]);
    for (unsigned i = 0; i < x->session_count; i++) {
        EQ(sessions[i].id), EQ(sessions[i].last_seq), EQ(sessions[i].opened_ns);
        EQ(sessions[i].locks), EQ(sessions[i].waits);
        EQ_SLICE(sessions[i].export), EQ_SLICE(sessions[i].client);
    }
}

static void test_query_reply(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct meta_query_reply from, to;
        sample_query_reply(&t.p, &t.a, 100, &from);
        struct slice s = wire_meta_query_reply_encode(&from, &t.a);
        accepted(&t, wire_meta_query_reply_decode(s, &t.a, &to, &t.why));
        query_reply_equal(&from, &to);
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_keepalive(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    struct wire_keepalive k = {.session = UINT64_MAX, .attach = 3, .keeps = true}, k2;
    accepted(&t, wire_keepalive_decode(wire_keepalive_encode(&k, &t.a), &t.a, &k2, &t.why));
    assert_true(k2.session == k.session && k2.attach == k.attach && k2.keeps == k.keeps);
    struct wire_keepalive_reply r = {.map_version = UINT64_MAX - 1, .session_timeout_ms = 60000}, r2;
    accepted(&t, wire_keepalive_reply_decode(wire_keepalive_reply_encode(&r, &t.a), &t.a, &r2, &t.why));
    assert_true(r2.map_version == r.map_version && r2.session_timeout_ms == r.session_timeout_ms);
    arena_free(&t.a);
}

static void test_notices(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned max = 0; max <= WIRE_NOTICES; max = max * 2 + 1) {
        {
            struct wire_notices from, to, *x = &from, *y = &to;
            sample_notices(&t.p, &t.a, max, x);
            accepted(&t, wire_notices_decode(wire_notices_encode(x, &t.a), &t.a, y, &t.why));
            EQ(seq), EQ(count);
            for (unsigned i = 0; i < x->count; i++)
                EQ(list[i].kind), EQ(list[i].ino);
        }
        {
            struct wire_notices_query from, to, *x = &from, *y = &to;
            sample_notices_query(&t.p, &t.a, max, x);
            accepted(&t, wire_notices_query_decode(wire_notices_query_encode(x, &t.a), &t.a, y, &t.why));
            EQ(session), EQ(attachment), EQ(acknowledged), EQ(released_count);
            for (unsigned i = 0; i < x->released_count; i++)
                EQ(released[i]);
        }
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_kv_events(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct wire_kv_events from, to, *x = &from, *y = &to;
        sample_kv_events(&t.p, &t.a, i % 10 ? 5 : WIRE_KV_EVENTS, x);
        accepted(&t, wire_kv_events_decode(wire_kv_events_encode(x, &t.a), &t.a, y, &t.why));
        EQ(through), EQ(missed_upto), EQ(count);
        for (unsigned k = 0; k < x->count; k++) {
            EQ(list[k].kind), EQ(list[k].index), EQ(list[k].time_ns), EQ(list[k].version);
            EQ_SLICE(list[k].key);
        }
        arena_reset(&t.a);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct wire_kv_events_query from, to, *x = &from, *y = &to;
        sample_kv_events_query(&t.p, &t.a, x);
        accepted(&t, wire_kv_events_query_decode(wire_kv_events_query_encode(x, &t.a), &t.a, y, &t.why));
        EQ(after), EQ(from_now), EQ_SLICE(prefix);
    }
    arena_free(&t.a);
}

static void test_changes(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned max = 0; max <= 64; max = max * 2 + 1) {
        {
            struct wire_changes from, to, *x = &from, *y = &to;
            sample_changes(&t.p, &t.a, max, x);
            accepted(&t, wire_changes_decode(wire_changes_encode(x, &t.a), &t.a, y, &t.why));
            EQ(through), EQ(missed_upto), EQ(count);
            for (unsigned i = 0; i < x->count; i++) {
                EQ(list[i].index), EQ(list[i].time_ns), EQ(list[i].op), EQ(list[i].mode), EQ(list[i].ino);
                EQ(list[i].session), EQ_SLICE(list[i].path), EQ_SLICE(list[i].new_path), EQ_SLICE(list[i].client);
            }
        }
        {
            struct wire_changes_query from, to, *x = &from, *y = &to;
            sample_changes_query(&t.p, &t.a, x);
            accepted(&t, wire_changes_query_decode(wire_changes_query_encode(x, &t.a), &t.a, y, &t.why));
            EQ(after), EQ(from_now), EQ_SLICE(path);
        }
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_files(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned max = 0; max <= 64; max = max * 2 + 1) {
        struct meta_files_query query, query_back, *q = &query, *r = &query_back;
        sample_files_query(&t.p, &t.a, q);
        accepted(&t, wire_files_query_decode(wire_files_query_encode(q, &t.a), &t.a, r, &t.why));
        assert_true(q->max == r->max && q->blocks_max == r->blocks_max);
        assert_true(slice_equal(q->path, r->path) && slice_equal(q->after, r->after));
        struct meta_files from, to, *x = &from, *y = &to;
        sample_files(&t.p, &t.a, max, x);
        accepted(&t, wire_files_decode(wire_files_encode(x, &t.a), &t.a, y, &t.why));
        EQ(count), EQ(index), EQ(left_out), EQ_SLICE(next);
        for (unsigned i = 0; i < x->count; i++) {
            EQ(files[i].ino), EQ(files[i].size), EQ(files[i].version), EQ(files[i].mode), EQ(files[i].nlink);
            EQ(files[i].mtime_ns), EQ(files[i].extent_count), EQ(files[i].extents_more), EQ(files[i].block_count);
            EQ_SLICE(files[i].path);
            assert_memory_equal(x->files[i].blocks, y->files[i].blocks, x->files[i].block_count * SHA256_SIZE);
        }
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_check(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned max = 0; max <= 64; max = max * 2 + 1) {
        {
            struct wire_check from, to, *x = &from, *y = &to;
            sample_check(&t.p, &t.a, max, x);
            accepted(&t, wire_check_decode(wire_check_encode(x, &t.a), &t.a, y, &t.why));
            EQ(ticket), EQ(rows), EQ(running), EQ(has_hashes), EQ(unread), EQ(problem_count), EQ(problems_told);
            EQ(index), EQ(inodes), EQ(bytes), EQ(names), EQ(extents), EQ(blocks), EQ(orphans), EQ(sessions), EQ(dead);
            assert_true(sha256_equal(&x->chain, &y->chain) && sha256_equal(&x->state, &y->state));
            EQ(use_count);
            for (unsigned i = 0; i < x->problems_told; i++)
                EQ_SLICE(problems[i]);
            for (unsigned i = 0; i < x->use_count; i++)
                EQ(uses[i].block), EQ(uses[i].ino), EQ(uses[i].offset), EQ_SLICE(uses[i].path);
        }
        {
            struct wire_ids_query from, to, *x = &from, *y = &to;
            sample_ids_query(&t.p, &t.a, max, x);
            accepted(&t, wire_ids_query_decode(wire_ids_query_encode(x, &t.a), &t.a, y, &t.why));
            EQ(max), EQ(count);
            assert_true(sha256_equal(&x->after, &y->after) && sha256_equal(&x->upto, &y->upto));
            assert_memory_equal(x->ids, y->ids, x->count * SHA256_SIZE);
        }
        {
            struct wire_ids from, to, *x = &from, *y = &to;
            sample_ids_page(&t.p, &t.a, max, x);
            accepted(&t, wire_ids_decode(wire_ids_encode(x, &t.a), &t.a, y, &t.why));
            EQ(count);
            assert_true(sha256_equal(&x->through, &y->through));
            assert_memory_equal(x->ids, y->ids, x->count * SHA256_SIZE);
        }
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_block_put_and_sizes(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned count = 1; count <= LIMIT_BLOCKS_PER_FRAME; count++) {
        size_t payload_size;
        {
            struct wire_block_put from, to, *x = &from, *y = &to;
            sample_block_put(&t.p, &t.a, count, x, &payload_size);
            accepted(&t, wire_block_put_decode(wire_block_put_encode(x, &t.a), payload_size, &t.a, y, &t.why));
            EQ(durable);
            EQ_ARRAY(ids, count);
            EQ_ARRAY(sizes, count);
        }
        {
            struct wire_block_sizes from, to, *x = &from, *y = &to;
            sample_block_sizes(&t.p, &t.a, count, x, &payload_size);
            accepted(&t, wire_block_sizes_decode(wire_block_sizes_encode(x, &t.a), payload_size, &t.a, y, &t.why));
            EQ_ARRAY(sizes, count);
        }
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void upkeep_equal(const struct wire_block_upkeep *x, const struct wire_block_upkeep *y)
{
    EQ(walking), EQ(walk_due);
#define X(name) EQ(name);
    WIRE_UPKEEP_NUMBERS(X)
#undef X
}

static void test_members(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (unsigned count = 0; count <= LIMIT_NODES; count++) {
        struct wire_members from = {.count = count,
                                    .map_version = sample_u64(&t.p, 0, UINT64_MAX),
                                    .epoch = sample_u64(&t.p, 0, UINT64_MAX),
                                    .released = sample_u64(&t.p, 0, UINT64_MAX)},
                            to, *x = &from, *y = &to;
        for (unsigned i = 0; i < count; i++) {
            from.list[i].id = i + 1;
            from.list[i].address = sample_address(&t.p, &t.a);
        }
        accepted(&t, wire_members_decode(wire_members_encode(x, &t.a), &t.a, y, &t.why));
        EQ(count), EQ(map_version), EQ(epoch), EQ(released);
        for (unsigned i = 0; i < count; i++)
            EQ(list[i].id), EQ_SLICE(list[i].address);
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_block_rest(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct wire_block_info from, to, *x = &from, *y = &to;
        sample_block_info(&t.p, &t.a, x);
        accepted(&t, wire_block_info_decode(wire_block_info_encode(x, &t.a), &t.a, y, &t.why));
        EQ(node_id), EQ(boot_id), EQ(blocks), EQ(block_bytes), EQ(disk_total), EQ(disk_free), EQ_SLICE(address),
            EQ_SLICE(zone), EQ(disk_kept), EQ(full), EQ(failed);
        upkeep_equal(&x->upkeep, &y->upkeep);
    }
    for (int i = 0; i < 20; i++) {
        unsigned count = (unsigned)sample_u64(&t.p, 1, LIMIT_HASHES_PER_FRAME);
        {
            struct slice bytes = sample_bytes(&t.p, &t.a, count * 32, count * 32);
            struct wire_block_ids from = {.ids = (const void *)bytes.data,
                                          .count = count,
                                          .sure = count <= LIMIT_BLOCKS_PER_FRAME,
                                          .epoch = count * UINT64_C(1000000007)},
                                  to, *x = &from, *y = &to;
            accepted(&t, wire_block_ids_decode(wire_block_ids_encode(x, &t.a), count, &t.a, y, &t.why));
            EQ_ARRAY(ids, count);
            EQ(sure), EQ(epoch);
        }
        {
            struct wire_block_present from, to, *x = &from, *y = &to;
            sample_block_present(&t.p, &t.a, count, x);
            accepted(&t, wire_block_present_decode(wire_block_present_encode(x, &t.a), &t.a, y, &t.why));
            EQ(boot_id), EQ(map_version), EQ(read_bytes);
            EQ_ARRAY(present, count);
        }
        struct wire_block_ack ack = {.boot_id = prng_next(&t.p)}, ack2;
        accepted(&t, wire_block_ack_decode(wire_block_ack_encode(&ack, &t.a), &t.a, &ack2, &t.why));
        assert_true(ack.boot_id == ack2.boot_id);
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void admin_lists_equal(const struct wire_admin_state *x, const struct wire_admin_state *y)
{
    EQ(peer_count), EQ(log_count), EQ(block_server_count), EQ(session_count);
    EQ_ARRAY(unreachable, unreachable_count);
    for (unsigned i = 0; i < x->peer_count; i++)
        EQ(peers[i].id), EQ(peers[i].foreign), EQ(peers[i].voter), EQ(peers[i].active), EQ(peers[i].match),
            EQ(peers[i].next), EQ_SLICE(peers[i].address);
    for (unsigned i = 0; i < x->log_count; i++)
        EQ(log[i].index), EQ(log[i].term), EQ_SLICE(log[i].text);
    for (unsigned i = 0; i < x->block_server_count; i++) {
        EQ(block_servers[i].id), EQ(block_servers[i].reporting), EQ(block_servers[i].blocks);
        EQ(block_servers[i].block_bytes), EQ(block_servers[i].disk_total), EQ(block_servers[i].disk_free);
        EQ_SLICE(block_servers[i].address), EQ_SLICE(block_servers[i].zone), EQ(block_servers[i].weight);
        EQ(block_servers[i].draining), EQ(block_servers[i].weight_fixed);
        EQ(block_servers[i].disk_kept), EQ(block_servers[i].full), EQ(block_servers[i].failed);
        upkeep_equal(&x->block_servers[i].upkeep, &y->block_servers[i].upkeep);
    }
    for (unsigned i = 0; i < x->session_count; i++) {
        EQ(sessions[i].id), EQ(sessions[i].last_seq), EQ(sessions[i].opened_ns);
        EQ(sessions[i].silent_ns), EQ(sessions[i].locks), EQ(sessions[i].waits);
        EQ_SLICE(sessions[i].client), EQ_SLICE(sessions[i].export);
    }
    EQ(activity.work_count), EQ(activity.lease_holders), EQ(activity.leased_inodes), EQ(activity.changes_waiting);
    EQ(activity.leases_granted), EQ(activity.notices), EQ(activity.leases_expired);
    for (unsigned i = 0; i < x->activity.work_count; i++) {
        EQ(activity.work[i].method), EQ(activity.work[i].count), EQ(activity.work[i].failed);
        EQ(activity.work[i].took_us);
    }
}

static void test_admin_state(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    for (int i = 0; i < ROUNDS; i++) {
        struct wire_admin_state from, to, *x = &from, *y = &to;
        sample_admin_state(&t.p, &t.a, 100, x);
        accepted(&t, wire_admin_state_decode(wire_admin_state_encode(x, &t.a), &t.a, y, &t.why));
        EQ(node_id), EQ(roles), EQ(crashed), EQ(has_cluster_id), EQ(pid), EQ(uptime_ns), EQ(role), EQ(election_manual);
        EQ(term), EQ(commit), EQ(applied), EQ(persisted), EQ(last), EQ(compacted), EQ(flushed), EQ(leader), EQ(vote);
        EQ(log_bytes), EQ(log_segments), EQ(inodes), EQ(file_bytes), EQ(replicas), EQ(level), EQ(level_max);
        EQ(blocks), EQ(block_bytes), EQ(disk_total), EQ(disk_free), EQ(disk_kept), EQ(blocks_full), EQ(blocks_failed);
        EQ_SLICE(address), EQ_SLICE(version), EQ_SLICE(fault), EQ_SLICE(chain_hash), EQ_MEMORY(cluster_id);
        admin_lists_equal(x, y);
        arena_reset(&t.a);
    }
    arena_free(&t.a);
}

static void test_admin_rest(void **state)
{
    (void)state;
    struct trip t;
    begin(&t);
    struct wire_admin_state_query q = {.log_entries = 100}, q2;
    accepted(&t, wire_admin_state_query_decode(wire_admin_state_query_encode(&q, &t.a), &t.a, &q2, &t.why));
    assert_int_equal(q2.log_entries, 100);
    for (int kill = 0; kill < 2; kill++) {
        struct wire_admin_crash c = {.kill = kill}, c2 = {.kill = !kill};
        accepted(&t, wire_admin_crash_decode(wire_admin_crash_encode(&c, &t.a), &t.a, &c2, &t.why));
        assert_int_equal(c2.kill, kill);
    }
    uint32_t ids[LIMIT_NODES] = {1, 2, 3, UINT32_MAX, 5, 6, 7, 8, 9};
    for (unsigned count = 0; count <= LIMIT_NODES; count++) {
        struct wire_admin_nodes from = {.ids = ids, .count = count}, to, *x = &from, *y = &to;
        accepted(&t, wire_admin_nodes_decode(wire_admin_nodes_encode(x, &t.a), &t.a, y, &t.why));
        EQ_ARRAY(ids, count);
    }
    arena_free(&t.a);
}

static void test_method_names(void **state)
{
    (void)state;
    assert_string_equal(rpc_method_name(METHOD_RAFT), "RAFT");
    assert_string_equal(rpc_method_name(METHOD_ADMIN_UNREACHABLE), "ADMIN_UNREACHABLE");
    assert_string_equal(rpc_method_name(0), "UNKNOWN");
    assert_string_equal(rpc_method_name(200), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),        cmocka_unit_test(test_error),
        cmocka_unit_test(test_raft),         cmocka_unit_test(test_command),
        cmocka_unit_test(test_reply),        cmocka_unit_test(test_query),
        cmocka_unit_test(test_query_reply),  cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_notices),      cmocka_unit_test(test_changes),
        cmocka_unit_test(test_kv_events),    cmocka_unit_test(test_files),
        cmocka_unit_test(test_check),        cmocka_unit_test(test_block_put_and_sizes),
        cmocka_unit_test(test_members),      cmocka_unit_test(test_block_rest),
        cmocka_unit_test(test_admin_state),  cmocka_unit_test(test_admin_rest),
        cmocka_unit_test(test_method_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
