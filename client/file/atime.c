/* atime.c: times of access, as with relatime. A thread of its own tells the metastore of reads, so that no read
 * and no commit waits for it; what can't be told is dropped. The metastore decides again whether the time is to be set,
 * since other mounts read too, or may have set it since. Here, a state of the inode is told of once a day at most,
 * whatever the clocks say. */
#include <fcntl.h>

#include "base/thread.h"
#include "client/file/internal.h"
#include "client/moment.h"

#define GATHER_NS (250 * NS_PER_MS)

#define LOG_MODULE "file"
#include "base/log.h"

bool atime_is_due(const struct open_file *h)
{
    const struct file_inode *i = h->inode;
    if (!i->files->options.atime || (h->flags & O_NOATIME) || i->read_ns != 0)
        return false;
    int64_t now_ns = clock_wall_ns();
    bool is_told = i->told_read_ns != 0 && i->told_ctime_ns == i->attr.ctime_ns &&
                   now_ns - i->told_read_ns < (int64_t)META_ATIME_AGE_NS;
    return !is_told && meta_atime_is_due(&i->attr, now_ns);
}

void atime_note(struct open_file *h)
{
    struct file_inode *i = h->inode;
    struct open_files *t = i->files;
    if (!atime_is_due(h))
        return;
    pthread_mutex_lock(&t->notes_lock);
    if (t->note_count < READ_NOTES_MAX) {
        i->read_ns = clock_wall_ns();
        i->read_ctime_ns = i->attr.ctime_ns;
        t->notes[(t->note_first + t->note_count++) % READ_NOTES_MAX] =
            (struct meta_read){.ino = i->ino, .ns = i->read_ns, .ctime_ns = i->attr.ctime_ns};
        if (t->note_count == 1 || t->note_count == LIMIT_READS) /* else the teller is gathering */
            pthread_cond_signal(&t->notes_there);
    }
    pthread_mutex_unlock(&t->notes_lock);
}

static void note_told(struct open_files *t, const struct meta_read *note, bool told, bool set)
{
    struct file_inode *i = inode_find(t, note->ino);
    if (!i)
        return;
    pthread_mutex_lock(&i->lock);
    i->read_ns = 0;
    if (set && i->attr.ctime_ns == note->ctime_ns)
        i->attr.atime_ns = MAX(i->attr.atime_ns, note->ns);
    if (told) {
        i->told_read_ns = note->ns;
        i->told_ctime_ns = note->ctime_ns;
    }
    pthread_mutex_unlock(&i->lock);
    inode_leave(i);
}

static void tell(struct open_files *t, const struct meta_read *notes, unsigned count)
{
    struct meta_command command = {.op = META_READS, .reads = {.list = notes, .count = count}};
    struct meta_reply reply = {0};
    enum err e = meta_client_call(t->meta, &command, t->stop, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e != ERR_OK)
        log_debug("%u times of access are not set: %s", count, err_message(e));
    for (unsigned n = 0; n < count; n++)
        note_told(t, &notes[n], e == ERR_OK, e == ERR_OK && (reply.set >> n & 1));
}

/* With the lock. Waits until some have gathered: each command is an entry of the log, on every node. */
static unsigned await_notes(struct open_files *t, struct meta_read ret[LIMIT_READS])
{
    while (t->note_count == 0 && !t->notes_stopping)
        pthread_cond_wait(&t->notes_there, &t->notes_lock);
    int64_t until_ns = clock_boot_ns() + GATHER_NS, now_ns;
    while (t->note_count < LIMIT_READS && !t->notes_stopping && (now_ns = clock_boot_ns()) < until_ns)
        moment_wait_for(&t->notes_there, &t->notes_lock, until_ns - now_ns);
    unsigned count = MIN(t->note_count, LIMIT_READS);
    for (unsigned n = 0; n < count; n++) {
        ret[n] = t->notes[t->note_first];
        t->note_first = (t->note_first + 1) % READ_NOTES_MAX;
    }
    t->note_count -= count;
    return count;
}

static void *teller_main(void *context)
{
    struct open_files *t = context;
    struct meta_read notes[LIMIT_READS];
    pthread_mutex_lock(&t->notes_lock);
    for (unsigned count; (count = await_notes(t, notes)) > 0;) {
        pthread_mutex_unlock(&t->notes_lock);
        tell(t, notes, count);
        pthread_mutex_lock(&t->notes_lock);
    }
    pthread_mutex_unlock(&t->notes_lock);
    return NULL;
}

void atime_start(struct open_files *t)
{
    pthread_mutex_init(&t->notes_lock, NULL);
    moment_cond_init(&t->notes_there);
    thread_start(&t->teller, teller_main, t);
}

void atime_stop(struct open_files *t)
{
    pthread_mutex_lock(&t->notes_lock);
    t->notes_stopping = true;
    pthread_cond_signal(&t->notes_there);
    pthread_mutex_unlock(&t->notes_lock);
    pthread_join(t->teller, NULL);
    pthread_cond_destroy(&t->notes_there);
    pthread_mutex_destroy(&t->notes_lock);
}
