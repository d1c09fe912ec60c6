#include "tests/unit/meta/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/prng.h"

#define NAMES 12u

static uint64_t directory_of(struct prng *p)
{
    /* Index 1 makes the root (inode 1), index 2 the session, the next ones inodes 2, 3, ... */
    return ROOT + prng_below(p, DIRECTORIES + 1);
}

static void step_commit(struct step *s, struct prng *p)
{
    uint64_t at = prng_below(p, 2000);
    s->c.op = META_COMMIT;
    s->c.commit.ino = ROOT + DIRECTORIES + 1 + prng_below(p, 60);
    s->c.commit.extents = s->extents;
    s->c.commit.extent_count = 1 + (unsigned)prng_below(p, 3);
    for (unsigned i = 0; i < s->c.commit.extent_count; i++) {
        uint64_t length = 1 + prng_below(p, 300);
        s->extents[i] = extent_of(at, length, 1 + (uint32_t)prng_below(p, 20), (uint32_t)prng_below(p, 1000));
        at += length + prng_below(p, 200);
    }
}

void step_make(uint64_t index, struct step *s)
{
    struct prng p;
    *s = (struct step){0};
    prng_seed(&p, SEED * 1000003 + index);
    prng_next(&p);
    snprintf(s->name, sizeof s->name, "n%u", (unsigned)prng_below(&p, NAMES));
    snprintf(s->new_name, sizeof s->new_name, "n%u", (unsigned)prng_below(&p, NAMES));
    if (index == 1) {
        s->c = (struct meta_command){.op = META_INIT, .init = {.cluster_id = {1}, .cookie_key = {2}}};
    } else if (index == 2) {
        s->c.op = META_SESSION_OPEN;
        s->c.session_open.export = slice_str(META_EXPORT_DEFAULT);
        s->c.session_open.client = slice_str("test");
    } else {
        if (index < 3 + DIRECTORIES) {
            snprintf(s->name, sizeof s->name, "d%u", (unsigned)index);
            s->c = make_command(META_MKDIR, ROOT, s->name, 0755);
        } else {
            switch (prng_below(&p, 8)) {
            case 0:
            case 1:
                s->c = make_command(META_CREATE, directory_of(&p), s->name, 0644);
                break;
            case 2:
                s->c = unlink_command(META_UNLINK, directory_of(&p), s->name);
                break;
            case 3:
                s->c = rename_command(directory_of(&p), s->name, directory_of(&p), s->new_name, 0);
                break;
            case 4:
                s->c = size_command(ROOT + DIRECTORIES + 1 + prng_below(&p, 60), prng_below(&p, 2000));
                break;
            case 5:
                s->c = make_command(META_MKDIR, directory_of(&p), s->name, 0755);
                break;
            default:
                step_commit(s, &p);
            }
        }
        s->c.session = 2;
        s->c.seq = index - 2;
        uint64_t unknown = prng_below(&p, 10); /* replies that the client may still ask for */
        s->c.acked = index - 3 - MIN(index - 3, unknown);
    }
    s->c.time_ns = (int64_t)index * 1000;
}

void run_to(struct meta *m, uint64_t index)
{
    while (meta_applied_index(m) < index) {
        struct step s;
        struct meta_reply r;
        uint64_t next = meta_applied_index(m) + 1;
        enum err e;
        step_make(next, &s);
        if (next % 20 == 10) {
            e = meta_apply_nothing(m, next, 1);
        } else if (next % 20 == 0) {
            struct meta_command reap = {.op = META_REAP, .time_ns = s.c.time_ns};
            (void)meta_reap_pending(m, &reap.reap.content_id);
            e = meta_apply(m, next, 1, &reap, &r);
        } else {
            e = meta_apply(m, next, 1, &s.c, &r);
        }
        if (e != ERR_OK)
            abort(); /* may be in a child */
    }
}

struct hashes hashes_of(struct meta *m)
{
    struct hashes h;
    struct err_text why = {""};
    assert_int_equal(meta_state_hash(m, &h.state), ERR_OK);
    meta_chain_hash(m, &h.chain);
    if (meta_verify(m, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return h;
}

void assert_same(struct hashes a, struct hashes b)
{
    assert_true(sha256_equal(&a.chain, &b.chain));
    assert_true(sha256_equal(&a.state, &b.state));
}

void directory_make(char path[64])
{
    struct stat s;
    snprintf(path, 64, "%s/surf-meta-XXXXXX", stat("/dev/shm", &s) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(path));
}

void directory_remove(const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

struct meta *must_open(const char *path)
{
    struct meta_options options = {.path = path};
    struct meta *m = NULL;
    struct err_text why = {""};
    if (meta_open(&options, &m, &why) != ERR_OK) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
    return m;
}
