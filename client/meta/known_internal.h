/* known_internal.h: what is shared by known.c and known_changes.c; all of it under the lock. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "client/meta/known.h"
#include "client/meta/known_xattr.h"
#include "client/meta/look_ahead.h"
#include "client/meta/marks.h"

struct known_inode {
    uint64_t ino;
    struct list_node used; /* in known.used, oldest first */
    uint64_t attachment;   /* believed under this one; 0: it is not */
    uint64_t index;        /* of attr */
    uint64_t since;        /* believed since this index: what is older may have been changed before */
    bool has_attr;
    struct meta_attr attr;
    struct known_xattrs xattrs;   /* some of them; as of `since` or later, as all that is kept here */
    struct list names;            /* struct name_entry: of a directory */
    int64_t kernel_attr_until_ns; /* the kernel may believe what it was told until then */
    int64_t kernel_names_until_ns;
    int64_t shared_until_ns; /* another mount has just changed it */
};

struct name_entry {
    struct list_node of_directory, of_all;
    struct known_inode *directory;
    uint64_t ino; /* 0: absent */
    uint64_t index;
    uint16_t size;
    bool ahead;    /* it came along with another name, and was not asked for since */
    uint8_t key[]; /* directory, name */
};

/* A name that own commands which are under way make, remove or replace. */
struct changing_name {
    unsigned commands;
    size_t size;
    uint8_t key[]; /* as in struct name_entry */
};

struct known {
    struct known_options options;
    pthread_rwlock_t answers; /* read: an answer to the kernel is on its way. Lock order: before lock */
    pthread_mutex_t lock;     /* protects all below */
    bool kernel_names;
    uint64_t attachment;
    int64_t until_ns;
    uint64_t heeded;                 /* number of the last notice */
    struct marks noticed;            /* by number of the notice */
    struct marks changed;            /* own changes, by index */
    struct map_u64 unsure;           /* ino -> how many commands without an outcome name it, as a pointer */
    struct map_u64 changing;         /* ino -> how many own commands that are under way name it, as a pointer */
    struct map_bytes changing_names; /* struct changing_name */
    struct map_u64 inodes;
    struct map_bytes names;
    struct list used;
    struct list all_names; /* oldest first: a single directory may have more of them than there is room for */
    size_t xattr_inodes;   /* that have some kept */
    uint64_t hits, misses, notices, drops, ahead_brought, ahead_used;
    struct look_ahead ahead;
};

/* ---- known.c ---- */
void known_drop_name(struct known *k, struct name_entry *n);
void known_drop_xattrs(struct known *k, struct known_inode *i);
void known_disbelieve(struct known *k, struct known_inode *i);
/* If the grant allows it. */
void known_learn_attr(struct known *k, const struct meta_grant *grant, uint64_t index, const struct meta_attr *attr);
void known_learn_name(struct known *k, const struct meta_grant *grant, uint64_t index, uint64_t directory,
                      struct slice name, uint64_t ino);
/* Unless something newer is known of it. */
void known_set_name(struct known *k, struct known_inode *directory, struct slice name, uint64_t index, uint64_t ino);
/* The key of a name of at most LIMIT_NAME_BYTES. */
void known_make_key(uint8_t to[8 + LIMIT_NAME_BYTES], uint64_t directory, struct slice name, struct slice *ret);
