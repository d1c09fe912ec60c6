#include <string.h>
#include <sys/stat.h>

#include "meta/store.h"

OP(init)
{
    if (m->initialised)
        return outcome(r, ERR_EXIST);
    m->next.next_id = META_ROOT_INO;
    m->next.epoch = 1;
    memcpy(m->next_cluster.id, c->init.cluster_id, 16);
    memcpy(m->next_cluster.cookie_key, c->init.cookie_key, 16);
    m->next_cluster.replicas = META_REPLICAS_DEFAULT;
    m->next_cluster.map_version = 1;
    m->cluster_changed = true;

    struct row_inode root;
    inode_make(m, S_IFDIR | 0755, 0, 0, &root);
    root.parent = root.attr.ino;
    inode_put(m, &root);
    struct schema_key key = schema_export(slice_str(META_EXPORT_DEFAULT));
    row_export_encode(&(struct row_export){.root_ino = root.attr.ino}, &m->scratch);
    store_put_scratch(m, &key);
    *r = (struct meta_reply){.attr = root.attr, .has_attr = true};
    return ERR_OK;
}
