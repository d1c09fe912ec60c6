/* op_export.c: what holds for all who mount an export. Mounts learn it when they open a session. */
#include "meta/store.h"

enum err export_get(struct meta *m, struct slice name, struct row_export *ret)
{
    struct schema_key key = schema_export(name);
    struct slice value = {0};
    bool found;
    TRY(store_get(m, &key, &value, &found));
    return found ? row_export_decode(value, ret) : ERR_NO_EXPORT;
}

OP(export)
{
    struct row_export row;
    TRY_OP(export_get(m, c->export.name, &row));
    uint32_t options = (row.options & ~c->export.mask) | c->export.options;
    if (options != row.options) {
        struct schema_key key = schema_export(c->export.name);
        row.options = options;
        row_export_encode(&row, &m->scratch);
        store_put_scratch(m, &key);
    }
    *r = (struct meta_reply){.export_options = options};
    return ERR_OK;
}
