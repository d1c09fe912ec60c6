#include "tests/unit/blockstore/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"

/* RocksDB's writers hand their batches to each other by means that TSan can't see, as it is not built with it; the
 * bytes are copied by libstdc++, which nothing of ours calls. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librocksdb.so\ncalled_from_lib:libstdc++.so\n";
}

void block_make(struct block *b, uint64_t number, size_t size)
{
    struct prng p;
    prng_seed(&p, number * 1000003 + size);
    *b = (struct block){0};
    uint8_t *at = bytes_extend(&b->data, size);
    /* Not compressible: the files are as large as what was put. */
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t random = prng_next(&p);
        memcpy(at + i, &random, MIN(sizeof random, size - i));
    }
    sha256_of(bytes_slice(&b->data), &b->id);
}

void block_free(struct block *b)
{
    bytes_free(&b->data);
}

void directory_make(char path[64])
{
    snprintf(path, 64, "/tmp/surf-blockstore-XXXXXX");
    assert_non_null(mkdtemp(path));
}

void directory_remove(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

struct block_store *must_open(const char *path)
{
    struct block_store_options options = {0};
    struct block_store *s = NULL;
    struct err_text why = {""};
    enum err e = block_store_open(path, &options, &s, &why);
    if (e != ERR_OK) {
        fprintf(stderr, "open: %s: %s\n", err_name(e), why.text);
        abort(); /* may be in a child */
    }
    return s;
}

void must_put(struct block_store *s, uint64_t number, size_t size, bool durable)
{
    struct block b;
    block_make(&b, number, size);
    if (block_store_put(s, &b.id, bytes_slice(&b.data), durable) != ERR_OK)
        abort();
    block_free(&b);
}

bool must_have(struct block_store *s, uint64_t number, size_t size)
{
    struct block b;
    struct bytes got = {0};
    block_make(&b, number, size);
    bool has = false;
    assert_int_equal(block_store_has(s, &b.id, 1, &has), ERR_OK);
    enum err e = block_store_get(s, &b.id, &got);
    assert_int_equal(e, has ? ERR_OK : ERR_NOT_FOUND);
    if (has)
        assert_true(slice_equal(bytes_slice(&got), bytes_slice(&b.data)));
    assert_int_equal(block_store_verify(s, &b.id), has ? ERR_OK : ERR_NOT_FOUND);
    bytes_free(&got);
    block_free(&b);
    return has;
}

void run_killed(const char *name, const char *path)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "work", name, path, (char *)NULL);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s ended with status 0x%x", name, (unsigned)status);
}

void killed_main(int argc, char **argv, const struct killed_work *works, size_t count)
{
    for (size_t i = 0; argc == 3 && i < count; i++)
        if (strcmp(works[i].name, argv[1]) == 0) {
            works[i].work(argv[2]);
            _exit(0);
        }
}

enum err delete_block(struct block_store *s, const struct sha256 *id)
{
    struct block_store_removed removed;
    block_store_epoch(s, 1);
    return block_store_collect(s, id, 1, UINT64_MAX, &removed);
}
