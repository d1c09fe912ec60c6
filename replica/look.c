/* look.c: the whole applied state for workers to look at, each as it is at one index. */
#include "replica/internal.h"

static void run(struct replica_work *work)
{
    struct replica_look *look = container_of(work, struct replica_look, work);
    look->run(look, look->view);
}

static void done(struct replica_work *work)
{
    struct replica_look *look = container_of(work, struct replica_look, work);
    struct replica *r = look->replica;
    meta_view_close(look->view);
    list_remove(&look->link);
    r->look_count--;
    look->done(look);
    if (!r->closing)
        r->env.wake(r->env.context); /* a snapshot may wait to be installed */
}

enum err replica_look(struct replica *r, struct replica_look *look)
{
    if (!r->meta || r->closing || r->fault.text[0])
        return ERR_SHUTDOWN;
    if (r->look_count == REPLICA_LOOKS_MAX || r->incoming.stage == INCOMING_COMPLETE)
        return ERR_BUSY_NOW; /* what is to be installed must not wait for one look after the other */
    look->replica = r;
    look->view = meta_view_open(r->meta);
    if (!look->view) {
        replica_fail(r, "the metadata can't be written to be looked at");
        return ERR_IO;
    }
    look->work = (struct replica_work){.run = run, .done = done};
    list_push_back(&r->looks, &look->link);
    r->look_count++;
    r->env.work(r->env.context, &look->work);
    return ERR_OK;
}

bool look_end(struct replica *r)
{
    list_for_each (node, &r->looks)
        atomic_store(container_of(node, struct replica_look, link)->stop, true);
    return r->look_count == 0;
}
