/* Applied states compared. Every member tells with each raft message how far it has applied and the chain hash there;
 * the leader looks the same entry up in its own state. Who differs goes out of service for good: bytes of its state may
 * be anything. The leader itself is the one when more voters differ from it than agree. */
#include <inttypes.h>
#include <stdio.h>

#define LOG_MODULE "divergence"
#include "base/log.h"
#include "replica/internal.h"

#define MARK_NAME "diverged"
#define MARK_BYTES_MAX 512u
#define DECIDE_NS (2 * NS_PER_S) /* longest wait for the voice of voters that have not told yet */

void divergence_tell(const struct replica *r, struct replica_message *m)
{
    uint64_t applied = meta_applied_index(r->meta), chain;
    if (applied > 0 && meta_chain_at(r->meta, applied, &chain))
        m->applied = applied, m->chain = chain;
}

static void compare(struct replica *r, struct peer_state *p, uint64_t index, uint64_t chain)
{
    uint64_t own;
    if (index <= p->compared_index || !meta_chain_at(r->meta, index, &own))
        return;
    p->compared_index = index;
    r->hashes_compared++;
    if (own == chain) {
        p->differs_index = 0;
        return;
    }
    if (p->differs_index == 0) {
        p->differs_index = index;
        p->differs_ns = replica_now_ns(r);
        log_error("the state of member %u differs from this leader's: as of entry %" PRIu64 " its hash is %016" PRIx64
                  ", ours %016" PRIx64,
                  p->id, index, chain, own);
    }
}

void divergence_told(struct replica *r, const struct replica_message *m)
{
    struct peer_state *p = replica_peer(r, m->from);
    if (r->role != RAFT_LEADER || !p || m->applied == 0)
        return;
    if (m->applied <= meta_applied_index(r->meta))
        compare(r, p, m->applied, m->chain);
    else if (p->told_applied == 0)
        p->told_applied = m->applied, p->told_chain = m->chain;
}

struct verdict {
    unsigned agree, differ, silent;
};

static struct verdict count_voices(struct replica *r, uint64_t index)
{
    struct raft_status status;
    struct verdict v = {.agree = 1};
    raft_status(r->raft, &status);
    for (unsigned i = 0; i < status.progress_count; i++) {
        const struct raft_progress *progress = &status.progress[i];
        const struct peer_state *p = replica_peer(r, progress->id);
        if (progress->learner || !progress->active)
            continue;
        if (!p || p->compared_index < index)
            v.silent++;
        else if (p->differs_index != 0)
            v.differ++;
        else
            v.agree++;
    }
    return v;
}

static void judge(struct replica *r, struct peer_state *p)
{
    struct verdict v = count_voices(r, p->differs_index);
    if (v.silent > 0 && replica_now_ns(r) - p->differs_ns < DECIDE_NS)
        return;
    if (v.differ > v.agree) {
        struct replica_message self = {.applied = p->differs_index};
        (void)!meta_chain_at(r->meta, p->differs_index, &self.chain);
        self.chain = ~self.chain;
        divergence_accused(r, &self);
        return;
    }
    struct replica_message m = {.type = REPLICA_DIVERGED, .to = p->id, .applied = p->differs_index};
    if (meta_chain_at(r->meta, p->differs_index, &m.chain))
        driver_send(r, &m);
}

void divergence_soon(struct replica *r)
{
    for (unsigned i = 0; i < LIMIT_NODES && r->role == RAFT_LEADER && replica_in_service(r); i++) {
        struct peer_state *p = &r->peers[i];
        if (p->id == 0)
            continue;
        if (p->told_applied != 0 && p->told_applied <= meta_applied_index(r->meta)) {
            compare(r, p, p->told_applied, p->told_chain);
            p->told_applied = 0;
        }
        if (p->differs_index != 0)
            judge(r, p);
    }
}

void divergence_accused(struct replica *r, const struct replica_message *m)
{
    uint64_t own;
    if (!meta_chain_at(r->meta, m->applied, &own) || own == m->chain)
        return;
    char text[MARK_BYTES_MAX];
    int length = snprintf(text, sizeof text,
                          "the state of this member differs from the others' as of entry %" PRIu64 " (hash %016" PRIx64
                          "): surfd --rebuild makes it anew from them",
                          m->applied, own);
    /* The mark keeps it out of service over a restart, in which it could lead before it is compared again. */
    const struct file_table *files = file_table_system();
    struct file_table_dir *dir = NULL;
    struct err_text why;
    if (files->open_dir(files->context, r->data_path, &dir, &why) == ERR_OK) {
        if (small_file_write(files, dir, MARK_NAME, SLICE((const uint8_t *)text, (size_t)length)) != ERR_OK)
            log_error("%s/%s can't be written", r->data_path, MARK_NAME);
        files->close_dir(files->context, dir);
    }
    replica_fail(r, "%s", text);
}

enum err divergence_check_mark(const struct replica *r, struct err_text *why)
{
    const struct file_table *files = file_table_system();
    struct file_table_dir *dir = NULL;
    struct err_text reason;
    _cleanup_(bytes_free) struct bytes content = {0};
    TRY(files->open_dir(files->context, r->data_path, &dir, why));
    enum err e = small_file_read(files, dir, MARK_NAME, MARK_BYTES_MAX, &content, &reason);
    files->close_dir(files->context, dir);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    return err_explain(why, ERR_CORRUPT, "%.*s", (int)content.size, (const char *)content.data);
}
